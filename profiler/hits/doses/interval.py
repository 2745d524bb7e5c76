"""How far the EC50 could lie: the profile likelihood.

At every EC50 the other three parameters are fitted anew; the interval holds the EC50s
that fit no worse than the F test allows. Unlike an interval from the Jacobian it is
lopsided where the data are, and open where they set no limit.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from scipy import stats

from profiler.hits.doses.fit import Fit, PerCurve
from profiler.hits.doses.logistic import (
    SLOPES,
    Dose,
    Levels,
    Means,
    Responses,
    fit_line,
    gradients,
    levels_of,
    limits,
)

POINTS = 20  # EC50s tried on each side
AT_ONCE = 64  # curves in memory together
FIRST_SLOPES = np.linspace(np.log(SLOPES[0]), np.log(SLOPES[1]), 14)
SLOPE_STEPS = 6  # Gauss-Newton converges in four from the nearest first slope

PerPoint: TypeAlias = Float[np.ndarray, "readout point"]


def confidence_interval(
    dose: Dose, responses: Responses, fit: Fit, *, level: float = 0.95
) -> tuple[PerCurve, PerCurve]:
    """Give the profile-likelihood interval of every curve's log10 EC50.

    Args:
        dose: log10 concentrations, -inf for wells without compound; more than four.
        responses: What `fit` was fitted to.
        fit: From `fit`.
        level: Share of intervals that should hold the truth.

    Returns:
        Lower and upper ends; NaN where the interval is open, that is, reaches
        the limits within which EC50s are looked for.

    Source:
        Venzon & Moolgavkar 1988, Applied Statistics 37:87, with the t quantile
        for an unknown variance (Bates & Watts 1988, chapter 6). Coverage is
        measured in tests/hits/doses/test_interval.py.
    """
    levels, means, _ = levels_of(dose, responses)
    freedom = len(dose) - 4
    limit = float(stats.t.ppf(0.5 + level / 2, freedom))
    ends = np.full((2, len(responses)), np.nan)
    for first in range(0, len(responses), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        part = Fit(*(values[some] for values in fit))
        for end, sign in enumerate((-1.0, 1.0)):
            tried, root = _walk(levels, means[some], part, sign=sign)
            ends[end, some] = _crossing(tried, root * np.sqrt(freedom), limit)
    return ends[0], ends[1]


def _walk(levels: Levels, means: Means, fit: Fit, *, sign: float) -> tuple[PerPoint, PerPoint]:
    """Walk away from the best EC50: where, and the root of the relative excess of squares.

    The root is nearly straight in the EC50, so that it can be interpolated.
    """
    best = fit.log_ec50[:, None]
    tried = best + sign * _distances(levels, fit, sign=sign)
    worse = np.maximum(_profile(levels, means, tried) - fit.lack[:, None], 0.0)
    rss = np.maximum(fit.rss, np.finfo(float).tiny)
    root = np.sqrt(worse / rss[:, None])
    joined = np.concatenate([np.zeros_like(best), root], axis=1)
    return np.concatenate([best, tried], axis=1), joined


def _distances(levels: Levels, fit: Fit, *, sign: float) -> PerPoint:
    """Geometric steps from a quarter standard error to the limit."""
    lowest, highest = limits(levels)
    room = highest[0] - fit.log_ec50 if sign > 0 else fit.log_ec50 - lowest[0]
    farthest = np.maximum(room, 1e-6)
    nearest = np.clip(fit.se / 4, 1e-9, farthest / 2)
    return np.geomspace(nearest, farthest, POINTS, axis=1)


def _profile(levels: Levels, means: Means, log_ec50: PerPoint) -> PerPoint:
    """Least lack of fit over the slopes, at each EC50."""
    curves = means[:, None]
    slopes = np.broadcast_to(FIRST_SLOPES, (*log_ec50.shape, len(FIRST_SLOPES)))
    grid = np.stack(np.broadcast_arrays(log_ec50[..., None], slopes), axis=-1)
    sums = fit_line(levels, curves[:, None], grid).lack
    least = sums.min(axis=-1)
    log_slope = FIRST_SLOPES[sums.argmin(axis=-1)]
    for _ in range(SLOPE_STEPS):
        at = np.stack([log_ec50, log_slope], axis=-1)
        line = fit_line(levels, curves, at)
        least = np.minimum(least, line.lack)
        column = gradients(levels, line, at)[..., 1, :]
        square = (column**2).sum(axis=-1)
        slope = (column * line.residual).sum(axis=-1)
        step = np.divide(slope, square, out=np.zeros_like(slope), where=square > 0)
        widest = FIRST_SLOPES[1] - FIRST_SLOPES[0]
        log_slope = np.clip(log_slope + np.clip(step, -widest, widest), *np.log(SLOPES))
    return least


def _crossing(log_ec50: PerPoint, root: PerPoint, limit: float) -> PerCurve:
    """First place where `root` rises above `limit`, by straight lines; NaN if nowhere."""
    above = root > limit
    after = above.argmax(axis=1)[:, None]
    before = np.maximum(after - 1, 0)
    x0, x1 = (np.take_along_axis(log_ec50, i, axis=1)[:, 0] for i in (before, after))
    y0, y1 = (np.take_along_axis(root, i, axis=1)[:, 0] for i in (before, after))
    share = np.divide(limit - y0, y1 - y0, out=np.zeros_like(y0), where=y1 > y0)
    return np.where(above.any(axis=1), x0 + share * (x1 - x0), np.nan)
