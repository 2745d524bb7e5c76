"""The sums of `joints.add_up` on a CPU: one look at every pixel of a nucleus."""

from typing import no_type_check

import numba
import numpy as np

from profiler.segment.joining.joints import Pixels, Sums, room_for

FEWEST_ROWS = 64


def add_up_cpu(pixels: Pixels, *, most: int) -> Sums:
    """Find the nuclei that touch and sum over their sides; as `joints.add_up`, and equal to it.

    But for rows that are no joints: there are a power of two in all, so that few programs serve.
    """
    labels, grey, (foreground, depth) = pixels
    room = room_for(labels.size)
    of_label = np.zeros((most + 1, 4), np.int32)
    table = np.zeros((room, 12), np.int32)
    count = _add_up(labels, grey, foreground, depth, of_label, table)
    order = np.lexsort((table[:count, 1], table[:count, 0]))
    table[:count] = table[order]
    table = table[: max(FEWEST_ROWS, 1 << (count - 1).bit_length())]
    low, high, sides, *deep, sure, bright, top, bottom, left, right = table.T
    box = np.stack([bottom - top + 1, right - left + 1], axis=1)
    nuclei = np.stack([of_label[low], of_label[high]], axis=1)
    return Sums(low, high, sides, np.stack(deep, axis=1), sure, bright, box, nuclei)


@numba.njit(cache=True, nogil=True)
@no_type_check
def _add_up(labels, grey, foreground, depth, of_label, table):
    height, width = labels.shape
    rows = numba.typed.Dict.empty(numba.types.int64, numba.types.int64)
    room, looked_at = len(table), 0
    for y in range(height):
        for x in range(width):
            own = labels[y, x]
            if own == 0:
                continue
            nucleus = of_label[own]
            nucleus[0] += 1
            nucleus[1] += grey[y, x]
            nucleus[2] += y
            nucleus[3] += x
            for v, u in ((y + 1, x), (y, x + 1)):
                if v == height or u == width or labels[v, u] == 0 or labels[v, u] == own:
                    continue
                if looked_at == room:
                    continue
                looked_at += 1
                low, high = min(own, labels[v, u]), max(own, labels[v, u])
                key = np.int64(low) * len(of_label) + high
                deep = _around(depth, y, x) + _around(depth, v, u)
                bright = _around(grey, y, x) + _around(grey, v, u)
                sure = np.int32(foreground[y, x]) + np.int32(foreground[v, u])
                if key not in rows:
                    fresh = len(rows)
                    rows[key] = fresh
                    new = table[fresh]
                    new[0], new[1] = low, high
                    new[3], new[5], new[6], new[7] = deep, deep, sure, bright
                    new[8], new[9], new[10], new[11] = y, v, x, u
                row = table[rows[key]]
                row[2] += 1
                row[3], row[4], row[5] = max(row[3], deep), row[4] + deep, min(row[5], deep)
                row[6], row[7] = min(row[6], sure), min(row[7], bright)
                row[8], row[9] = min(row[8], y), max(row[9], v)
                row[10], row[11] = min(row[10], x), max(row[11], u)
    return len(rows)


@numba.njit(cache=True, nogil=True)
@no_type_check
def _around(plane, y, x):
    total = np.int32(0)
    for v in range(max(y - 1, 0), min(y + 2, plane.shape[0])):
        for u in range(max(x - 1, 0), min(x + 2, plane.shape[1])):
            total += plane[v, u]
    return total
