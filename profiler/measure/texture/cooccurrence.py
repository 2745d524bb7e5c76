"""How often grey levels meet at a distance, counted on the CPU; see `pairs.py`.

Each pair is counted once, in a table with a row for each difference of its levels and a column for
each lower level. Pixels near each other differ little: few rows are in use, and only those are
summed and cleared.
"""

from typing import no_type_check

import numpy as np

from profiler.measure import cpu
from profiler.measure.texture.pairs import LEVELS, Pairs

BLOCK = 1 << 13  # pixels whose places in the tables are found at a time: they stay in a fast cache
OUTSIDE = (1 << 16) - 1  # the table's last place, for pairs that leave the object
SPARSE = 10  # a table of so many times more places than pixels is read pair by pair
COUNTS = np.arange(float(1 << 15))
NLOGN = COUNTS * np.log2(np.maximum(COUNTS, 1))


def pairs_cpu(
    grey: np.ndarray, objects: cpu.Objects, *, scales: tuple[int, ...], skips_zeros: bool
) -> Pairs:
    """Count the pairs of every object, on the CPU.

    Args:
        grey: Level of each pixel, [height, width] uint8.
        objects: Whose pairs.
        scales: Distances in pixels.
        skips_zeros: Whether pixels of level 0 are as if outside their object.
    """
    runs, offsets = objects.once(runs_of)
    found = _describe_all(grey, runs, offsets, objects.boxes, np.array(scales), skips_zeros)
    return Pairs(*np.transpose(found, (3, 1, 2, 0)))


def runs_of(objects: cpu.Objects) -> tuple[np.ndarray, np.ndarray]:
    """Where pixels of an object follow each other in a row.

    Returns:
        First index into the flat image and the one after the last, [run, 2], object after
        object; the run with which each object begins, [cell + 1].
    """
    return _runs(objects.order, objects.offsets, objects.labels.shape[1])


@no_type_check
@cpu.compiled()
def _runs(order, offsets, width):
    runs = np.empty((len(order), 2), np.int64)
    begins = np.zeros(len(offsets), np.int64)
    found = 0
    for cell in range(len(offsets) - 1):
        i, stop = offsets[cell], offsets[cell + 1]
        while i < stop:
            start, first = i, order[i]
            end = min(stop, i + width - first % width)
            while i < end and order[i] - first == i - start:
                i += 1
            runs[found, 0], runs[found, 1] = first, first + i - start
            found += 1
        begins[cell + 1] = found
    return runs[:found].copy(), begins


@no_type_check
@cpu.compiled()
def _describe_all(grey, runs, begins, boxes, scales, skips_zeros):
    """The fields of `Pairs`, [cell, scale, direction, field]."""
    found = np.full((len(begins) - 1, len(scales), 4, 12), np.nan)
    tables = np.zeros((4, OUTSIDE + 1), np.uint32)
    sums = np.empty((4, LEVELS), np.uint32)
    for cell in range(len(found)):
        box = boxes[:, cell]
        fits = scales < min(box[2] - box[0], box[3] - box[1])  # or some direction has no pair
        if not fits.any():
            continue
        pad = scales[fits].max()
        own = runs[begins[cell] : begins[cell + 1]].copy()
        crop, lowest, highest = _crop(grey, own, box, pad, skips_zeros)
        width, span = box[3] - box[1] + pad, highest - lowest + 1
        area = (own[:, 1] - own[:, 0]).sum()
        for i in np.flatnonzero(fits):
            steps = _steps(scales[i], width)
            _count(crop, own, width, steps, span, tables)
            for way in range(4):
                number = area - tables[way, OUTSIDE]
                tables[way, OUTSIDE] = 0
                if number == 0:
                    continue
                if span * span > SPARSE * area:
                    joint = _fold_by_pair(crop, own, steps[way], span, tables[way], sums)
                else:
                    joint = _fold_by_row(number, span, tables[way], sums)
                _describe(joint, number, lowest, highest, sums, found[cell, i, way])
    return found


@no_type_check
@cpu.compiled()
def _crop(grey, runs, box, pad, skips_zeros):
    """An object's levels from 1 up, with 0 around it; its runs become those of the flat crop.

    To the right and below, the crop is wider than the object: no pair leaves it.
    """
    flat, image_width = grey.ravel(), grey.shape[1]
    step = np.uint8(skips_zeros)
    lowest, highest = np.uint8(255), np.uint8(0)
    for run in range(len(runs)):
        for level in flat[runs[run, 0] : runs[run, 1]]:
            lowest = min(lowest, np.uint8(level - step))  # a 0 to skip becomes 255
            highest = max(highest, level)
    floor, one = np.uint16(lowest) + np.uint16(step), np.uint16(1)
    width = box[3] - box[1] + pad
    crop = np.zeros((box[2] - box[0] + pad) * width + pad, np.uint16)
    for run in range(len(runs)):
        first, stop = runs[run, 0], runs[run, 1]
        start = (first // image_width - box[0]) * width + first % image_width - box[1]
        given, own = flat[first:stop], crop[start : start + stop - first]
        for i in range(len(own)):
            level = np.uint16(given[i])
            own[i] = np.uint16(level - floor + one) if level >= floor else np.uint16(0)
        runs[run, 0], runs[run, 1] = start, start + stop - first
    return crop, np.int64(floor), np.int64(highest)


@no_type_check
@cpu.compiled()
def _steps(scale, width):
    """From a pixel of the flat crop to its partner in each direction."""
    return scale, scale * (width + 1), scale * width, scale * (width - 1)


@no_type_check
@cpu.compiled()
def _count(crop, runs, width, steps, levels, tables):
    """Count the pairs of every pixel with its four partners."""
    rows = max(1, BLOCK // width)
    places = np.empty((4, rows * width), np.uint16)
    at_0, at_1, at_2, at_3 = places[0], places[1], places[2], places[3]
    in_0, in_1, in_2, in_3 = tables[0], tables[1], tables[2], tables[3]
    run = 0
    while run < len(runs):
        start = runs[run, 0] // width * width
        stop = min(start + rows * width, len(crop) - steps[1])
        for way in range(4):
            partners = crop[start + steps[way] : stop + steps[way]]
            _find_places(crop[start:stop], partners, levels, places[way])
        while run < len(runs) and runs[run, 0] < stop:
            # All directions at once: what one table adds need not wait for what it just stored.
            for i in range(runs[run, 0] - start, runs[run, 1] - start):
                in_0[at_0[i]] += np.uint32(1)
                in_1[at_1[i]] += np.uint32(1)
                in_2[at_2[i]] += np.uint32(1)
                in_3[at_3[i]] += np.uint32(1)
            run += 1


@no_type_check
@cpu.compiled()
def _find_places(crop, partners, levels, places):
    """Where each pair is counted: in 16 bits throughout, so that many are done at a time."""
    row_length, one = np.uint16(levels), np.uint16(1)
    for i in range(len(crop)):
        a, b = crop[i], partners[i]
        high, low = (a, b) if a > b else (b, a)
        row = np.uint16(np.uint16(high - low) * row_length)
        places[i] = np.uint16(row + np.uint16(low - one)) if low > 0 else np.uint16(OUTSIDE)


@no_type_check
@cpu.compiled()
def _describe(joint, number, lowest, highest, sums, found):
    """Reduce what a table was folded to to the fields of `Pairs`."""
    levels = highest - lowest + 1
    differences, unordered, squares = joint
    of_level, of_difference = sums[0, :levels], sums[3, :differences]
    mean = variance = contrast = homogeneity = difference_squares = 0.0
    for i in range(levels):
        mean += i * of_level[i]
    mean /= 2 * number
    for i in range(levels):
        variance += (i - mean) ** 2 * of_level[i]
    for i in range(differences):
        share = of_difference[i] / number
        contrast += i * i * share
        homogeneity += share / (1 + i * i)
        difference_squares += share * share
    whole = _nlogn(number)
    of_sum = _nlogn_sum(sums[1, :levels], number) + _nlogn_sum(sums[2, :levels], number)
    # A difference of equals where one place holds all: such entropies are 0 to the last digit.
    found[0] = number
    found[1] = lowest + mean
    found[2] = variance / (2 * number)
    found[3] = contrast
    found[4] = homogeneity
    found[5] = squares / (2.0 * number * number)
    found[6] = (whole - unordered + (number - of_difference[0])) / number
    found[7] = (_nlogn(2 * number) - _nlogn_sum(of_level, 2 * number)) / (2 * number)
    found[8] = (whole - of_sum) / number
    found[9] = (whole - _nlogn_sum(of_difference, number)) / number
    found[10] = 2 * found[7] - found[6]
    found[11] = difference_squares / (highest + 1) - 1 / (highest + 1) ** 2


@no_type_check
@cpu.compiled()
def _fold_by_row(number, levels, table, sums):
    """Sum a table by level, by sum (even, odd) and by difference, and clear it.

    Returns:
        Rows that were in use, sum of n log n, and sum of squares with pairs of equals twice.
    """
    sums[:] = 0
    low, even, odd, by_difference = sums[0], sums[1], sums[2], sums[3]
    difference, left, unordered, squares = 0, number, 0.0, np.int64(0)
    while left > 0:
        row = table[difference * levels : (difference + 1) * levels - difference]
        high = low[difference:]
        total = (odd if difference % 2 else even)[difference // 2 :]
        own, own_squares = np.uint32(0), np.int64(0)
        for i in range(len(row)):  # loops so short are done many at a time
            own = np.uint32(own + row[i])
            low[i] = np.uint32(low[i] + row[i])
        for i in range(len(row)):
            high[i] = np.uint32(high[i] + row[i])
        for i in range(len(row)):
            total[i] = np.uint32(total[i] + row[i])
        for i in range(len(row)):
            own_squares += np.int64(row[i]) * np.int64(row[i])
        unordered += _nlogn_sum(row, number)
        squares += own_squares if difference else 2 * own_squares
        row[:] = 0
        by_difference[difference] = own
        left -= own
        difference += 1
    return difference, unordered, squares


@no_type_check
@cpu.compiled()
def _fold_by_pair(crop, runs, step, levels, table, sums):
    """The same, by way of the pairs: each takes what it finds, the next of its kind finds 0."""
    sums[:] = 0
    by_level, by_sum, by_difference = sums[0], sums[1:3].ravel(), sums[3]
    unordered, squares = 0.0, np.int64(0)
    for run in range(len(runs)):
        first, stop = runs[run, 0], runs[run, 1]
        own, partners = crop[first:stop], crop[first + step : stop + step]
        for i in range(len(own)):
            a, b = np.int64(own[i]), np.int64(partners[i])
            if a == 0 or b == 0:
                continue
            low, difference = min(a, b) - 1, abs(a - b)
            place = difference * levels + low
            count = table[place]
            table[place] = 0
            by_level[a - 1] += count
            by_level[b - 1] += count
            by_sum[difference % 2 * LEVELS + difference // 2 + low] += count
            by_difference[difference] += count
            unordered += NLOGN[count]
            squares += np.int64(count) * np.int64(count) * (1 + (difference == 0))
    return levels, unordered, squares


@no_type_check
@cpu.compiled()
def _nlogn_sum(counts, most):
    """Sum of n log n over counts, none above `most`."""
    a = b = c = d = 0.0  # four sums, that none need wait for the one before
    quick = len(counts) // 4 * 4 if most < len(NLOGN) else 0
    for i in range(0, quick, 4):
        a += NLOGN[counts[i]]
        b += NLOGN[counts[i + 1]]
        c += NLOGN[counts[i + 2]]
        d += NLOGN[counts[i + 3]]
    for i in range(quick, len(counts)):
        a += _nlogn(counts[i])
    return (a + b) + (c + d)


@no_type_check
@cpu.compiled()
def _nlogn(count):
    return NLOGN[count] if count < len(NLOGN) else count * np.log2(count)
