"""Thresholds that a plate sets itself: how far its good fields reach."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

MAD_TO_SD = 1.4826  # 1 / Φ⁻¹(3/4): scales the MAD to the sd of a normal


class Reach(NamedTuple):
    """How far good fields reach on a plate.

    Attributes:
        middle: Their median.
        low: Below it a field is out of range.
        high: Above it, too.
        fields: How many the numbers come from.
    """

    middle: float
    low: float
    high: float
    fields: int


def reach(values: Float[np.ndarray, " field"], *, false_alarms: float, least: float) -> Reach:
    """Learn how far the good fields of a plate reach, whatever the bad ones do.

    Args:
        values: One per field, NaN where it is unknown. Up to half of them may be bad.
        false_alarms: Share of good fields that may be out of range on either side, if they are
            normal: Student's t for as many fields sets the distance, so that few of them are
            judged leniently.
        least: Distance from the median that is never too far.

    Returns:
        NaN throughout where no value is known; never out of range where only one is.

    >>> reach(np.array([1.0, 2.0, 3.0, 4.0, 90.0]), false_alarms=0.01, least=0.5)
    Reach(middle=3.0, low=-2.5552..., high=8.5552..., fields=5)
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return Reach(np.nan, np.nan, np.nan, 0)
    middle = float(np.median(known))
    if known.size < 2:
        return Reach(middle, -np.inf, np.inf, 1)
    spread = MAD_TO_SD * float(np.median(np.abs(known - middle)))
    far = max(float(stats.t.isf(false_alarms, known.size - 1)) * spread, least)
    return Reach(middle, middle - far, middle + far, int(known.size))
