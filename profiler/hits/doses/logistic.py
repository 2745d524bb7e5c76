"""The four-parameter logistic curve, for many readouts of the same wells at once.

    response = start + change * share
    share = 1 / (1 + 10 ** (slope * (log_ec50 - log_dose))),  slope > 0

`start` is the response without compound, `start + change` at saturation. For a given
(log EC50, log slope), below called `at`, the other two are a straight-line fit, so only
two parameters are ever searched (variable projection, Golub & Pereyra 1973). Replicates
enter by their mean and number: least squares needs no more of them.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.special import expit

LN10 = np.log(10.0)
SLOPES = (0.2, 10.0)  # bounds; steeper than 10 is a step between any two doses
DECADES_BEYOND = 1.0  # how far past the tested doses an EC50 is looked for

Dose: TypeAlias = Float[np.ndarray, " well"]  # log10 of the concentration, -inf for none
Responses: TypeAlias = Float[np.ndarray, "readout well"]
Means: TypeAlias = Float[np.ndarray, "*curve level"]
At: TypeAlias = Float[np.ndarray, "*curve 2"]  # log10 EC50 and natural log of the slope


class Levels(NamedTuple):
    """The distinct doses, and the square root of how many wells each has."""

    dose: Float[np.ndarray, " level"]
    root: Float[np.ndarray, " level"]


def levels_of(dose: Dose, responses: Responses) -> tuple[Levels, Means, np.ndarray]:
    """Reduce replicates to what a least-squares fit needs.

    Args:
        dose: log10 concentrations, -inf for wells without compound; one is finite.
        responses: Finite values.

    Returns:
        The distinct doses; the mean response at each, [readout, level]; and the sum
        of squares of the replicates about their means, [readout].
    """
    distinct, which, count = np.unique(dose, return_inverse=True, return_counts=True)
    belongs = (which[:, None] == np.arange(len(distinct))).astype(float)
    means = responses @ (belongs / count)
    within = ((responses - means[:, which]) ** 2).sum(axis=1)
    return Levels(distinct, np.sqrt(count)), means, within


class Line(NamedTuple):
    """The straight-line fit of responses on the share of full effect."""

    start: Float[np.ndarray, "*curve"]
    change: Float[np.ndarray, "*curve"]
    residual: Float[np.ndarray, "*curve level"]  # times the root of the wells
    share: Float[np.ndarray, "*curve level"]

    @property
    def lack(self) -> Float[np.ndarray, "*curve"]:
        """Sum of squares between the curve and the means: lack of fit."""
        return (self.residual**2).sum(axis=-1)


def limits(levels: Levels) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Give the lowest and the highest (log EC50, log slope) that are looked for."""
    tested = levels.dose[np.isfinite(levels.dose)]
    lowest = np.array([tested.min() - DECADES_BEYOND, np.log(SLOPES[0])])
    return lowest, np.array([tested.max() + DECADES_BEYOND, np.log(SLOPES[1])])


def share_of(dose: Float[np.ndarray, " level"], at: At) -> Means:
    """Give the share of the full effect at every dose.

    >>> at = np.array([1.0, np.log(2.0)])
    >>> share_of(np.array([-np.inf, 1.0, 9.0]), at).round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    return expit(LN10 * np.exp(at[..., 1:]) * (dose - at[..., :1]))


def fit_line(levels: Levels, means: Float[np.ndarray, "*#curve level"], at: At) -> Line:
    """Fit start and change at given EC50s and slopes.

    Args:
        levels: From `levels_of`.
        means: Mean responses; the curve axes broadcast against those of `at`.
        at: Where to fit.

    Returns:
        The least-squares line; no change where all levels have the same share.
    """
    share = share_of(levels.dose, at)
    middle, mean = (_mean(values, levels)[..., None] for values in (share, means))
    weighted = levels.root**2 * (share - middle)
    square = (weighted * (share - middle)).sum(axis=-1)
    product = (weighted * (means - mean)).sum(axis=-1)
    change = np.divide(product, square, out=np.zeros_like(product), where=square > 1e-18)
    residual = levels.root * (means - mean - change[..., None] * (share - middle))
    return Line(mean[..., 0] - change * middle[..., 0], change, residual, share)


def gradients(levels: Levels, line: Line, at: At) -> Float[np.ndarray, "*curve 2 level"]:
    """Derivatives of the fitted curve by log EC50 and log slope, times the root of the wells.

    The part that start and change could make good is projected out (Kaufman 1975).
    """
    slope = np.exp(at[..., 1:])
    steep = line.change[..., None] * line.share * (1 - line.share) * LN10 * slope
    away = np.where(np.isfinite(levels.dose), levels.dose, 0.0) - at[..., :1]
    columns = np.stack([-steep, steep * away], axis=-2)
    columns = levels.root * (columns - _mean(columns, levels)[..., None])
    unit = _unit(line.share, levels)[..., None, :]
    return columns - unit * (unit * columns).sum(axis=-1, keepdims=True)


def explained(
    levels: Levels, means: Float[np.ndarray, "readout level"], at: Float[np.ndarray, "grid 2"]
) -> Float[np.ndarray, "grid readout"]:
    """Give the root of the sum of squares that curves explain.

    Args:
        levels: From `levels_of`.
        means: Mean responses.
        at: Curves to try; all readouts share them, so this is one matrix product.
    """
    deviation = levels.root * (means - _mean(means, levels)[:, None])
    return np.abs(_unit(share_of(levels.dose, at), levels) @ deviation.T)


def _mean(values: np.ndarray, levels: Levels) -> np.ndarray:
    """Mean over wells."""
    count = levels.root**2
    return (values * count).sum(axis=-1) / count.sum()


def _unit(share: Means, levels: Levels) -> Means:
    """Centre, weight and scale to length one; zero where nothing varies."""
    centred = levels.root * (share - _mean(share, levels)[..., None])
    size = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.divide(centred, size, out=np.zeros_like(centred), where=size > 1e-9)
