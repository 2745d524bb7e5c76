"""All that stands for a well's cells: plain summaries of its features, and a learned profile."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from profiler.profile.wells.aggregate import WELL, aggregate
from profiler.profile.wells.cell_scale import Scales
from profiler.profile.wells.sets import SetAggregator, aggregate_sets

WEIGHTS = ".safetensors"  # how the names of learned summaries end


class Learned(NamedTuple):
    """A learned aggregator, and the scales that it sees cells on."""

    aggregator: SetAggregator
    scales: Scales


def plain_summaries(how: str | Sequence[str]) -> str | tuple[str, ...]:
    """Of what a recipe lists, the plain ones; one beside a learned one stands without its name.

    >>> plain_summaries(["median", "mine.safetensors"]), plain_summaries(["median", "mad"])
    ('median', ('median', 'mad'))
    """
    named = [how] if isinstance(how, str) else list(how)
    plain = tuple(name for name in named if not name.endswith(WEIGHTS))
    is_alone = len(plain) == 1 and (isinstance(how, str) or len(named) > 1)
    return plain[0] if is_alone else plain


def learned_summaries(how: str | Sequence[str]) -> tuple[str, ...]:
    """Of what a recipe lists, the files of learned aggregators."""
    named = [how] if isinstance(how, str) else list(how)
    return tuple(name for name in named if name.endswith(WEIGHTS))


def summarise(
    parts: Iterable[pl.LazyFrame],
    *,
    by: Sequence[str] = WELL,
    how: str | Sequence[str] = "median",
    features: Sequence[str],
    learned: Learned | None = None,
) -> pl.DataFrame:
    """Make one row of every well.

    Args:
        parts: Tables of cells, each of whole wells: the memory needed is that of one of them.
        by: Columns whose values together name a well.
        how: As for `aggregate`, or none: then only the learned profile.
        features: Columns to summarise.
        learned: What makes the learned profile, if any.

    Returns:
        The table of `aggregate`, then the columns of `aggregate_sets`.
    """
    names = list(features) if how else []

    def one(part: pl.LazyFrame) -> pl.DataFrame:
        table = aggregate(part, by=by, how=how, features=names)
        if learned is None:
            return table
        aggregator, scales = learned
        sets = aggregate_sets(part, aggregator=aggregator, scales=scales, by=by)
        return table.join(sets, on=list(by), how="left", maintain_order="left")

    return pl.concat([one(part) for part in parts]).sort(list(by))
