"""The plates of a run as heat maps, coloured alike so that they can be compared."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from plates.well import smallest_format, well_position
from profiler.report.colour import BLUE_GREY_RED, ColourScale
from profiler.report.heatmap import WellMark, heat_map
from profiler.report.numbers import number
from profiler.report.run import Run
from profiler.report.svg import Markup
from profiler.report.tables import left_out
from profiler.report.wells import SIGNS, treatment

MAX_WELLS = 12_000  # drawn per page: 31 plates of 384, 7 of 1536; about 8 MB
LEAST_Z, MOST_Z = 3.0, 10.0  # a scale shorter than 3 shows noise, a longer one hides weak hits


class MapKind(NamedTuple):
    """What a heat map shows: a column of the well table, and where it comes from."""

    column: str
    title: str
    source: str


class PlateMap(NamedTuple):
    """One heat map, or the reason why there is none with the command that helps."""

    title: str
    svg: Markup | None
    absence: str = ""
    command: str = ""


class PlateCard(NamedTuple):
    """All heat maps of one plate."""

    plate: str
    maps: Sequence[PlateMap]


class MapSection(NamedTuple):
    """All plates."""

    plates: Sequence[PlateCard]
    remark: str


def map_section(run: Run, wells: pl.DataFrame) -> MapSection:
    """Draw the plates, by name, as many as `MAX_WELLS` allows and one at least."""
    kinds = _kinds(run)
    scales = {kind.column: _scale(wells, kind.column) for kind in kinds}
    groups = wells.partition_by("plate", maintain_order=True)
    sizes = [smallest_format(group["well"]).wells for group in groups]
    fitting = sum(sum(sizes[: i + 1]) <= MAX_WELLS for i in range(len(sizes)))
    shown = groups[: max(fitting, 1)]
    cards = [_card(run, group, kinds, scales) for group in shown]
    remark = left_out(len(groups), len(shown), what="plates", where="wells.parquet")
    return MapSection(cards, remark)


def _kinds(run: Run) -> list[MapKind]:
    return [
        MapKind("cells", "Cells per well", "wells"),
        MapKind("readout", run.readout or "Readout", "hits"),
        MapKind("z", "Readout, robust z-score", "hits"),
        MapKind("score", "Profile score", "hits"),
    ]


def _scale(wells: pl.DataFrame, column: str) -> ColourScale | None:
    """Colours from the 1st to the 99th percentile of all plates; z-scores around zero."""
    values = wells[column].drop_nulls()
    if not values.len():
        return None
    low, high = (float(values.quantile(q, "linear") or 0.0) for q in (0.01, 0.99))
    if column != "z":
        return ColourScale(low, high)
    end = min(max(abs(low), abs(high), LEAST_Z), MOST_Z)
    return ColourScale(-end, end, BLUE_GREY_RED)


def _card(
    run: Run,
    wells: pl.DataFrame,
    kinds: Sequence[MapKind],
    scales: dict[str, ColourScale | None],
) -> PlateCard:
    plate = wells["plate"][0]
    maps = [_map(run, wells, kind, scales[kind.column]) for kind in kinds]
    return PlateCard(plate, maps)


def _map(run: Run, wells: pl.DataFrame, kind: MapKind, scale: ColourScale | None) -> PlateMap:
    if scale is None:
        return PlateMap(kind.title, None, run.absence(kind.source), run.command(kind.source))
    shape = smallest_format(wells["well"])
    imaged = wells.filter(pl.col("status").ne_missing("not_imaged"))
    marks = [_mark(well, kind) for well in imaged.iter_rows(named=True)]
    label = f"{kind.title}, plate {wells['plate'][0]}"
    svg = heat_map(marks, rows=shape.rows, columns=shape.columns, scale=scale, label=label)
    return PlateMap(kind.title, svg)


def _mark(well: dict[str, Any], kind: MapKind) -> WellMark:
    row, column = well_position(well["well"])
    value = well[kind.column]
    status = well["status"]
    words = number(value) if value is not None or status in (None, "ok") else status
    note = ": ".join(part for part in (f"{well['well']} {treatment(well)}".strip(), words) if part)
    sign = SIGNS.get(well["role"] or "", "")
    return WellMark(row, column, value, note, sign, bool(well["is_hit"]) and not sign)
