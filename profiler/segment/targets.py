"""From label images to what a network should predict. Host side, NumPy."""

from typing import NamedTuple

import edt
import numpy as np
from scipy import ndimage


class Targets(NamedTuple):
    """Truth for `Prediction`, [height, width] each.

    Attributes:
        foreground: 1 inside nuclei, 0 outside, float32.
        distance: Distance to the own edge over its maximum in that nucleus, 0 to 1, float32.
    """

    foreground: np.ndarray
    distance: np.ndarray


def targets(labels: np.ndarray) -> Targets:
    """Make the targets of one label image.

    Args:
        labels: 0 for background, one id per nucleus, integers, [height, width].

    Returns:
        Foreground and normalised distance. Touching nuclei are apart: each distance
        is measured to the nucleus's own edge, the field's border not counting as one (a
        nucleus that fills the field has no edge at all: 1 throughout).

    Source:
        The distance targets of deep watershed methods (Bai & Urtasun 2017,
        arXiv:1611.08303), checked against scipy in tests/segment/test_targets.py.
    """
    distance = edt.edt(np.ascontiguousarray(labels, np.uint32), black_border=False)
    distance = np.minimum(distance, np.hypot(*labels.shape).astype(np.float32))
    largest = ndimage.maximum(distance, labels, np.arange(labels.max() + 1))
    largest = np.maximum(np.asarray(largest, np.float32), 1.0)
    foreground = labels > 0
    normalised = np.where(foreground, distance / largest[labels], 0.0)
    return Targets(foreground.astype(np.float32), normalised.astype(np.float32))
