"""Least-squares dose-response curves: a grid no local minimum can trap, then Gauss-Newton."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from profiler.hits.logistic import At, Dose, Line, explained, fit_line, gradients, limits

GRID = (89, 21)  # points in log EC50 and in log slope
MAX_STEPS = 100
LONGEST = 0.5  # of a step in either parameter
DAMPING = 1e-6  # keeps the steps defined where EC50 and slope cannot be told apart
CLOSE = 1e-9  # a smaller step, or relative gain, is the end

Responses = Float[np.ndarray, "readout well"]
PerCurve = Float[np.ndarray, " readout"]


class Fit(NamedTuple):
    """Least-squares curves, one entry per readout."""

    log_ec50: PerCurve
    slope: PerCurve
    start: PerCurve
    change: PerCurve
    rss: PerCurve  # residual sum of squares
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
    at = _best_of_grid(dose, responses)
    line = fit_line(dose, responses, at)
    radius = np.full(len(responses), LONGEST)
    converged = np.zeros(len(responses), dtype=bool)
    for _ in range(MAX_STEPS):
        trial = np.clip(at + _step(dose, line, at, radius), *limits(dose))
        gain = line.rss - fit_line(dose, responses, trial).rss
        length = np.abs(trial - at).max(axis=1, initial=0.0)
        converged |= (length < CLOSE) | (np.abs(gain) <= CLOSE * line.rss)
        at = np.where(gain[:, None] > 0, trial, at)
        line = fit_line(dose, responses, at)
        radius = np.where(gain > 0, np.minimum(radius * 2, LONGEST), length / 4)
        if converged.all():
            break
    se = _standard_error(dose, line, at)
    return Fit(at[:, 0], np.exp(at[:, 1]), line.start, line.change, line.rss, se, converged)


def _best_of_grid(dose: Dose, responses: Responses) -> At:
    lowest, highest = limits(dose)
    axes = [np.linspace(*ends) for ends in zip(lowest, highest, GRID, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid[explained(dose, responses, grid).argmax(axis=0)]


def _step(dose: Dose, line: Line, at: At, radius: PerCurve) -> At:
    """One Gauss-Newton step, shortened to `radius`; a parameter pressed on its bound stays."""
    columns = gradients(dose, line, at)
    slope = (columns * line.residual[:, None]).sum(axis=-1)
    lowest, highest = limits(dose)
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


def _standard_error(dose: Dose, line: Line, at: At) -> PerCurve:
    columns = gradients(dose, line, at)
    square = columns @ columns.swapaxes(-1, -2)
    a, b, d = square[:, 0, 0], square[:, 0, 1], square[:, 1, 1]
    determinant = a * d - b * b
    inverse = np.divide(d, determinant, out=np.full_like(d, np.inf), where=determinant > 0)
    freedom = max(len(dose) - 4, 1)
    return np.sqrt(np.where(np.isfinite(inverse), inverse * line.rss / freedom, np.inf))
