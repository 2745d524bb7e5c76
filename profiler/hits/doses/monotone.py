"""Dose-response without a formula: the best curve that only rises or falls, or that turns once.

Least squares on the means of replicates by pooling neighbours that are out of order. How much
better such a curve is than a constant by chance depends on nothing but how many wells each dose
has, so one simulation serves every curve over the same doses.
"""

from typing import NamedTuple, TypeAlias, no_type_check

import numpy as np
from jaxtyping import Float, Int64

from profiler.hits.compiled import compiled
from profiler.hits.doses.logistic import Levels

DRAWS = 20_000
NOISE = 1e-12  # of a share of the sum of squares

Means: TypeAlias = Float[np.ndarray, "curve level"]
PerCurve: TypeAlias = Float[np.ndarray, " curve"]


class Shape(NamedTuple):
    """Curves of least squares, one entry per readout.

    Attributes:
        fitted: The better one of those that only rise or only fall, at each dose.
        direction: 1 if it rises, -1 if it falls, 0 if it is constant.
        explained: Sum of squares that it explains.
        turning: The better one of those that turn once: explained besides.
        turn: Which dose is its extreme.
    """

    fitted: Means
    direction: Int64[np.ndarray, " curve"]
    explained: PerCurve
    turning: PerCurve
    turn: Int64[np.ndarray, " curve"]


class Chance(NamedTuple):
    """Shares of the sum of squares that curves explain of normal noise, ascending.

    Attributes:
        monotone: Of the total.
        turning: Of what a monotone curve leaves.
    """

    monotone: Float[np.ndarray, " draw"]
    turning: Float[np.ndarray, " draw"]


def fit_shape(levels: Levels, means: Means) -> Shape:
    """Fit curves to the mean responses at each dose.

    Args:
        levels: The doses, ascending, and the root of the number of wells.
        means: Finite mean responses.

    Source:
        Pool adjacent violators: Barlow et al. 1972, Statistical Inference under Order
        Restrictions; against scikit-learn's IsotonicRegression in
        tests/hits/doses/test_monotone.py.

    >>> levels = Levels(np.arange(3.0), np.ones(3))
    >>> fit_shape(levels, np.array([[1.0, 3.0, 2.0]])).fitted.tolist()
    [[1.0, 2.5, 2.5]]
    """
    return Shape(*_shapes(np.ascontiguousarray(means, dtype=np.float64), levels.root**2))


def fit_falling(levels: Levels, means: Means) -> Means:
    """Fit the curves that only fall.

    Args:
        levels: As for `fit_shape`.
        means: As for `fit_shape`.
    """
    return -_rising(np.ascontiguousarray(-means, dtype=np.float64), levels.root**2)


def chance(levels: Levels, *, seed: int) -> Chance:
    """Simulate what curves explain of noise at these doses.

    Args:
        levels: The doses, and the root of the number of wells, more in all than doses.
        seed: Alone decides, with the numbers of wells, what is drawn.

    Source:
        The E-bar-squared test, Barlow et al. 1972, with its distribution simulated.
    """
    wells = np.round(levels.root**2).astype(np.int64)
    random = np.random.default_rng([seed, *wells.tolist()])
    means = random.normal(size=(DRAWS, len(wells))) / levels.root
    within = random.chisquare(int(wells.sum()) - len(wells), size=DRAWS)
    total = within + about_mean(levels, means)
    shape = fit_shape(levels, means)
    return Chance(
        np.sort(shape.explained / total), np.sort(shape.turning / (total - shape.explained))
    )


def p_value(share: PerCurve, null: Float[np.ndarray, " draw"]) -> PerCurve:
    """Give the chance of so large a share, counting the curve as one draw more; NaN stays."""
    above = len(null) - np.searchsorted(null, share - NOISE)
    return np.where(np.isfinite(share), (above + 1) / (len(null) + 1), np.nan)


def about_mean(levels: Levels, means: Means) -> PerCurve:
    """Give the sum of squares of mean responses about their own mean."""
    wells = levels.root**2
    mean = (means * wells).sum(axis=1, keepdims=True) / wells.sum()
    return ((means - mean) ** 2 * wells).sum(axis=1)


@no_type_check
@compiled()
def _shapes(means, weight):
    n_curves, n_levels = means.shape
    fitted = np.empty((n_curves, n_levels))
    direction = np.zeros(n_curves, np.int64)
    explained, turning = np.zeros(n_curves), np.zeros(n_curves)
    turn = np.zeros(n_curves, np.int64)
    trial = np.empty(n_levels)
    for c in range(n_curves):
        total = 0.0
        for sign in (1, -1):
            _rise(means[c] * sign, weight, trial)
            gain = _gain(trial, weight)
            if sign == 1 or gain > total * (1 + 1e-12):
                fitted[c] = trial * sign
                total = gain
                direction[c] = sign if trial[-1] > trial[0] else 0
        explained[c] = total
        for sign in (1, -1):
            for peak in range(1, n_levels - 1):
                values = means[c] * sign
                # The peak belongs to the side that rises; the other starts below it by itself.
                _rise(values[: peak + 1], weight[: peak + 1], trial[: peak + 1])
                right = np.empty(n_levels - peak - 1)
                _rise(values[peak + 1 :][::-1], weight[peak + 1 :][::-1], right)
                trial[peak + 1 :] = right[::-1]
                gain = _gain(trial, weight) - total
                if gain > turning[c]:
                    turning[c], turn[c] = gain, peak
    return fitted, direction, explained, turning, turn


@no_type_check
@compiled()
def _rising(means, weight):
    fitted = np.empty_like(means)
    for c in range(len(means)):
        _rise(means[c], weight, fitted[c])
    return fitted


@no_type_check
@compiled()
def _rise(values, weight, fitted):
    """The rising curve of least squares."""
    n = len(values)
    level, mass, size = np.empty(n), np.empty(n), np.empty(n, np.int64)
    top = -1
    for i in range(n):
        top += 1
        level[top], mass[top], size[top] = values[i], weight[i], 1
        while top > 0 and level[top - 1] > level[top]:
            both = mass[top - 1] + mass[top]
            level[top - 1] = (level[top - 1] * mass[top - 1] + level[top] * mass[top]) / both
            mass[top - 1] = both
            size[top - 1] += size[top]
            top -= 1
    at = 0
    for block in range(top + 1):
        for _ in range(size[block]):
            fitted[at] = level[block]
            at += 1


@no_type_check
@compiled()
def _gain(fitted, weight):
    """Sum of squares of a curve about its mean: what it explains, its blocks being means."""
    mean = (fitted * weight).sum() / weight.sum()
    return ((fitted - mean) ** 2 * weight).sum()
