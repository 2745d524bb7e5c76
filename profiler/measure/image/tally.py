"""A plane's values in ascending order, and how many pixels have each; on the CPU."""

from typing import NamedTuple, no_type_check

import numpy as np

from profiler.measure import cpu

STEPS = 65535  # scaled images of 16 bits and fewer have one value in each step, at most


class Tally(NamedTuple):
    """How often values occur.

    Attributes:
        values: Ascending, [value] float32; equal ones may follow each other.
        ends: Pixels that have this or an earlier value, [value] int.
    """

    values: np.ndarray
    ends: np.ndarray

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def at(self, rank: int | np.ndarray) -> np.ndarray:
        """What sorted pixels would hold there."""
        return self.values[np.searchsorted(self.ends, rank, side="right")]

    def up_to(self, value: float | np.floating) -> int:
        """Number of pixels with this or a smaller value."""
        at = np.searchsorted(self.values, value, side="right")
        return int(self.ends[at - 1]) if at else 0

    def without(self, part: "Tally") -> "Tally":
        """The tally of the other pixels."""
        return Tally(*_without(*self, *part))


def tally(plane: np.ndarray) -> Tally:
    """Count the values of a plane: those of integer images, scaled, need no sorting."""
    counts, values, is_in_steps = _in_steps(np.atleast_2d(plane))
    if not is_in_steps:
        return Tally(np.sort(plane, axis=None), np.arange(1, plane.size + 1))
    occurs = np.flatnonzero(counts)
    return Tally(values[occurs], np.cumsum(counts[occurs]))


@no_type_check
@cpu.compiled()
def _in_steps(plane):
    """Count by steps of equal width, as long as no step gets two values."""
    counts, values = np.zeros(STEPS + 1, np.int64), np.zeros(STEPS + 1, np.float32)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            value = plane[y, x]
            step = int(value * np.float32(STEPS) + np.float32(0.5)) if 0 <= value <= 1 else 0
            if counts[step] == 0:
                values[step] = value
            elif values[step] != value:
                return counts, values, False
            counts[step] += 1
    return counts, values, 0 <= values[0] <= 1


@no_type_check
@cpu.compiled()
def _without(values, ends, less, less_ends):
    left, left_ends = np.empty_like(values), np.empty_like(ends)
    size = total = 0
    at = taken = 0  # of those to leave out
    for i in range(len(values)):
        count = ends[i] - (ends[i - 1] if i > 0 else 0)
        while at < len(less) and less[at] <= values[i]:
            ready = min(count, less_ends[at] - taken)
            count -= ready
            taken += ready
            if taken < less_ends[at]:
                break
            at += 1
        if count > 0:
            total += count
            left[size], left_ends[size] = values[i], total
            size += 1
    return left[:size], left_ends[:size]
