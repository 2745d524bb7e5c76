"""The four-parameter logistic curve, fitted to many readouts of the same wells at once.

    response = start + change / (1 + 10 ** (slope * (log_ec50 - log_dose))),  slope > 0

`start` is the response without compound, `start + change` at saturation. For given
`log_ec50` and `slope` the other two are a straight-line fit, so only two parameters
are searched: on a grid that spans their bounds, which no local minimum can trap, then
by Levenberg-Marquardt from its best point (variable projection, Golub & Pereyra 1973).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

LN10 = np.log(10.0)
SLOPES = (0.2, 10.0)  # bounds; steeper than 10 is a step between any two doses
DECADES_BEYOND = 1.0  # how far past the tested doses an EC50 is looked for
GRID = (89, 21)  # points in log EC50 and in log slope
MAX_STEPS = 60

Dose = Float[np.ndarray, " well"]  # log10 of the concentration, -inf for none
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


class _Line(NamedTuple):
    """The straight-line fit of responses on the fraction of full effect."""

    start: np.ndarray
    change: np.ndarray
    residual: np.ndarray
    centred: np.ndarray  # fraction minus its mean

    @property
    def rss(self) -> np.ndarray:
        return (self.residual**2).sum(axis=-1)


def bounds(dose: Dose) -> tuple[float, float]:
    """Say where an EC50 is looked for.

    Args:
        dose: log10 concentrations, -inf for wells without compound.

    Returns:
        The lowest and highest log10 EC50.
    """
    tested = dose[np.isfinite(dose)]
    return float(tested.min() - DECADES_BEYOND), float(tested.max() + DECADES_BEYOND)


def fraction(dose: np.ndarray, log_ec50: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Give the fraction of the full effect; the arguments broadcast.

    >>> fraction(np.array([-np.inf, 1.0, 9.0]), np.array(1.0), np.array(2.0)).round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    return expit(LN10 * slope * (dose - log_ec50))


def fit(dose: Dose, responses: Responses) -> Fit:
    """Fit one curve to every row of responses.

    Args:
        dose: log10 concentrations, -inf for wells without compound; one is finite.
        responses: Finite values.

    Returns:
        The curves of least squares within `bounds` and `SLOPES`.

    Source:
        Checked against scipy.optimize.curve_fit in tests/hits/test_logistic.py.
    """
    at = _best_of_grid(dose, responses)
    lowest, highest = _limits(dose)
    damping = np.full(len(responses), 1e-3)
    converged = np.zeros(len(responses), dtype=bool)
    line = _line(dose, responses, at)
    for _ in range(MAX_STEPS):
        step = _step(dose, line, at, damping)
        trial = np.clip(at + step, lowest, highest)
        trial_line = _line(dose, responses, trial)
        better = trial_line.rss <= line.rss
        converged |= np.abs(trial - at).max(axis=1, initial=0.0) < 1e-9
        at = np.where(better[:, None], trial, at)
        damping = np.clip(np.where(better, damping / 5, damping * 10), 1e-12, 1e12)
        line = _line(dose, responses, at)
        if converged.all():
            break
    se = _standard_error(dose, line, at)
    return Fit(at[:, 0], np.exp(at[:, 1]), line.start, line.change, line.rss, se, converged)


def residual_sums(dose: Dose, responses: Responses, at: np.ndarray) -> np.ndarray:
    """Give the residual sum of squares at given EC50s and slopes.

    Args:
        dose: log10 concentrations, -inf for wells without compound.
        responses: Finite values.
        at: [readout, ..., 2]: log10 EC50 and log slope to try for each readout.

    Returns:
        [readout, ...]
    """
    extra = at.ndim - 2
    shaped = responses.reshape(len(responses), *[1] * extra, -1)
    return _line(dose, shaped, at).rss


def _limits(dose: Dose) -> tuple[np.ndarray, np.ndarray]:
    low, high = bounds(dose)
    return np.array([low, np.log(SLOPES[0])]), np.array([high, np.log(SLOPES[1])])


def _best_of_grid(dose: Dose, responses: Responses) -> Float[np.ndarray, "readout 2"]:
    """Search the whole grid; it is shared by all readouts, so this is one matrix product."""
    axes = [np.linspace(a, b, n) for a, b, n in zip(*_limits(dose), GRID, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    shape = fraction(dose, grid[:, :1], np.exp(grid[:, 1:]))
    shape -= shape.mean(axis=1, keepdims=True)
    size = np.linalg.norm(shape, axis=1, keepdims=True)
    shape = np.divide(shape, size, out=np.zeros_like(shape), where=size > 1e-9)
    explained = np.abs(shape @ (responses - responses.mean(axis=1, keepdims=True)).T)
    return grid[explained.argmax(axis=0)]


def _line(dose: Dose, responses: np.ndarray, at: np.ndarray) -> _Line:
    share = fraction(dose, at[..., :1], np.exp(at[..., 1:]))
    centred = share - share.mean(axis=-1, keepdims=True)
    square = (centred**2).sum(axis=-1)
    product = (centred * responses).sum(axis=-1)
    change = np.divide(product, square, out=np.zeros_like(product), where=square > 1e-18)
    middle = responses.mean(axis=-1)
    residual = responses - middle[..., None] - change[..., None] * centred
    return _Line(middle - change * share.mean(axis=-1), change, residual, centred)


def _columns(dose: Dose, line: _Line, at: np.ndarray) -> Float[np.ndarray, "readout well 2"]:
    """Jacobian in (log EC50, log slope) with the straight-line part projected out."""
    slope = np.exp(at[:, 1:])
    share = fraction(dose, at[:, :1], slope)
    steep = line.change[:, None] * share * (1 - share) * LN10 * slope
    away = np.where(np.isfinite(dose), dose, 0.0) - at[:, :1]
    columns = np.stack([-steep, steep * away], axis=-1)
    columns -= columns.mean(axis=1, keepdims=True)
    size = np.linalg.norm(line.centred, axis=1)[:, None]
    unit = np.divide(line.centred, size, out=np.zeros_like(line.centred), where=size > 1e-9)
    return columns - unit[:, :, None] * np.einsum("rw,rwp->rp", unit, columns)[:, None]


def _step(
    dose: Dose, line: _Line, at: Float[np.ndarray, "readout 2"], damping: PerCurve
) -> Float[np.ndarray, "readout 2"]:
    columns = _columns(dose, line, at)
    gradient = np.einsum("rwp,rw->rp", columns, line.residual)
    lowest, highest = _limits(dose)
    stuck = ((at <= lowest) & (gradient < 0)) | ((at >= highest) & (gradient > 0))
    columns = np.where(stuck[:, None], 0.0, columns)
    square = np.einsum("rwp,rwq->rpq", columns, columns)
    diagonal = np.einsum("rpp->rp", square)
    diagonal += damping[:, None] * diagonal
    diagonal += np.where(diagonal <= 0, 1.0, 0.0)
    gradient = np.where(stuck, 0.0, gradient)
    return _solve(square, gradient)


def _solve(square: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve 2x2 systems; a singular one moves nowhere."""
    a, b, d = square[:, 0, 0], square[:, 0, 1], square[:, 1, 1]
    determinant = a * d - b * b
    inverse = np.stack([np.stack([d, -b], -1), np.stack([-b, a], -1)], -2)
    moved = np.einsum("rpq,rq->rp", inverse, right)
    safe = determinant > 1e-14 * a * d
    return np.divide(moved, determinant[:, None], out=np.zeros_like(moved), where=safe[:, None])


def _standard_error(dose: Dose, line: _Line, at: Float[np.ndarray, "readout 2"]) -> PerCurve:
    columns = _columns(dose, line, at)
    square = np.einsum("rwp,rwq->rpq", columns, columns)
    a, b, d = square[:, 0, 0], square[:, 0, 1], square[:, 1, 1]
    determinant = a * d - b * b
    variance = line.rss / max(len(dose) - 4, 1)
    inverse = np.divide(d, determinant, out=np.full_like(d, np.inf), where=determinant > 0)
    return np.sqrt(variance) * np.sqrt(inverse)
