"""Cells too many to hold: normalise, select and aggregate from Parquet, some columns at a time."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadRecipe
from profiler.profile.features import feature_columns
from profiler.profile.options import require_options
from profiler.profile.scaling.normalise import normalise
from profiler.profile.selection.correlate import pearson
from profiler.profile.selection.judge import DROPPED
from profiler.profile.selection.redundancy import redundant
from profiler.profile.selection.select import find_selection, select
from profiler.profile.streaming.scratch import Scratch
from profiler.profile.wells.aggregate import WELL, aggregate

NUMBERS = 1 << 23  # taken at a time, 64 MiB; a handful of copies of them are held
JOINT = "correlation_threshold"  # the one selection that looks at several features at once

Steps = Mapping[str, Mapping[str, Any]]


class CellProfiles(NamedTuple):
    """Wells made of normalised cells.

    Attributes:
        wells: One row per well, as from `aggregate`.
        features: Those left by the selection.
        lost: What became null in cells, as in `Normalised.lost`, where `wells` counts cells.
        report: What was dropped, as in `Selection.report`.
    """

    wells: pl.DataFrame
    features: list[str]
    lost: pl.DataFrame
    report: pl.DataFrame


def profile_cells(
    cells: pl.LazyFrame,
    *,
    scaling: Mapping[str, Any],
    steps: Sequence[str] | Steps,
    by: Sequence[str] = WELL,
    how: str = "median",
    features: Sequence[str] | None = None,
) -> CellProfiles:
    """Normalise cells, select features by them, and summarise every well.

    The same as `normalise`, `select` and `aggregate` in turn on a table in memory, but
    holds only the columns that are no features, a handful of copies of `NUMBERS` numbers
    (64 MiB each), and for correlations a few squares of features per thread. Normalised
    cells wait in a temporary file, as large as the features are uncompressed.

    Args:
        cells: One row per cell, as from `pl.scan_parquet`.
        scaling: Arguments of `normalise`, but not "spherize".
        steps: As for `select`; correlations are Pearson's, over all cells.
        by: Columns whose values together name a well.
        how: A name in `aggregate.SUMMARIES`.
        features: Columns to work on; by default all features.

    Raises:
        BadRecipe: The normalisation or a selection needs all features of a cell at once.
        UnknownName: As the three functions.
    """
    settings = find_selection(steps=steps)
    if scaling.get("method") == "spherize":
        raise BadRecipe("spherize needs all features of a cell at once: spherize the wells.")
    require_options(redundant, settings.get(JOINT, {}), name=JOINT)
    names = list(settings)
    first = names.index(JOINT) if JOINT in settings else len(names)
    before, after = ({x: settings[x] for x in part} for part in (names[:first], names[first + 1 :]))

    schema = cells.collect_schema()
    left = feature_columns(cells) if features is None else list(features)
    keys = cells.select(pl.exclude(feature_columns(cells))).collect()
    is_float32 = all(schema[name] == pl.Float32 for name in left)
    lost = [normalise(keys, features=[], **scaling).lost]
    reports = [pl.DataFrame(schema={"step": pl.String, **DROPPED})]
    with Scratch(n_rows=keys.height, is_float32=is_float32) as scratch:
        for block in _blocks(left, n_rows=keys.height):
            table = keys.hstack(cells.select(block).collect())
            found = normalise(table, features=block, **scaling)
            chosen = select(found.table, features=block, steps=before)
            scratch.add(found.table.select(chosen.features))
            lost.append(found.lost)
            reports.append(chosen.report)
        left = [column.name for column in scratch.columns]
        if JOINT in settings and left:
            reports.append(_redundant(scratch, settings[JOINT]))
            left = _without(left, reports[-1])
        for block in _blocks(left, n_rows=keys.height) if after else ():
            table = keys.hstack(scratch.table(block))
            reports.append(select(table, features=block, steps=after).report)
        left = _without(left, pl.concat(reports))
        wells = _wells(keys, scratch, left, by=by, how=how)
    order = pl.col("step").replace_strict({x: i for i, x in enumerate(names)}, default=0)
    report = pl.concat(reports).sort(order, maintain_order=True)
    return CellProfiles(wells, left, pl.concat(lost).sort(lost[0].columns), report)


def _redundant(scratch: Scratch, options: Mapping[str, Any]) -> pl.DataFrame:
    names = [column.name for column in scratch.columns]
    found = pearson(
        partial(scratch.rows, names),
        n_rows=scratch.n_rows,
        centre=np.array([column.mean for column in scratch.columns]),
        has_gaps=np.array([column.has_gaps for column in scratch.columns], dtype=bool),
    )
    return redundant(found, names, **options).select(pl.lit(JOINT).alias("step"), *DROPPED)


def _wells(
    keys: pl.DataFrame, scratch: Scratch, features: Sequence[str], *, by: Sequence[str], how: str
) -> pl.DataFrame:
    wells = aggregate(keys, by=by, how=how, features=[])
    for block in _blocks(features, n_rows=keys.height):
        table = keys.select(by).hstack(scratch.table(block))
        wells = wells.hstack(aggregate(table, by=by, how=how, features=block).select(block))
    return wells


def _without(names: Sequence[str], report: pl.DataFrame) -> list[str]:
    gone = set(report["feature"])
    return [name for name in names if name not in gone]


def _blocks(names: Sequence[str], *, n_rows: int) -> Iterator[list[str]]:
    width = max(1, NUMBERS // max(n_rows, 1))
    for start in range(0, len(names), width):
        yield list(names[start : start + width])
