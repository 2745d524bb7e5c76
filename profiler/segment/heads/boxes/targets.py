"""From label images to boxes. Host side, NumPy."""

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from profiler.segment.heads.instances import chosen, consecutive

MOST = 256  # nuclei of a crop that have a box
LEARNT = 24  # of them, whose masks are learnt from in a step


class Targets(NamedTuple):
    """What losses need to know of a label image.

    Attributes:
        labels: Consecutive, [height, width] int32.
        boxes: Top, left, bottom and right edge of nucleus i + 1, pixels, [MOST, 4] float32.
        middles: Its centroid, [MOST, 2] float32.
        ids: Nuclei whose masks are learnt from, 0 for none, [LEARNT] int32.
    """

    labels: Any
    boxes: Any
    middles: Any
    ids: Any


def targets(labels: np.ndarray) -> Targets:
    """Make the targets of one label image; nuclei after the first `MOST` are ignored."""
    labels = consecutive(labels)
    count = min(int(labels.max()), MOST)
    boxes, middles = np.zeros((MOST, 4), np.float32), np.zeros((MOST, 2), np.float32)
    if count:
        found = ndimage.find_objects(labels)[:count]
        boxes[:count] = [(y.start, x.start, y.stop, x.stop) for y, x in found]
        boxes[:count] -= 0.5  # of pixels whose middles are whole numbers
        middles[:count] = ndimage.center_of_mass(labels > 0, labels, np.arange(1, count + 1))
    return Targets(labels, boxes, middles, chosen(count, most=LEARNT))
