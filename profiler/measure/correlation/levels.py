"""A channel's pixels as places in the ascending list of its values, on the CPU."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np

from profiler.measure import cpu

STEPS = 65535  # images of 16 bits and fewer lie on this grid
DIGIT = 11  # bits that are sorted at a time: counters that fit in the fastest cache


@dataclass(frozen=True, eq=False)
class Levels:
    """One plane's flat image, `values[index]`. Hashed by identity: there is one per channel.

    Attributes:
        flat: The image, [pixel] float32.
        index: Into the values, [pixel] uint32.
        values: Ascending; some may not occur, [level] float32.
    """

    flat: np.ndarray
    index: np.ndarray
    values: np.ndarray

    @property
    def top(self) -> float:
        """The highest value."""
        return float(self.values[-1])


def levels(plane: np.ndarray) -> Levels:
    """Find each pixel's place among the values of its plane.

    Those of integer images, scaled, lie one by one in steps that are known beforehand; the values
    of other images are sorted.
    """
    flat = np.ascontiguousarray(plane, np.float32).reshape(-1)
    grid = (np.arange(STEPS + 1) / STEPS).astype(np.float32)
    index, values, is_one_by_one = _in_steps(flat, grid)
    if is_one_by_one:
        return Levels(flat, index, values[: index.max(initial=0) + 1])
    flat = flat + np.float32(0)  # of -0.0 it makes 0.0, in bits too
    return Levels(flat, *_sorted(flat))


@no_type_check
@cpu.compiled()
def _in_steps(flat, grid):
    """Round to the nearest step, as long as no step gets two values."""
    index, values, seen = np.empty(len(flat), np.uint32), grid.copy(), np.zeros(len(grid), np.bool_)
    for pixel, value in enumerate(flat):
        if not 0 <= value <= 1:
            return index, values, False
        step = int(value * (len(grid) - 1) + 0.5)
        if not seen[step]:
            seen[step], values[step] = True, value
        elif values[step] != value:
            return index, values, False
        index[pixel] = step
    return index, values, True


@no_type_check
@cpu.compiled()
def _sorted(flat):
    """Sort by digits of the bits, which order positive floats as integers; negative ones turned."""
    bits = flat.view(np.uint32)
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    order = np.arange(len(flat)).astype(np.int32)
    for shift in range(0, 32, DIGIT):
        free = np.zeros((1 << DIGIT) + 1, np.int64)
        for key in keys:
            free[((key >> shift) & ((1 << DIGIT) - 1)) + 1] += 1
        free = np.cumsum(free)
        moved, place = np.empty_like(keys), np.empty_like(order)
        for i, key in enumerate(keys):
            digit = (key >> shift) & ((1 << DIGIT) - 1)
            moved[free[digit]], place[free[digit]] = key, order[i]
            free[digit] += 1
        keys, order = moved, place
    index, values = np.empty(len(flat), np.uint32), np.empty(len(flat), np.float32)
    level = -1
    for i, pixel in enumerate(order):
        if i == 0 or keys[i] != keys[i - 1]:
            level += 1
            values[level] = flat[pixel]
        index[pixel] = level
    return index, values[: level + 1]
