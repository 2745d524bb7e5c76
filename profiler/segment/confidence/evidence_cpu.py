"""The sums of `evidence.add_up` on a CPU: one look at every pixel of a nucleus."""

from typing import no_type_check

import numba
import numpy as np

from profiler.segment.confidence.belief import MOST
from profiler.segment.confidence.evidence import SIDES, Sums

_SIDES = np.array(SIDES)


def add_up_cpu(labels: np.ndarray, foreground: np.ndarray, depth: np.ndarray, *, most: int) -> Sums:
    """Sum over each nucleus; as `evidence.add_up`, and equal to it."""
    return Sums(*np.ascontiguousarray(_add_up(labels, foreground, depth, most).T))


@numba.njit(cache=True, nogil=True)
@no_type_check
def _add_up(labels, foreground, depth, most):
    height, width = labels.shape
    out = np.zeros((most, 6), np.uint32)
    for y in range(height):
        for x in range(width):
            own = labels[y, x]
            if own == 0:
                continue
            row, deep = out[own - 1], np.uint32(depth[y, x])
            row[0] += 1
            row[1] += foreground[y, x]
            row[2] += deep
            row[3] += deep * deep // MOST
            for side in range(4):
                v, u = y + _SIDES[side, 0], x + _SIDES[side, 1]
                if v < 0 or u < 0 or v >= height or u >= width:
                    row[4] += 1
                elif labels[v, u] != own:
                    row[4] += 1
                    if labels[v, u] > 0:
                        row[5] += deep
    return out
