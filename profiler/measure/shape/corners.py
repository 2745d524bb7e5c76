"""The corners of each object's convex hull, on the CPU."""

from typing import NamedTuple, no_type_check

import numpy as np

from profiler.measure import cpu
from profiler.measure.rows import rows


class Corners(NamedTuple):
    """Pixels where the hull of the pixels' centres turns, object after object.

    Clockwise, from the topmost of the leftmost pixels; none lies between its neighbours.

    Attributes:
        y: Row of the image, [corner] float64.
        x: Column.
        pixel: Index of the packed pixel.
        offsets: Corners `offsets[i]` to `offsets[i + 1]` are those of label i + 1, [cell + 1].
    """

    y: np.ndarray
    x: np.ndarray
    pixel: np.ndarray
    offsets: np.ndarray


def corners(objects: cpu.Objects) -> Corners:
    """Find the corners of all objects, among the first and the last pixels of their rows."""
    lines = objects.once(rows)
    ends = np.stack([lines.starts[:-1], lines.starts[1:] - 1], axis=1).ravel()
    y = np.repeat(lines.y, 2)
    x = objects.order[ends] - y * objects.labels.shape[1]
    kept, offsets = _corners(y, x, 2 * lines.offsets)
    return Corners(y[kept].astype(float), x[kept].astype(float), ends[kept], offsets)


@no_type_check
@cpu.compiled()
def _corners(y, x, offsets):
    """Indices of the corners, and where each object's begin."""
    kept, bounds = np.empty(len(y), np.int64), np.zeros(len(offsets), np.int64)
    for cell in range(len(offsets) - 1):
        start, stop, first = offsets[cell], offsets[cell + 1], bounds[cell]
        size = 0
        if start < stop:
            own = kept[first:]
            size = _chain(y, x, np.arange(start + 1, stop, 2), own)
            size += _chain(y, x, np.arange(stop - 2, start - 1, -2), own[size:])
            size = _without_repeats(y, x, own[:size])
            _begin_leftmost(y, x, own[:size])
        bounds[cell + 1] = first + size
    return kept[: bounds[-1]].copy(), bounds


@no_type_check
@cpu.compiled()
def _chain(y, x, side, kept):
    """Keep those points of one side, going clockwise, where the way turns right."""
    count = 0
    for point in side:
        while count > 1:
            a, b = kept[count - 2], kept[count - 1]
            turn = (x[b] - x[a]) * (y[point] - y[b]) - (y[b] - y[a]) * (x[point] - x[b])
            if turn > 0:
                break
            count -= 1
        kept[count] = point
        count += 1
    return count


@no_type_check
@cpu.compiled()
def _without_repeats(y, x, kept):
    """Drop a corner that is both ends of its row; returns how many are left."""
    count = 1
    for i in range(1, len(kept)):
        if y[kept[i]] != y[kept[count - 1]] or x[kept[i]] != x[kept[count - 1]]:
            kept[count] = kept[i]
            count += 1
    last, first = kept[count - 1], kept[0]
    return count - (count > 1 and y[last] == y[first] and x[last] == x[first])


@no_type_check
@cpu.compiled()
def _begin_leftmost(y, x, kept):
    first = 0
    for i in range(1, len(kept)):
        a, b = kept[i], kept[first]
        if x[a] < x[b] or (x[a] == x[b] and y[a] < y[b]):
            first = i
    kept[:] = np.concatenate((kept[first:], kept[:first]))
