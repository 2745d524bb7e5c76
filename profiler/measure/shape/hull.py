"""The convex hull of each object: how solid it is, and its width in all directions."""

from typing import Any, NamedTuple, no_type_check

import numpy as np

from profiler.measure import cpu
from profiler.measure.family import FeatureFamily, Over


class Hull(NamedTuple):
    """Features of an object's convex hull.

    Source: CellProfiler 4.2.8, MeasureObjectSizeShape.

    Attributes:
        ConvexArea: Pixels of the hull around the middles of the object's pixels' edges.
        Solidity: Area over ConvexArea.
        MinFeretDiameter: Smallest distance between two parallel lines around the centres of the
            object's pixels; 0 for a single pixel or a straight line.
        MaxFeretDiameter: Largest such distance; 0 for a single pixel.
    """

    ConvexArea: Any
    Solidity: Any
    MinFeretDiameter: Any
    MaxFeretDiameter: Any


def hull_cpu(objects: cpu.Objects) -> Hull:
    """Measure the convex hull of every object, on the CPU."""
    return Hull(*_measure(objects.labels.shape[1], objects.order, objects.offsets, objects.boxes))


@no_type_check
@cpu.compiled()
def _measure(width, order, offsets, boxes):
    found = np.full((4, len(offsets) - 1), np.nan)
    for cell in range(found.shape[1]):
        area = offsets[cell + 1] - offsets[cell]
        if area == 0:
            continue
        top, rows = boxes[0, cell], boxes[2, cell] - boxes[0, cell]
        left = np.full(rows, MISSING)
        right = np.full(rows, MISSING)  # mirrored, so that both sides are hulls from below
        for pixel in order[offsets[cell] : offsets[cell + 1]]:
            row, column = pixel // width - top, pixel % width
            left[row] = min(left[row], column)
            right[row] = min(right[row], -column)
        found[0, cell] = _filled(left, right)
        found[1, cell] = area / found[0, cell]
        found[2, cell], found[3, cell] = _feret(left, right)
    return found


MISSING = 2**40


@no_type_check
@cpu.compiled()
def _chain(sides):
    """Rows of the lower convex hull of (row, side), by Andrew's monotone chain."""
    kept = np.empty(len(sides), np.int64)
    count = 0
    for row in range(len(sides)):
        if sides[row] == MISSING:
            continue
        while count > 1:
            a, b = kept[count - 2], kept[count - 1]
            if (sides[b] - sides[a]) * (row - a) < (sides[row] - sides[a]) * (b - a):
                break
            count -= 1
        kept[count] = row
        count += 1
    return kept[:count]


@no_type_check
@cpu.compiled()
def _filled(left, right):
    """Pixels whose centre lies in the hull of the middles of the pixels' edges.

    In half pixels all is integer, and a centre on the border is told exactly.
    """
    pixels = 0
    low, high = _borders(left), _borders(right)
    for row in range(len(left)):
        pixels += -high[row] - low[row] + 1
    return pixels


@no_type_check
@cpu.compiled()
def _borders(sides):
    """First pixel of each row in the hull."""
    halves = np.full(2 * len(sides) + 1, MISSING)
    for row in range(len(sides)):
        if sides[row] != MISSING:
            halves[2 * row] = min(halves[2 * row], 2 * sides[row])
            halves[2 * row + 1] = 2 * sides[row] - 1
            halves[2 * row + 2] = 2 * sides[row]
    chain = _chain(halves)
    first = np.empty(len(sides), np.int64)
    at = 0
    for row in range(len(sides)):
        while chain[at + 1] < 2 * row + 1:
            at += 1
        a, b = chain[at], chain[at + 1]
        rise = halves[a] * (b - a) + (halves[b] - halves[a]) * (2 * row + 1 - a)
        first[row] = -(-rise // (2 * (b - a)))
    return first


@no_type_check
@cpu.compiled()
def _feret(left, right):
    """Smallest and largest width of the hull of the pixels' centres."""
    down, up = _chain(left), _chain(right)[::-1]
    count = len(down) + len(up)
    y = np.concatenate((down, up))
    x = np.concatenate((left[down], -right[up]))
    widest, narrowest = 0.0, np.inf
    for a in range(count):
        b = (a + 1) % count
        dy, dx = y[b] - y[a], x[b] - x[a]
        if dy == 0 and dx == 0:
            continue
        away = 0.0
        for c in range(count):
            widest = max(widest, float((y[c] - y[a]) ** 2 + (x[c] - x[a]) ** 2))
            away = max(away, abs(float(dy * (x[c] - x[a]) - dx * (y[c] - y[a]))))
        narrowest = min(narrowest, away / np.hypot(dy, dx))
    return (0.0 if np.isinf(narrowest) else narrowest), np.sqrt(widest)


HULL = FeatureFamily(
    "AreaShape",
    Over.OBJECTS,
    Hull._fields,
    cpu=hull_cpu,
    jax=None,
    about=Hull.__doc__ or "",
)
