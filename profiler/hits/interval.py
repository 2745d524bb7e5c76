"""How far the EC50 could lie: the profile likelihood.

At every EC50 the other three parameters are fitted anew; the interval holds the EC50s
that fit no worse than the F test allows. Unlike an interval from the Jacobian it is
lopsided where the data are, and open where they set no limit.
"""

import numpy as np
from jaxtyping import Float
from scipy import stats

from profiler.hits.logistic import SLOPES, Dose, Fit, PerCurve, Responses, bounds, residual_sums

POINTS = 20  # EC50s tried on each side
AT_ONCE = 64  # curves in memory together
TRIED_SLOPES = np.linspace(*np.log(SLOPES), 14)
ZOOM = np.linspace(-1.0, 1.0, 9) * (TRIED_SLOPES[1] - TRIED_SLOPES[0])


def confidence_interval(
    dose: Dose, responses: Responses, fit: Fit, *, level: float = 0.95
) -> tuple[PerCurve, PerCurve]:
    """Give the profile-likelihood interval of every curve's log10 EC50.

    Args:
        dose: log10 concentrations, -inf for wells without compound; more than four.
        responses: What `fit` was fitted to.
        fit: From `logistic.fit`.
        level: Share of intervals that should hold the truth.

    Returns:
        Lower and upper ends; NaN where the interval is open, that is, reaches
        the bounds within which EC50s are looked for.

    Source:
        Venzon & Moolgavkar 1988, Applied Statistics 37:87, with the F quantile
        for an unknown variance (Bates & Watts 1988, chapter 6). Coverage is
        measured in tests/hits/test_interval.py.
    """
    ends = np.full((2, len(responses)), np.nan)
    for first in range(0, len(responses), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        part = Fit(*(values[some] for values in fit))
        for end, sign in enumerate((-1.0, 1.0)):
            ends[end, some] = _end(dose, responses[some], part, sign=sign, level=level)
    return ends[0], ends[1]


def _end(dose: Dose, responses: Responses, fit: Fit, *, sign: float, level: float) -> PerCurve:
    """Walk away from the best EC50 until the fit is significantly worse."""
    freedom = len(dose) - 4
    tried = fit.log_ec50[:, None] + sign * _distances(dose, fit, sign=sign)
    worse = np.maximum(_profile(dose, responses, tried) - fit.rss[:, None], 0.0)
    variance = np.maximum(fit.rss / freedom, np.finfo(float).tiny)
    # The square root of the excess is nearly straight in the EC50: interpolate that.
    root = np.sqrt(worse / variance[:, None])
    root = np.concatenate([np.zeros((len(root), 1)), root], axis=1)
    tried = np.concatenate([fit.log_ec50[:, None], tried], axis=1)
    return _crossing(tried, root, stats.t.ppf(0.5 + level / 2, freedom))


def _distances(dose: Dose, fit: Fit, *, sign: float) -> Float[np.ndarray, "readout point"]:
    """Geometric steps from a quarter standard error to the bound."""
    low, high = bounds(dose)
    farthest = np.maximum((high if sign > 0 else low) * sign - fit.log_ec50 * sign, 1e-6)
    nearest = np.clip(fit.se / 4, 1e-9, farthest / 2)
    return np.geomspace(nearest, farthest, POINTS, axis=1)


def _profile(
    dose: Dose, responses: Responses, log_ec50: Float[np.ndarray, "readout point"]
) -> Float[np.ndarray, "readout point"]:
    """Least residual sum of squares over the slopes, at each EC50."""
    slopes = np.broadcast_to(TRIED_SLOPES, (*log_ec50.shape, len(TRIED_SLOPES)))
    sums = _sums(dose, responses, log_ec50, slopes)
    best = TRIED_SLOPES[sums.argmin(axis=-1)]
    closer = np.clip(best[..., None] + ZOOM, TRIED_SLOPES[0], TRIED_SLOPES[-1])
    return _valley(_sums(dose, responses, log_ec50, closer))


def _sums(
    dose: Dose, responses: Responses, log_ec50: np.ndarray, slopes: np.ndarray
) -> Float[np.ndarray, "readout point slope"]:
    at = np.stack(np.broadcast_arrays(log_ec50[..., None], slopes), axis=-1)
    return residual_sums(dose, responses, at)


def _valley(sums: Float[np.ndarray, "readout point slope"]) -> Float[np.ndarray, "readout point"]:
    """Bottom of the parabola through the least value and its neighbours."""
    middle = sums.argmin(axis=-1)[..., None]
    inner = np.clip(middle, 1, sums.shape[-1] - 2)
    a, b, c = (np.take_along_axis(sums, inner + k, axis=-1)[..., 0] for k in (-1, 0, 1))
    least = np.take_along_axis(sums, middle, axis=-1)[..., 0]
    bend = a - 2 * b + c
    drop = np.divide((a - c) ** 2, 8 * bend, out=np.zeros_like(b), where=bend > 0)
    is_inside = (middle == inner)[..., 0]
    return np.where(is_inside, np.maximum(b - drop, 0.0), least)


def _crossing(
    log_ec50: Float[np.ndarray, "readout point"],
    root: Float[np.ndarray, "readout point"],
    limit: float,
) -> PerCurve:
    """First place where `root` rises above `limit`, by straight lines; NaN if nowhere."""
    above = root > limit
    after = above.argmax(axis=1)[:, None]
    before = np.maximum(after - 1, 0)
    x0, x1 = (np.take_along_axis(log_ec50, i, axis=1)[:, 0] for i in (before, after))
    y0, y1 = (np.take_along_axis(root, i, axis=1)[:, 0] for i in (before, after))
    share = np.divide(limit - y0, y1 - y0, out=np.zeros_like(y0), where=y1 > y0)
    return np.where(above.any(axis=1), x0 + share * (x1 - x0), np.nan)
