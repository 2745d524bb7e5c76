"""The map of phenotypes (UMAP): one point per well, coloured by any column of the wells."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from profiler.report.columns import Column
from profiler.report.draw.palette import LOOKS, REST, Look
from profiler.report.draw.scatter import Point, scatter
from profiler.report.figure import Figure
from profiler.report.numbers import count, number
from profiler.report.run import Run, table_file
from profiler.report.sections.maps import MAX_POINTS
from profiler.report.wells import treatment

FIRST_CHOICE = ("Cluster", "role", "z", "score", "cells")


class Entry(NamedTuple):
    """One line of a legend."""

    look: Look
    text: str


class Legend(NamedTuple):
    """What the colours mean: kinds, or a scale from low to high."""

    entries: Sequence[Entry]
    anchors: Sequence[str] = ()
    low: str = ""
    high: str = ""


class Embedding(NamedTuple):
    """The map, what it is coloured by, and by what else it could be."""

    figure: Figure
    legend: Legend
    chosen: str
    options: Sequence[tuple[str, str]]


def is_mapped(run: Run, wells: pl.DataFrame) -> list[bool]:
    """Which wells the map shows: all that have a place, or evenly spaced ones of too many.

    Args:
        run: With or without map.parquet.
        wells: From `well_table`.
    """
    known = _places(run, wells)["UMAP_1"].is_not_null()
    step = max(1, -(-int(known.sum()) // MAX_POINTS))
    return (known & ((known.cum_sum() - 1) % step == 0)).to_list()


def embedding(run: Run, wells: pl.DataFrame, columns: Sequence[Column]) -> Embedding | None:
    """Draw the map.

    Args:
        run: Whose map.parquet is drawn.
        wells: From `on_page`.
        columns: From `page_columns`, of the same wells.

    Returns:
        None without a map, or where no well has a place on it.
    """
    shown = is_mapped(run, wells)
    by_key = {column.key: column for column in columns}
    chosen = next((by_key[key] for key in FIRST_CHOICE if key in by_key), None)
    if chosen is None or not any(shown):
        return None
    places = _places(run, wells).with_row_index("row").filter(shown)
    points = [_point(well, chosen) for well in places.iter_rows(named=True)]
    total = int(_places(run, wells)["UMAP_1"].is_not_null().sum())
    label = f"Map of phenotypes, {count(len(points), 'well')}, coloured by {chosen.label}"
    svg = scatter(points, x_label="UMAP 1", y_label="UMAP 2", label=label, is_bare=True)
    few = (
        f"{len(points):,} of {total:,} wells are drawn, evenly spaced."
        if len(points) < total
        else ""
    )
    caption = "Neighbours look alike; the directions and far distances mean nothing."
    figure = Figure("Map of phenotypes", svg, caption, [table_file("map")], few)
    options = [(column.key, column.label) for column in columns]
    return Embedding(figure, legend(chosen), chosen.key, options)


def legend(column: Column) -> Legend:
    """Say what the colours of a column mean; kinds past the last colour are one entry."""
    if column.scale is not None:
        low, high, anchors = column.scale
        return Legend([], anchors, number(low), number(high))
    entries = [Entry(*pair) for pair in zip(LOOKS, column.levels, strict=False)]
    rest = len(column.levels) - len(entries)
    none = any(value is None for value in column.values)
    words = [f"{rest:,} others"] * (rest > 0) + ["none"] * none
    return Legend([*entries, *([Entry(REST, " and ".join(words))] if words else [])])


def _places(run: Run, wells: pl.DataFrame) -> pl.DataFrame:
    """The wells with their place on the map, null for those that have none."""
    found = run.table("map")
    if found is None or not {"UMAP_1", "UMAP_2"} <= set(found.columns):
        return wells.with_columns(UMAP_1=pl.lit(None, pl.Float64), UMAP_2=pl.lit(None, pl.Float64))
    names = {"Metadata_Plate": "plate", "Metadata_Well": "well"}
    places = found.select(*names, pl.col("UMAP_1", "UMAP_2").fill_nan(None)).rename(names)
    unique = places.unique(["plate", "well"], keep="first")
    return wells.join(unique, on=["plate", "well"], how="left", maintain_order="left")


def _point(well: Mapping, column: Column) -> Point:
    note = f"{well['plate']} {well['well']} {treatment(well)}".strip()
    look = column.look(well["row"])
    return Point(well["UMAP_1"], well["UMAP_2"], note, look, well=well.get("index"))
