"""Least-squares dose-response curves: a grid no local minimum traps, then damped Gauss-Newton."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from profiler.hits.doses.logistic import (
    At,
    Dose,
    Levels,
    Line,
    Means,
    Responses,
    explained,
    fit_line,
    gradients,
    levels_of,
    limits,
)

GRID = (89, 21)  # points in log EC50 and in log slope
MAX_STEPS = 100
LONGEST = 0.5  # of a step in either parameter
LEAST_DAMPING = 1e-6  # keeps the steps defined where EC50 and slope cannot be told apart
CLOSE = 1e-10  # a smaller step, or relative gain, is the end

PerCurve: TypeAlias = Float[np.ndarray, " readout"]


class Fit(NamedTuple):
    """Least-squares curves, one entry per readout."""

    log_ec50: PerCurve
    slope: PerCurve
    start: PerCurve
    change: PerCurve
    lack: PerCurve  # sum of squares between the curve and the means of replicates
    rss: PerCurve  # residual sum of squares: the same and that within replicates
    se: PerCurve  # of log_ec50, from the Jacobian; infinite where it is undetermined
    converged: Bool[np.ndarray, " readout"]


def fit(dose: Dose, responses: Responses) -> Fit:
    """Fit one curve to every row of responses.

    Args:
        dose: log10 concentrations, -inf for wells without compound; one is finite.
        responses: Finite values.

    Returns:
        The curves of least squares within `logistic.limits`.

    Source:
        Gauss-Newton on the projected problem (Kaufman 1975, BIT 15:49), damped as Marquardt
        1963, J SIAM 11:431, for curves with much noise, where whole steps zigzag; checked
        against scipy.optimize.curve_fit in tests/hits/doses/test_fit.py.
    """
    levels, means, within = levels_of(dose, responses)
    at, converged = _refine(levels, means, within, at=_best_of_grid(levels, means))
    line = fit_line(levels, means, at)
    rss = line.lack + within
    se = _standard_error(levels, line, at, variance=rss / max(len(dose) - 4, 1))
    slope = np.exp(at[:, 1])
    return Fit(at[:, 0], slope, line.start, line.change, line.lack, rss, se, converged)


def _refine(
    levels: Levels, means: Means, within: PerCurve, *, at: At
) -> tuple[At, Bool[np.ndarray, " readout"]]:
    """Walk to the nearest least sum of squares."""
    line = fit_line(levels, means, at)
    damping = np.full(len(means), LEAST_DAMPING)
    converged = np.zeros(len(means), dtype=bool)
    for _ in range(MAX_STEPS):
        step, promised = _step(levels, line, at, damping)
        trial = np.clip(at + step, *limits(levels))
        gain = line.lack - fit_line(levels, means, trial).lack
        # A finished curve stays, so that it does not depend on its company.
        moves = (gain > 0) & ~converged
        converged |= (np.abs(step).max(axis=1, initial=0.0) < CLOSE) | (
            promised <= CLOSE * (line.lack + within)
        )
        at = np.where(moves[:, None], trial, at)
        line = fit_line(levels, means, at)
        damping = np.where(gain < promised / 4, damping * 4, damping)
        damping = np.where(gain > promised * 3 / 4, damping / 4, damping)
        damping = np.maximum(damping, LEAST_DAMPING)
        if converged.all():
            break
    return at, converged


def _best_of_grid(levels: Levels, means: Means) -> At:
    lowest, highest = limits(levels)
    axes = [np.linspace(*ends) for ends in zip(lowest, highest, GRID, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid[explained(levels, means, grid).argmax(axis=0)]


def _step(levels: Levels, line: Line, at: At, damping: PerCurve) -> tuple[At, PerCurve]:
    """One damped step within the limits, and how much smaller it should make the sum of squares."""
    columns = gradients(levels, line, at)
    slope = (columns * line.residual[:, None]).sum(axis=-1)
    lowest, highest = limits(levels)
    stuck = ((at <= lowest) & (slope < 0)) | ((at >= highest) & (slope > 0))
    columns, slope = np.where(stuck[..., None], 0.0, columns), np.where(stuck, 0.0, slope)
    square = columns @ columns.swapaxes(-1, -2)
    size = np.einsum("rpp->rp", square)
    damped = square + (damping[:, None] * size + (size == 0))[..., None] * np.eye(2)
    step = _solve(damped, slope)
    length = np.abs(step).max(axis=1, keepdims=True, initial=0.0)
    step *= np.minimum(1.0, LONGEST / np.maximum(length, CLOSE))
    step = _within(step, damped, slope, room=(lowest - at, highest - at))
    promised = 2 * (slope * step).sum(axis=1) - np.einsum("rp,rpq,rq->r", step, square, step)
    return step, promised


def _within(
    step: At, square: Float[np.ndarray, "readout 2 2"], slope: At, *, room: tuple[At, At]
) -> At:
    """Cut a step off at the limits; if that cuts one parameter, the other makes the best of it."""
    inside = np.clip(step, *room)
    is_cut = inside != step
    size = np.einsum("rpp->rp", square)
    rest = slope - square[:, :1, 1] * inside[:, ::-1]
    best = np.clip(rest / size, -LONGEST, LONGEST)
    return np.clip(np.where(is_cut[:, ::-1] & ~is_cut, best, inside), *room)


def _solve(square: Float[np.ndarray, "readout 2 2"], right: At) -> At:
    """Solve damped 2x2 systems; one that underflows moves nowhere."""
    a, b, d = square[:, 0, 0], square[:, 0, 1], square[:, 1, 1]
    moved = np.stack([d * right[:, 0] - b * right[:, 1], a * right[:, 1] - b * right[:, 0]], axis=1)
    determinant = (a * d - b * b)[:, None]
    return np.divide(moved, determinant, out=np.zeros_like(moved), where=determinant > 0)


def _standard_error(levels: Levels, line: Line, at: At, *, variance: PerCurve) -> PerCurve:
    columns = gradients(levels, line, at)
    square = columns @ columns.swapaxes(-1, -2)
    a, b, d = square[:, 0, 0], square[:, 0, 1], square[:, 1, 1]
    determinant = a * d - b * b
    is_determined = determinant > 0
    unknown = np.full_like(d, np.inf)
    return np.sqrt(np.divide(variance * d, determinant, out=unknown, where=is_determined))
