"""Whether a compound's wells are more alike than others that could have been in their place.

If a compound does nothing, its well on a plate is as good as any other that it is ranked against
there. So each is exchanged for one of these, whole sets of replicates at a time, and the mean
average precision taken anew: its rank among these is the p-value. Nothing is assumed of how
features hang together, which wells resemble one another, or how replicates' precisions go
together: all sets share it. Where there are few sets all of them are gone through.

Source: permutation test within strata; stopping early as Besag & Clifford 1991, Biometrika
78:301, which keeps the p-value valid. Measured in tests/hits/precision/test_exchange.py.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise, product
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int16, Int64

from profiler.hits.compiled import compiled
from profiler.hits.precision.matching import Codes, Rows
from profiler.hits.precision.retrieval import Unit, likeness, up_to
from profiler.profile.groups import each

FEW_SETS = 10_000  # all are gone through
MOST_SETS = 100_000  # are tried: the smallest p-value is about its inverse
ENOUGH = 50  # sets at least as good as the compound's own, after which no more are tried
FIRST_SETS = 250
NOISE = 1e-12  # of a mean of fractions
UNKNOWN = -1
MOST_SLOTS = 16  # replicates tested; of more, so many at random
MOST_WELLS = 512  # in one test; of more, as many at random from every pool
MOST_TOGETHER = 2048  # wells compared at once, of several tests

Slots = Int64[np.ndarray, " slot"]


class Test(NamedTuple):
    """The wells of one test, pool after pool, and where the compound's own are.

    Attributes:
        wells: Rows of the table.
        offsets: Wells `offsets[i]` to `offsets[i + 1]` are those of pool i.
        pool: Of each slot, ascending. A slot is a place for one of the compound's wells.
        own: Which of the wells is in each slot.
        is_match: Whether the wells in two slots are to be alike.
        random: Draws sets of wells where there are more than `FEW_SETS`.
    """

    wells: Rows
    offsets: Int64[np.ndarray, " bound"]
    pool: Slots
    own: Slots
    is_match: Bool[np.ndarray, "slot slot"]
    random: np.random.Generator


class Verdict(NamedTuple):
    """What the test found.

    Attributes:
        p_value: Share of sets at least as good as the compound's own, itself included; NaN
            if the compound has no average precision.
        n_sets: How many sets were tried.
        is_exact: Whether these were all there are.
    """

    p_value: float
    n_sets: int
    is_exact: bool


UNTESTED = Verdict(float("nan"), 0, True)


def lay_out(
    own: list[Rows], others: list[Rows], *, apart: Codes, random: np.random.Generator
) -> Test:
    """Choose the wells of a test.

    Args:
        own: The compound's wells in each pool.
        others: Those that they may be exchanged for, in the same pools.
        apart: Of every row of the table; two wells of the compound that share it are no match.
        random: For this compound alone; chooses where there are more wells than a test takes.
    """
    n_own = sum(map(len, own))
    if n_own > MOST_SLOTS:
        kept, n_own = random.choice(np.concatenate(own), MOST_SLOTS, replace=False), MOST_SLOTS
        own = [rows[np.isin(rows, kept)] for rows in own]
        others = [some for some, rows in zip(others, own, strict=True) if len(rows)]
        own = [rows for rows in own if len(rows)]
    room = (MOST_WELLS - n_own) // len(own)
    others = [
        random.choice(some, room, replace=False) if len(some) > room else some for some in others
    ]
    pools = [np.concatenate(pair) for pair in zip(own, others, strict=True)]
    offsets = np.cumsum([0, *map(len, pools)])
    pool = np.repeat(np.arange(len(own)), [len(rows) for rows in own])
    at = np.concatenate([np.arange(len(rows)) for rows in own]) + offsets[pool]
    wells = np.concatenate(pools)
    alone = apart[wells[at]]
    return Test(wells, offsets, pool, at, alone[:, None] != alone[None], random)


def exchange_tests(unit: Unit, tests: Iterable[Test]) -> Iterator[Verdict]:
    """Compare compounds' mean average precision with that of other sets of wells.

    Args:
        unit: Profiles of length one, a row for each of the table.
        tests: What to compare; those of the same plates together are faster.

    Yields:
        A verdict for each test, in their order.
    """
    for some in _alike(tests):
        rows = np.unique(np.concatenate([test.wells for test in some]))
        similarity = likeness(unit[rows], unit[rows])

        def verdict(test: Test, rows: Rows = rows, similarity: np.ndarray = similarity) -> Verdict:
            at = np.searchsorted(rows, test.wells)
            return _verdict(_places(test, similarity[np.ix_(at, at)]))

        yield from each(some, verdict)


def _alike(tests: Iterable[Test]) -> Iterator[list[Test]]:
    """Tests that share so many wells that comparing all of these at once is less work."""
    some, apart, rows = [], 0, set()
    for test in tests:
        more = rows | set(test.wells.tolist())
        alone = len(test.wells) ** 2
        if some and (len(more) > MOST_TOGETHER or len(more) ** 2 > 1.5 * (apart + alone)):
            yield some
            some, apart, more = [], 0, set(test.wells.tolist())
        some.append(test)
        apart, rows = apart + alone, more
    if some:
        yield some


class _Places(NamedTuple):
    """A test, and how alike its wells are.

    Attributes:
        test: The test.
        similarity: Likeness of every two wells.
        ranked: Likeness to the others of the well's pool, ascending from column 1 on.
        ahead: How many of well i's pool are at least as like it as well j; filled as needed.
    """

    test: Test
    similarity: Float[np.ndarray, "well well"]
    ranked: Float[np.ndarray, "well rank"]
    ahead: Int16[np.ndarray, "well well"]


def _places(test: Test, similarity: Float[np.ndarray, "well well"]) -> _Places:
    widest = int(np.diff(test.offsets).max())
    ranked = np.full((len(similarity), widest), np.inf)
    for first, last in pairwise(test.offsets.tolist()):
        block = similarity[first:last, first:last].copy()
        np.fill_diagonal(block, -np.inf)
        ranked[first:last, : last - first] = np.sort(block, axis=1)
    return _Places(test, similarity, ranked, np.full(similarity.shape, UNKNOWN, dtype=np.int16))


def _verdict(places: _Places) -> Verdict:
    test = places.test
    own = _means(places, test.own[None])[0]
    if not np.isfinite(own):
        return UNTESTED
    sizes = np.diff(test.offsets).tolist()
    slots = np.bincount(test.pool, minlength=len(sizes)).tolist()
    n_sets = math.prod(math.comb(size, n) for size, n in zip(sizes, slots, strict=True))
    all_match = (test.is_match | np.eye(len(test.own), dtype=bool)).all()
    if all_match and n_sets <= FEW_SETS:  # then the order of a pool's wells does not matter
        means = _means(places, _every_set(test.offsets, slots))
        return Verdict(float((means >= own - NOISE).mean()), n_sets, True)
    return _sampled(places, own)


def _sampled(places: _Places, own: float) -> Verdict:
    test = places.test
    better = tried = 0
    size = FIRST_SETS
    while tried < MOST_SETS:
        sets = _draw(test.random.random((size, len(test.pool))), test.pool, test.offsets)
        as_good = np.flatnonzero(_means(places, sets) >= own - NOISE)
        if better + len(as_good) >= ENOUGH:
            tried += int(as_good[ENOUGH - better - 1]) + 1
            return Verdict(ENOUGH / tried, tried, False)
        better, tried = better + len(as_good), tried + size
        size = min(2 * size, MOST_SETS - tried)
    return Verdict((better + 1) / (tried + 1), tried, False)


def _every_set(offsets: np.ndarray, slots: list[int]) -> Int64[np.ndarray, "set slot"]:
    """Every choice of wells for the slots."""
    pools = [range(*ends) for ends in pairwise(offsets.tolist())]
    choices = product(*(combinations(pool, n) for pool, n in zip(pools, slots, strict=True)))
    return np.array([[well for part in choice for well in part] for choice in choices])


def _means(places: _Places, sets: Int64[np.ndarray, "set slot"]) -> Float[np.ndarray, " set"]:
    """Mean average precision of every set; NaN if no slot has both a match and others."""
    test, similarity, ranked, ahead = places
    sizes = np.diff(test.offsets)
    has_other = sizes > np.bincount(test.pool, minlength=len(sizes))
    counts = has_other[test.pool] & test.is_match.any(axis=1)
    is_near = (test.pool[:, None] == test.pool[None]) & ~np.eye(len(test.pool), dtype=bool)
    slots = (sizes[test.pool], counts, test.is_match.astype(np.int64), is_near.astype(np.int64))
    return _mean_precisions((similarity, ranked, ahead), slots, sets)


@no_type_check
@compiled()
def _mean_precisions(places, slots, sets):
    similarity, ranked, ahead = places
    sizes, counts, is_match, is_near = slots
    n_sets, n_slots = sets.shape
    means = np.empty(n_sets)
    row = np.empty(n_slots)
    order = np.empty(n_slots, np.int64)  # of the slots, the most alike first
    for s in range(n_sets):
        total = 0.0
        for i in range(n_slots):
            if not counts[i]:
                continue
            well = sets[s, i]
            for j in range(n_slots):
                row[j] = similarity[well, sets[s, j]]
                at = j
                while at > 0 and row[order[at - 1]] < row[j]:
                    order[at] = order[at - 1]
                    at -= 1
                order[at] = j
            precision = 0.0
            matches, near, first = 0, 0, 0
            while first < n_slots:
                value, last = row[order[first]], first
                while last < n_slots and row[order[last]] == value:  # slots that tie
                    matches += is_match[i, order[last]]
                    near += is_near[i, order[last]]
                    last += 1
                for j in order[first:last]:
                    if not is_match[i, j]:
                        continue
                    others = ahead[well, sets[s, j]]
                    if others == UNKNOWN:
                        # Likeness is a whole number: at most half below is less than.
                        others = sizes[i] - up_to(ranked[well, : sizes[i]], value - 0.5)
                        ahead[well, sets[s, j]] = others
                    precision += matches / (matches + others - near)
                first = last
            total += precision / is_match[i].sum()
        means[s] = total / counts.sum() if counts.any() else np.nan
    return means


@no_type_check
@compiled()
def _draw(uniform, pool, offsets):
    """Wells for the slots, none twice."""
    n_sets, n_slots = uniform.shape
    sets = np.empty((n_sets, n_slots), np.int64)
    taken = np.empty(n_slots, np.int64)  # in this pool, ascending
    for s in range(n_sets):
        n_taken = 0
        for i in range(n_slots):
            if i and pool[i] != pool[i - 1]:
                n_taken = 0
            start = offsets[pool[i]]
            n_left = offsets[pool[i] + 1] - start - n_taken
            well = start + int(uniform[s, i] * n_left)
            at = 0
            while at < n_taken and taken[at] <= well:
                well += 1
                at += 1
            for j in range(n_taken, at, -1):
                taken[j] = taken[j - 1]
            taken[at] = well
            n_taken += 1
            sets[s, i] = well
    return sets
