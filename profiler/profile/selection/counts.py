"""How often a column's values occur: quickly where hardly any occurs twice, else by sorting."""

from functools import partial
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Int

from profiler.profile.groups import Values

compiled = partial(numba.njit, cache=True, nogil=True)

MIXER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing, Knuth 6.4


def value_counts(values: Values) -> Int[np.ndarray, " value"]:
    """Count each value that occurs, NaN left out; sorting is several times as fast as hashing."""
    ordered = np.sort(values[~np.isnan(values)])
    is_last = np.append(ordered[1:] != ordered[:-1], np.full(min(len(ordered), 1), fill_value=True))
    return np.diff(np.flatnonzero(is_last), prepend=-1)


def count_bounds(values: Values) -> tuple[int, int]:
    """Bound the counts from values thrown into buckets, in one pass.

    Args:
        values: NaN is left out.

    Returns:
        A number that the count of the most common value cannot exceed (the fullest
        bucket), and one that the number of different values cannot fall below (the
        buckets in use).
    """
    n_bits = max(len(values).bit_length(), 1)
    fullest, used = _throw(values + 0.0, n_bits)  # -0 becomes 0, its equal
    return int(fullest), int(used)


@compiled()
@no_type_check
def _throw(values, n_bits):
    loads = np.zeros(1 << n_bits, np.int32)
    bits = values.view(np.uint64)
    shift = np.uint64(64 - n_bits)
    for i in range(len(values)):
        if values[i] == values[i]:
            loads[(bits[i] * MIXER) >> shift] += 1
    return loads.max(), (loads > 0).sum()
