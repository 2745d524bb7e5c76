"""Costes' thresholds of a field on the CPU: intensities under which two channels part ways.

`costes.py` says what they are, `bisection.py` finds them on an accelerator.
"""

from typing import Any, Literal, no_type_check

import numpy as np

from profiler.measure import cpu
from profiler.measure.correlation.levels import STEPS, Levels

Method = Literal["faster", "fast", "accurate"]
Pair = tuple[np.ndarray, np.ndarray]
MOST_STEPS = 256  # bisecting 65535 candidates takes some 60


def thresholds_cpu(
    plane: np.ndarray, *, first: Levels, second: Levels, method: Method, scale_max: int
) -> tuple[np.float32, np.float32]:
    """Find the thresholds of two channels, on the CPU.

    One pass puts each pixel to the first candidate that it is under; the sums up to a candidate
    then give its correlation, so that any search is quick.

    Args:
        plane: Of the first channel.
        first: Its levels.
        second: Those of the second channel.
        method: How to search, as in `costes.Costes`.
        scale_max: Candidates of the first channel are 1 / scale_max apart.

    Returns:
        Each channel's threshold; NaN where either is constant.
    """
    del plane
    mean_a, mean_b, *spread = _moments((first.flat, second.flat), (first.top, second.top))
    slope = line_slope(*spread)
    if np.isnan(slope):
        return np.float32(np.nan), np.float32(np.nan)
    steps = np.arange(scale_max + 2) / scale_max
    line = mean_b + slope * (steps - mean_a)
    # In float32 as CellProfiler: a pixel of a candidate's intensity must fall on its side.
    lows = steps.astype(np.float32), line.astype(np.float32)
    sums = _sums_under(first, second, lows)
    if method == "faster":
        at = _bisected(sums, scale_max)
    else:
        at = _descended(sums, (first.top, second.top), lows, method == "fast")
    return lows[0][at], lows[1][at]


def line_slope(var_a: Any, var_b: Any, cov: Any) -> Any:
    """Slope of the line nearest to the pixels, measured across it: either channel may err."""
    xp = cov.__array_namespace__()
    more = var_b - var_a
    root = xp.hypot(more, 2 * cov)
    # Of two equal forms, the one that does not subtract the nearly equal.
    slope = xp.where(more > 0, (root + more) / (2 * cov), 2 * cov / (root - more))
    return xp.where(cov == 0, xp.nan, slope)


@no_type_check
@cpu.compiled(fastmath={"reassoc"})  # additions in any order: several at a time
def _moments(flat, tops):
    """Means, variances and covariance over the pixels that are not 0 in both channels."""
    first, second = flat
    count = a = b = aa = bb = ab = 0.0
    for i in range(len(first)):
        is_any = (first[i] > 0) | (second[i] > 0)
        da = first[i] - tops[0] if is_any else 0.0  # exactly 0 in a constant channel
        db = second[i] - tops[1] if is_any else 0.0
        count += 1.0 if is_any else 0.0
        a += da
        b += db
        aa += da * da
        bb += db * db
        ab += da * db
    count = max(count, 1.0)
    a, b = a / count, b / count
    return np.array(
        [tops[0] + a, tops[1] + b, aa / count - a * a, bb / count - b * b, ab / count - a * b]
    )


def _sums_under(first: Levels, second: Levels, lows: Pair) -> np.ndarray:
    """Sums over the pixels under either threshold of each candidate.

    Returns:
        Pixels, a, b, a a, b b and a b, [candidate, 6], a and b from their highest. It ends with
        the first candidate that all pixels are under.
    """
    index, tops = (first.index, second.index), (first.top, second.top)
    flat, values = (first.flat, second.flat), (first.values, second.values)
    enter, is_rising = _first_over(values[0], lows[0]), bool(lows[1][-1] >= lows[1][0])
    if not is_rising:
        leave = np.int32(len(lows[1])) - _first_over(values[1], lows[1][::-1])
        return _added_up(_by_step(flat, tops, index, (enter, leave), is_rising))
    steps = enter, _first_over(values[1], lows[1])
    if max(map(len, values)) > STEPS + 1:
        return _added_up(_by_step(flat, tops, index, steps, is_rising))
    return _added_up(_by_level(values, tops, index, steps))


@no_type_check
@cpu.compiled()
def _first_over(values, lows):
    """The first of ascending thresholds that is over each of ascending values."""
    found = np.empty(len(values), np.int32)
    step = 0
    for level, value in enumerate(values):
        while step < len(lows) and lows[step] <= value:
            step += 1
        found[level] = step
    return found


@no_type_check
@cpu.compiled()
def _added_up(sums):
    for step in range(1, len(sums)):
        for i in range(sums.shape[1]):
            sums[step, i] += sums[step - 1, i]
    return sums


@no_type_check
@cpu.compiled()
def _by_step(flat, tops, index, steps, is_rising):
    """What each candidate adds; where the second threshold falls, pixels leave by it."""
    sums = np.zeros((steps[0][-1] + 1, 6))
    for i in range(len(index[0])):
        a, b = flat[0][i] - tops[0], flat[1][i] - tops[1]
        own = 1.0, a, b, a * a, b * b, a * b
        enter, other = steps[0][index[0][i]], steps[1][index[1][i]]
        if is_rising:
            _add(sums[min(enter, other)], 1, own)
        else:
            _add(sums[0], 1, own)
            if other < enter:
                _add(sums[other], -1, own)
                _add(sums[enter], 1, own)
    return sums


@no_type_check
@cpu.compiled()
def _by_level(values, tops, index, steps):
    """The same in half the time, where the second threshold rises and levels are few.

    Of pixels that enter by their a, that level of a is known: only their b must be added up.
    """
    by_a, by_b = np.zeros((len(steps[0]), 3)), np.zeros((len(steps[1]), 3))
    for i in range(len(index[0])):
        at_a, at_b = index[0][i], index[1][i]
        if steps[0][at_a] <= steps[1][at_b]:
            other, row = values[1][at_b] - tops[1], by_a[at_a]
        else:
            other, row = values[0][at_a] - tops[0], by_b[at_b]
        row[0] += 1
        row[1] += other
        row[2] += other * other
    sums = np.zeros((steps[0][-1] + 1, 6))
    for level, (count, b, bb) in enumerate(by_a):
        a = values[0][level] - tops[0]
        _add(sums[steps[0][level]], 1, (count, a * count, b, a * a * count, bb, a * b))
    for level, (count, a, aa) in enumerate(by_b):
        b = values[1][level] - tops[1]
        if count:  # of other levels the step may be past the last
            _add(sums[steps[1][level]], 1, (count, a, b * count, aa, b * b * count, a * b))
    return sums


@no_type_check
@cpu.compiled()
def _add(row, sign, own):
    for i in range(len(row)):
        row[i] += sign * own[i]


@no_type_check
@cpu.compiled()
def _correlation(sums, step):
    """Pearson's coefficient under a candidate; NaN where a channel is constant there."""
    count, a, b, aa, bb, ab = sums[min(step, len(sums) - 1)]
    var_a, var_b = aa - a * a / count, bb - b * b / count
    if var_a <= 1e-14 * aa or var_b <= 1e-14 * bb:  # what rounding leaves of 0
        return np.nan
    return (ab - a * b / count) / np.sqrt(var_a * var_b)


@no_type_check
@cpu.compiled()
def _bisected(sums, scale_max):
    """Test a candidate high up in a window, narrow the window to its better side, and so on."""
    left, right, valid, last = 1, scale_max, 1, 0
    step = left + 5 * (right - left) // 6
    for _ in range(MOST_STEPS):
        if step == last:
            break
        is_few = sums[min(step, len(sums) - 1), 0] <= 2
        found = -1.0 if is_few else _correlation(sums, step)
        if found < 0:
            left = step - 1
        elif found >= 0:
            right, valid = step + 1, step
        width = right - left
        last, step = step, left + (5 * width // 6 if width > 6 else width // 2)
    return valid - 1


@no_type_check
@cpu.compiled()
def _descended(sums, tops, lows, is_fast):
    """Test candidates from the top until the correlation is no more."""
    step = min(np.searchsorted(lows[0], max(tops), side="right"), len(lows[0]) - 1)
    tested = step
    while step > 1 and lows[0][step] > tops[0] and lows[1][step] > tops[1]:
        step -= 1
    found, among = np.nan, -1.0
    while step > 1:
        tested, count = step, sums[min(step, len(sums) - 1), 0]
        if count < 2:
            break
        if count != among:  # CellProfiler takes as many pixels for the same pixels
            found, among = _correlation(sums, step), count
        if found <= 0:
            break
        stride = 1
        if is_fast and step >= 10:
            stride = 10 if found > 0.45 else 5 if found > 0.35 else 2 if found > 0.25 else 1
        step -= stride
    return tested
