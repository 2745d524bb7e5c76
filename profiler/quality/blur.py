"""How wide the edges of a field are, in pixels, from the detail that the device measures.

The ratio of detail between block means of two sizes depends on how far edges are blurred, and
hardly on what they bound: discs of 14 to 60 pixels and straight edges, drawn and blurred by a
Gaussian, give the table below within .1 (the fine ratio) and .25 (the coarse one;
tests/quality/test_blur.py). As a logarithm it flattens where edges are wide, so that two blurs look
alike; as a variance it does not: a blur adds its own to whatever a field had, on any microscope.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

PerField = Float[np.ndarray, " field"]

SD_PX = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
# `FineDetail` and `CoarseDetail` of a disc of 30 pixels whose edge has that sd.
FINE = (-0.858, -1.059, -1.289, -1.531, -1.724, -1.912, -2.175, -2.350, -2.465, -2.600)
FINE += (-2.672, -2.714, -2.750)
COARSE = (-0.826, -0.883, -0.954, -1.055, -1.204, -1.314, -1.567, -1.781, -1.961, -2.239)
COARSE += (-2.419, -2.535, -2.648)


def edge_variance(detail: PerField, table: Sequence[float]) -> PerField:
    """Square of the sd of edges, in pixels, NaN where detail is.

    Args:
        detail: `FineDetail`, which tells edges up to 3 pixels apart and above mostly sees noise, or
            `CoarseDetail`, which does so from 1 pixel up.
        table: `FINE` or `COARSE`. What is sharper than its sharpest edge has 0, what has less
            detail than its widest has 64.

    >>> edge_variance(np.array([-0.5, -1.531, -9.2, np.nan]), FINE)
    array([ 0.,  1., 64., nan])
    """
    sd = np.interp(-detail, -np.asarray(table), SD_PX)  # interp wants what rises
    return np.where(np.isnan(detail), np.nan, sd**2)
