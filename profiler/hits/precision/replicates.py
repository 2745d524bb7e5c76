"""Whether replicates correlate, and how many compounds' do: percent replicating."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float, Int64

from profiler.hits.precision.average import features_of
from profiler.hits.precision.matching import (
    Codes,
    Matching,
    Rows,
    Sides,
    in_fixed_order,
    read_matching,
    rows_by_value,
)
from profiler.hits.precision.retrieval import Unit, has_profile, unit_profiles
from profiler.hits.seeds import generator

DEFAULT = Matching(against="others")
NULL_SETS = 1000  # of wells that are no replicates
PERCENTILE = 95  # of these, above which replicates replicate
MOST_WELLS = 16  # of a compound that are compared; of more, so many at random
TRIES = 10  # draws for each set, of which those with one compound twice are thrown away
AT_ONCE = 4096  # profiles in memory together
NAN = float("nan")

Correlations: TypeAlias = Float[np.ndarray, " set"]


class _Found(NamedTuple):
    """One compound's replicates beside wells that are none."""

    n_wells: int
    correlation: float
    threshold: float
    p_value: float


FOUND = {"n_wells": pl.Int64, **dict.fromkeys(_Found._fields[1:], pl.Float64)}


def replicate_correlation(
    profiles: pl.DataFrame,
    *,
    matching: Matching = DEFAULT,
    features: Sequence[str] | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Compare each compound's replicates with as many wells of other compounds.

    The null is of wells on the same plates, one compound each, so that what plates have
    in common does not count as replication.

    Args:
        profiles: Wells with features that are 0 where there is no effect.
        matching: Which wells are replicates (`same`, `apart`), and between which wells the null
            may exchange them (`within`).
        features: Columns that make a profile; all of a phenotype if not given.
        seed: Alone decides which wells the null is of.

    Returns:
        One row per compound, by name: the columns of `matching.same`, `n_wells`,
        `correlation` (median Pearson correlation of pairs of replicates), `threshold` (95th
        percentile of 1,000 sets of non-replicates), `p_value` and `is_replicating`. Null with
        fewer than two wells with a profile, and p-value and threshold where the plates
        hold no other compounds. Of more than 16 replicates 16 are compared.

    Raises:
        UnknownName: The table lacks a column of the matching.

    Source:
        Percent replicating of Way et al. 2022, Cell Systems 13:911; correlations against numpy
        in tests/hits/precision/test_replicates.py.
    """
    profiles = in_fixed_order(profiles)
    sides = read_matching(profiles, replace(matching, against="others"))
    unit = unit_profiles(profiles, features_of(profiles, features))
    unit = unit - unit.sum(axis=1, keepdims=True) / max(unit.shape[1], 1)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    unit = np.divide(unit, length, out=np.full_like(unit, np.nan), where=length > 1e-12)
    rows = rows_by_value(sides.group)
    per = matching.columns_same(profiles)
    table = profiles.select(per)[[int(some[0]) for some in rows.values()]]
    names, places = profiles.select(per), profiles.select(matching.within)
    every = list(_every(unit, sides, names=names, places=places, seed=seed))
    found = pl.DataFrame(every, schema=FOUND, orient="row").fill_nan(None)
    is_replicating = pl.col("correlation") > pl.col("threshold")
    return table.hstack(found).with_columns(is_replicating=is_replicating).sort(per)


def percent_replicating(table: pl.DataFrame) -> float:
    """Give the percentage of compounds that replicate, of those that were tested.

    Args:
        table: From `replicate_correlation`.

    Returns:
        0 to 100; NaN if none was tested. Without any effect it is about 5.
    """
    share = table["is_replicating"].drop_nulls().mean()
    return 100 * float(share) if isinstance(share, float) else float("nan")


def fraction_retrieved(table: pl.DataFrame, *, q: float = 0.05) -> float:
    """Give the share of compounds whose mean average precision is significant.

    Args:
        table: From `profiler.hits.precision.activity` or `profiler.hits.precision.consistency`.
        q: Greatest q-value that counts.

    Returns:
        0 to 1, of those that were tested; NaN if none was.
    """
    share = (table["q_value"].drop_nulls() <= q).mean()
    return float(share) if isinstance(share, float) else float("nan")


def _every(
    unit: Unit, sides: Sides, *, names: pl.DataFrame, places: pl.DataFrame, seed: int
) -> Iterator[_Found]:
    """Every compound in the order of its group."""
    is_usable = has_profile(unit)
    pools = rows_by_value(np.where(is_usable & (sides.group >= 0), sides.pool, -1))
    nulls: dict[tuple, Correlations] = {}
    for rows in rows_by_value(sides.group).values():
        name = names.row(int(rows[0]))
        rows = rows[is_usable[rows]]
        some = rows
        if len(rows) > MOST_WELLS:
            some = np.sort(generator(seed, name).choice(rows, MOST_WELLS, replace=False))
        some = some[np.argsort(sides.pool[some], kind="stable")]
        pairs = np.argwhere(np.triu(sides.apart[some][:, None] != sides.apart[some][None], 1))
        if not len(pairs):
            yield _Found(len(rows), NAN, NAN, NAN)
            continue
        own = _correlations(unit, some[None], pairs)[0]
        kind = (*(places.row(i) for i in some.tolist()), pairs.tobytes())
        if kind not in nulls:
            random = generator(seed, kind)
            sets = _strangers([pools[i] for i in sides.pool[some].tolist()], sides.group, random)
            nulls[kind] = _correlations(unit, sets, pairs)
        yield _found(len(rows), own, nulls[kind])


def _found(n_wells: int, own: float, null: Correlations) -> _Found:
    if not len(null):
        return _Found(n_wells, own, NAN, NAN)
    p_value = (1 + int((null >= own).sum())) / (1 + len(null))
    return _Found(n_wells, own, float(np.percentile(null, PERCENTILE)), p_value)


def _strangers(
    pools: list[Rows], group: Codes, random: np.random.Generator
) -> Int64[np.ndarray, "set slot"]:
    """Sets of one well from each pool, no two of one compound; fewer where these are rare."""
    draws = [pool[random.integers(len(pool), size=TRIES * NULL_SETS)] for pool in pools]
    sets = np.stack(draws, axis=1)
    groups = np.sort(group[sets], axis=1)
    return sets[(np.diff(groups, axis=1) > 0).all(axis=1)][:NULL_SETS]


def _correlations(
    unit: Unit, sets: Int64[np.ndarray, "set slot"], pairs: Int64[np.ndarray, "pair 2"]
) -> Correlations:
    """Median correlation of the pairs of each set."""
    found, (first, second) = [], pairs.T
    for some in np.array_split(sets, max(1, sets.size // AT_ONCE)):
        profiles = unit[some]
        correlation = profiles @ profiles.swapaxes(1, 2)
        found.append(np.median(correlation[:, first, second], axis=1))
    return np.concatenate(found)
