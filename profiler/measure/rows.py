"""Each object's pixels by image row, on the CPU: what is summed along a row is summed fast."""

from typing import NamedTuple, no_type_check

import numpy as np

from profiler.measure import cpu


class Rows(NamedTuple):
    """The rows of pixels of all objects, object after object, from the top down.

    Attributes:
        y: Row of the image, [row].
        starts: Packed pixels `starts[i]` to `starts[i + 1]` are row i, ascending in x, perhaps
            with gaps, [row + 1].
        offsets: Rows `offsets[i]` to `offsets[i + 1]` are those of label i + 1, [cell + 1].
    """

    y: np.ndarray
    starts: np.ndarray
    offsets: np.ndarray


def rows(objects: cpu.Objects) -> Rows:
    """Find the rows of all objects."""
    return Rows(*_rows(objects.order, objects.offsets, objects.labels.shape[1]))


@no_type_check
@cpu.compiled()
def _rows(order, offsets, width):
    y = np.empty(len(order), np.int64)
    starts = np.empty(len(order) + 1, np.int64)
    rows = np.zeros(len(offsets), np.int64)
    found = 0
    for cell in range(len(offsets) - 1):
        end = 0  # first pixel of the next row: cheaper than a division for every pixel
        for i in range(offsets[cell], offsets[cell + 1]):
            if order[i] >= end:
                y[found], starts[found] = order[i] // width, i
                end = (y[found] + 1) * width
                found += 1
        rows[cell + 1] = found
    starts[found] = len(order)
    return y[:found].copy(), starts[: found + 1].copy(), rows
