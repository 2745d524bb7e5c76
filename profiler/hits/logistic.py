"""The four-parameter logistic curve, for many readouts of the same wells at once.

    response = start + change * fraction
    fraction = 1 / (1 + 10 ** (slope * (log_ec50 - log_dose))),  slope > 0

`start` is the response without compound, `start + change` at saturation. For a given
(log EC50, log slope), below called `at`, the other two are a straight-line fit, so only
two parameters are ever searched (variable projection, Golub & Pereyra 1973).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import expit

LN10 = np.log(10.0)
SLOPES = (0.2, 10.0)  # bounds; steeper than 10 is a step between any two doses
DECADES_BEYOND = 1.0  # how far past the tested doses an EC50 is looked for

Dose = Float[np.ndarray, " well"]  # log10 of the concentration, -inf for none
Responses = Float[np.ndarray, "*curve well"]
At = Float[np.ndarray, "*curve 2"]  # log10 EC50 and natural log of the slope


class Line(NamedTuple):
    """The straight-line fit of responses on the fraction of full effect."""

    start: Float[np.ndarray, "*curve"]
    change: Float[np.ndarray, "*curve"]
    residual: Float[np.ndarray, "*curve well"]
    share: Float[np.ndarray, "*curve well"]

    @property
    def rss(self) -> Float[np.ndarray, "*curve"]:
        """Residual sum of squares."""
        return (self.residual**2).sum(axis=-1)


def limits(dose: Dose) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Say where (log EC50, log slope) is looked for.

    Args:
        dose: log10 concentrations, -inf for wells without compound; one is finite.

    Returns:
        The lowest and the highest of both.
    """
    tested = dose[np.isfinite(dose)]
    lowest = np.array([tested.min() - DECADES_BEYOND, np.log(SLOPES[0])])
    return lowest, np.array([tested.max() + DECADES_BEYOND, np.log(SLOPES[1])])


def fraction(dose: Dose, at: At) -> Float[np.ndarray, "*curve well"]:
    """Give every well's fraction of the full effect.

    >>> at = np.array([1.0, np.log(2.0)])
    >>> fraction(np.array([-np.inf, 1.0, 9.0]), at).round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    return expit(LN10 * np.exp(at[..., 1:]) * (dose - at[..., :1]))


def fit_line(dose: Dose, responses: Responses, at: At) -> Line:
    """Fit start and change at given EC50s and slopes.

    Args:
        dose: log10 concentrations, -inf for wells without compound.
        responses: Finite values; the curve axes broadcast against those of `at`.
        at: Where to fit.

    Returns:
        The least-squares line; no change where all wells have the same fraction.
    """
    share = fraction(dose, at)
    middle = share.mean(axis=-1, keepdims=True)
    square = ((share - middle) ** 2).sum(axis=-1)
    product = ((share - middle) * responses).sum(axis=-1)
    change = np.divide(product, square, out=np.zeros_like(product), where=square > 1e-18)
    start = responses.mean(axis=-1) - change * middle[..., 0]
    residual = responses - start[..., None] - change[..., None] * share
    return Line(start, change, residual, share)


def gradients(dose: Dose, line: Line, at: At) -> Float[np.ndarray, "*curve 2 well"]:
    """Derivatives of the fitted curve by log EC50 and log slope.

    The part that start and change could make good is projected out (Kaufman 1975).
    """
    slope = np.exp(at[..., 1:])
    steep = line.change[..., None] * line.share * (1 - line.share) * LN10 * slope
    away = np.where(np.isfinite(dose), dose, 0.0) - at[..., :1]
    columns = np.stack([-steep, steep * away], axis=-2)
    columns -= columns.mean(axis=-1, keepdims=True)
    unit = _unit(line.share)[..., None, :]
    return columns - unit * (unit * columns).sum(axis=-1, keepdims=True)


def _unit(share: Float[np.ndarray, "*curve well"]) -> Float[np.ndarray, "*curve well"]:
    """Centre and scale to length one; zero where nothing varies."""
    centred = share - share.mean(axis=-1, keepdims=True)
    size = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.divide(centred, size, out=np.zeros_like(centred), where=size > 1e-9)


def explained(dose: Dose, responses: Float[np.ndarray, "readout well"], at: At) -> np.ndarray:
    """Give the root of the sum of squares that a curve explains, for any `at`.

    Args:
        dose: log10 concentrations, -inf for wells without compound.
        responses: One row per readout.
        at: Curves to try, [grid, 2]; all readouts share them: one matrix product.

    Returns:
        [grid, readout]
    """
    deviation = responses - responses.mean(axis=1, keepdims=True)
    return np.abs(_unit(fraction(dose, at)) @ deviation.T)
