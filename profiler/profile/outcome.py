"""What a step that rescales or corrects hands back, and how it tells what it could not use."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from profiler.profile.groups import Group


class Normalised(NamedTuple):
    """A table on a new scale, and what has no value there.

    Attributes:
        table: The table; its other columns pass through.
        features: The columns that hold the result.
        lost: One row per group, feature and reason, with the number of `wells` (rows)
            that lose their value; sorted. The columns are those of `within`, then
            feature, reason, wells. Reasons: those in `REASONS`.
    """

    table: pl.DataFrame
    features: list[str]
    lost: pl.DataFrame


REASONS = {  # why a value is lost
    "no_reference": "the reference has no value",
    "no_spread": "the reference does not vary",
    "one_reference": "only one well of the reference is there, and less itself it would be 0",
    "infinite": "infinite values become null",
    "incomplete": "the row lacks this feature, so that a joint step makes all of its features null",
}


class Corrected(NamedTuple):
    """A table without an influence, and how large that was.

    Attributes:
        table: As in `Normalised`.
        features: As in `Normalised`.
        lost: As in `Normalised`.
        effects: The influence as estimated, one row per group, feature and part of it.
    """

    table: pl.DataFrame
    features: list[str]
    lost: pl.DataFrame
    effects: pl.DataFrame


class Lost(NamedTuple):
    """One line of `Normalised.lost`, before the names of groups are put to it."""

    group: int
    feature: str
    reason: str
    wells: int


def lost_table(
    lost: Iterable[Lost], groups: Sequence[Group], *, table: pl.DataFrame, within: Sequence[str]
) -> pl.DataFrame:
    """Name what was lost, as in `Normalised.lost`."""
    kinds = {"group": pl.Int64, "feature": pl.String, "reason": pl.String, "wells": pl.Int64}
    lines = pl.DataFrame([line for line in lost if line.wells], schema=kinds, orient="row")
    named = name_groups(lines, groups, table=table, within=within)
    return named.sort(named.columns)


def name_groups(
    lines: pl.DataFrame, groups: Sequence[Group], *, table: pl.DataFrame, within: Sequence[str]
) -> pl.DataFrame:
    """Put the values of the columns that name a group in place of its number, `group`."""
    number = lines["group"]
    keys = [
        pl.Series(name, [group.key[i] for group in groups], dtype=table.schema[name]).gather(number)
        for i, name in enumerate(within)
    ]
    rest = lines.drop("group")
    return pl.DataFrame([*keys, *rest.get_columns()])


def whole_table(table: pl.DataFrame, within: Sequence[str]) -> Group:
    """Make a group of all rows, for what is lost in every group at once; its key is null."""
    return Group(tuple(None for _ in within), slice(0, table.height))


def infinite_values(
    table: pl.DataFrame, features: Sequence[str], groups: Sequence[Group]
) -> list[Lost]:
    """Count the infinite values of every group and feature."""
    is_infinite = table.select(
        pl.col(list(features)).cast(pl.Float64).is_infinite().fill_null(value=False)
    )
    found = is_infinite.select(pl.col(name) for name in features if is_infinite[name].any())
    return [
        Lost(i, column.name, "infinite", int(column.to_numpy()[group.rows].sum()))
        for column in found
        for i, group in enumerate(groups)
    ]
