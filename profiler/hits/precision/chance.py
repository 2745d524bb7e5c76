"""What average precision is by chance: it depends on nothing but how many matches and others.

When every order of the wells is equally likely, so is every choice of the matches' ranks. The
choices are gone through one by one where there are few, else drawn at random.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias, no_type_check

import numpy as np
from jaxtyping import Float, Int64

from profiler.hits.compiled import compiled

MOST_STEPS = 2**22  # of going through all choices: ranks written
DRAWS = 100_000
NOISE = 1e-12  # of a sum of fractions

Values: TypeAlias = Float[np.ndarray, " value"]


class Null(NamedTuple):
    """Average precision by chance.

    Attributes:
        values: Of every choice of ranks, or of those drawn; ascending.
        is_exact: Whether these are all choices.
    """

    values: Values
    is_exact: bool

    def p_value(self, precision: Values) -> Values:
        """Give the chance of so high a precision; exact, or counting the well as one draw more."""
        above = len(self.values) - np.searchsorted(self.values, precision - NOISE)
        if self.is_exact:
            return above / len(self.values)
        return (above + 1) / (len(self.values) + 1)


def expected_precision(n_matches: int, n_others: int) -> float:
    """Give the mean of average precision by chance.

    Args:
        n_matches: From 1.
        n_others: From 0.

    >>> expected_precision(1, 1)
    0.75
    """
    n = n_matches + n_others
    if n == 1:
        return 1.0
    harmonic = float(np.sum(1.0 / np.arange(1, n + 1)))
    return ((n_matches - 1) / (n - 1) * (n - harmonic) + harmonic) / n


@lru_cache(maxsize=256)
def null_precision(n_matches: int, n_others: int, *, seed: int = 0) -> Null:
    """Give the distribution of average precision by chance.

    Args:
        n_matches: From 1.
        n_others: From 1.
        seed: With the two counts it alone decides what is drawn.

    Returns:
        Every choice of ranks where they number at most `MOST_STEPS` over the matches,
        else `DRAWS` at random.
    """
    n_choices = math.comb(n_matches + n_others, n_matches)
    if n_choices * n_matches <= MOST_STEPS:
        return Null(np.sort(_all_choices(n_matches, n_others, n_choices)), True)
    random = np.random.default_rng([seed, n_matches, n_others])
    values = np.empty(DRAWS)
    step = max(1, MOST_STEPS // n_matches)
    for first in range(0, DRAWS, step):
        some = values[first : first + step]
        some[:] = _drawn(random.random((len(some), n_matches)), n_matches + n_others)
    return Null(np.sort(values), False)


@lru_cache(maxsize=256)
def null_of_mean(counts: tuple[tuple[int, int, int], ...], *, seed: int = 0) -> Null:
    """Give the distribution of a mean of precisions, wells with equal counts having equal luck.

    Args:
        counts: (matches, others, wells) of each distinct pair of counts, sorted.
        seed: With the counts it alone decides what is drawn.

    Returns:
        As `null_precision` if all wells have the same counts, else `DRAWS` at random.
    """
    if len(counts) == 1:
        return null_precision(*counts[0][:2], seed=seed)
    total = np.zeros(DRAWS)
    for n_matches, n_others, n_wells in counts:
        values = null_precision(n_matches, n_others, seed=seed).values
        random = np.random.default_rng([seed, n_matches, n_others, n_wells])
        total += n_wells * values[random.integers(len(values), size=DRAWS)]
    return Null(np.sort(total / sum(n_wells for *_, n_wells in counts)), False)


def p_values(
    precision: Values,
    n_matches: Int64[np.ndarray, " value"],
    n_others: Int64[np.ndarray, " value"],
    *,
    seed: int,
) -> Values:
    """Give the p-value of every average precision.

    Args:
        precision: NaN where there is none, which stays.
        n_matches: Behind each.
        n_others: Behind each.
        seed: As for `null_precision`.
    """
    p_value = np.full(len(precision), np.nan)
    for (matches, others), rows in _by_counts(n_matches, n_others):
        rows = rows[np.isfinite(precision[rows])]
        if len(rows):
            null = null_precision(matches, others, seed=seed)
            p_value[rows] = null.p_value(precision[rows])
    return p_value


def expected_precisions(
    n_matches: Int64[np.ndarray, " value"], n_others: Int64[np.ndarray, " value"]
) -> Values:
    """Give `expected_precision` of every pair of counts; NaN where one is 0."""
    mean = np.full(len(n_matches), np.nan)
    for (matches, others), rows in _by_counts(n_matches, n_others):
        if matches and others:
            mean[rows] = expected_precision(matches, others)
    return mean


def _by_counts(n_matches: np.ndarray, n_others: np.ndarray) -> Iterator[tuple[list, np.ndarray]]:
    """The distinct pairs of counts, and where they are."""
    counts = np.stack([n_matches, n_others], axis=1)
    distinct, which = np.unique(counts, axis=0, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    first = np.searchsorted(which.reshape(-1)[order], np.arange(len(distinct)))
    yield from zip(distinct.tolist(), np.split(order, first)[1:], strict=True)


@no_type_check
@compiled()
def _all_choices(n_matches, n_others, n_choices):
    total = n_matches + n_others
    ranks = np.arange(1, n_matches + 1)
    sums = np.zeros(n_matches + 1)  # of the precisions up to each match
    values = np.empty(n_choices)
    changed = 0
    for choice in range(n_choices):
        for i in range(changed, n_matches):
            sums[i + 1] = sums[i] + (i + 1) / ranks[i]
        values[choice] = sums[n_matches] / n_matches
        changed = n_matches - 1
        while changed >= 0 and ranks[changed] == total - n_matches + 1 + changed:
            changed -= 1
        if changed >= 0:
            ranks[changed] += 1
            for i in range(changed + 1, n_matches):
                ranks[i] = ranks[i - 1] + 1
    return values


@no_type_check
@compiled()
def _drawn(uniform, total):
    n_draws, n_matches = uniform.shape
    deck = np.arange(1, total + 1)  # need not be put back in order: any start will do
    ranks = np.empty(n_matches, np.int64)
    values = np.empty(n_draws)
    for draw in range(n_draws):
        for i in range(n_matches):
            j = i + int(uniform[draw, i] * (total - i))
            deck[i], deck[j] = deck[j], deck[i]
            ranks[i] = deck[i]
        ranks.sort()
        precision = 0.0
        for i in range(n_matches):
            precision += (i + 1) / ranks[i]
        values[draw] = precision / n_matches
    return values
