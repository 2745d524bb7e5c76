"""Least-squares dose-response curves: a grid no local minimum can trap, then Gauss-Newton."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from profiler.hits.logistic import (
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
DAMPING = 1e-6  # keeps the steps defined where EC50 and slope cannot be told apart
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
        Gauss-Newton on the projected problem (Kaufman 1975, BIT 15:49), checked
        against scipy.optimize.curve_fit in tests/hits/test_fit.py.
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
    radius = np.full(len(means), LONGEST)
    converged = np.zeros(len(means), dtype=bool)
    for _ in range(MAX_STEPS):
        trial = np.clip(at + _step(levels, line, at, radius), *limits(levels))
        gain = line.lack - fit_line(levels, means, trial).lack
        length = np.abs(trial - at).max(axis=1, initial=0.0)
        # A finished curve stays, so that it does not depend on its company.
        at = np.where(((gain > 0) & ~converged)[:, None], trial, at)
        converged |= (length < CLOSE) | (np.abs(gain) <= CLOSE * (line.lack + within))
        line = fit_line(levels, means, at)
        radius = np.where(gain > 0, np.minimum(radius * 2, LONGEST), length / 4)
        if converged.all():
            break
    return at, converged


def _best_of_grid(levels: Levels, means: Means) -> At:
    lowest, highest = limits(levels)
    axes = [np.linspace(*ends) for ends in zip(lowest, highest, GRID, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid[explained(levels, means, grid).argmax(axis=0)]


def _step(levels: Levels, line: Line, at: At, radius: PerCurve) -> At:
    """One Gauss-Newton step, shortened to `radius`; a parameter pressed on its bound stays."""
    columns = gradients(levels, line, at)
    slope = (columns * line.residual[:, None]).sum(axis=-1)
    lowest, highest = limits(levels)
    stuck = ((at <= lowest) & (slope < 0)) | ((at >= highest) & (slope > 0))
    columns = np.where(stuck[..., None], 0.0, columns)
    square = columns @ columns.swapaxes(-1, -2)
    diagonal = np.einsum("rpp->rp", square)
    diagonal *= 1 + DAMPING
    diagonal += np.where(diagonal > 0, 0.0, 1.0)
    step = _solve(square, np.where(stuck, 0.0, slope))
    length = np.abs(step).max(axis=1, keepdims=True, initial=0.0)
    return step * np.minimum(1.0, radius[:, None] / np.maximum(length, CLOSE))


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
