"""The plates of a run as heat maps, coloured alike so that they can be compared."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from plates.well import smallest_format, well_position
from profiler.report.columns import Column
from profiler.report.draw.heatmap import WellMark, heat_map
from profiler.report.draw.svg import Markup
from profiler.report.montage import Montage
from profiler.report.numbers import number
from profiler.report.tables import left_out
from profiler.report.wells import SIGNS, treatment

MAX_WELLS = 12_000  # on the page: 31 plates of 384, 7 of 1536; about 8 MB without pictures
MAX_POINTS = 5_000  # wells of other plates that scatter plots show
FIRST_CHOICE = ("z", "readout", "score", "cells")
SECOND_CHOICE = ("cells", "score", "readout")


class PlateMap(NamedTuple):
    """One heat map; the script finds it by its slot."""

    title: str
    slot: str
    svg: Markup


class PlateCard(NamedTuple):
    """What is shown of one plate; its number names the sheet of pictures."""

    plate: str
    number: int
    maps: Sequence[PlateMap]
    montage: Montage | None


class Choice(NamedTuple):
    """One select: which map of every plate it governs, and what it offers."""

    slot: str
    label: str
    chosen: str
    options: Sequence[tuple[str, str]]


class MapSection(NamedTuple):
    """All plates."""

    plates: Sequence[PlateCard]
    choices: Sequence[Choice]
    remark: str


def on_page(wells: pl.DataFrame, *, plates: Sequence[str], points: Sequence[bool]) -> pl.DataFrame:
    """Number the wells that the page shows.

    Args:
        wells: From `well_table`.
        plates: Those drawn, from `drawn_plates`.
        points: Whether a scatter plot shows the well, one per well.

    Returns:
        The table with `index`: 0, 1, 2, ... for wells on the page, else null.
    """
    shown = pl.col("plate").is_in(list(plates)) | pl.Series(points, dtype=pl.Boolean)
    return wells.with_columns(index=pl.when(shown).then(shown.cum_sum() - 1).cast(pl.Int64))


def drawn_plates(wells: pl.DataFrame) -> list[str]:
    """The first plates by name, as many as `MAX_WELLS` allows and one at least."""
    groups = wells.partition_by("plate", maintain_order=True)
    sizes = [smallest_format(group["well"]).wells for group in groups]
    fitting = sum(sum(sizes[: i + 1]) <= MAX_WELLS for i in range(len(sizes)))
    return [group["plate"][0] for group in groups[: max(fitting, 1)]]


def map_section(
    wells: pl.DataFrame, columns: Sequence[Column], *, montages: Mapping[str, Montage]
) -> MapSection:
    """Draw the plates that are on the page.

    Args:
        wells: From `on_page`.
        columns: From `page_columns`, of the same wells.
        montages: Pictures of each plate's wells; plates may be absent.
    """
    by_key = {column.key: column for column in columns if column.scale is not None}
    slots = _slots(by_key)
    numbered = wells.with_row_index("row").filter(pl.col("plate").is_in(drawn_plates(wells)))
    groups = numbered.partition_by("plate", maintain_order=True)
    cards = [_card(i, group, slots, montages) for i, group in enumerate(groups)]
    options = [(column.key, column.label) for column in by_key.values()]
    labels = ("First map", "Second map")
    choices = [
        Choice(slot, label, column.key, options)
        for (slot, column), label in zip(slots.items(), labels, strict=False)
    ]
    remark = left_out(wells["plate"].n_unique(), len(groups), what="plates", where="wells.parquet")
    return MapSection([card for card in cards if card.maps], choices, remark)


def _slots(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The maps each plate gets, and what they show to begin with."""
    first = next((key for key in FIRST_CHOICE if key in columns), None)
    second = next((key for key in SECOND_CHOICE if key in columns and key != first), None)
    chosen = {"first": first, "second": second}
    return {slot: columns[key] for slot, key in chosen.items() if key}


def _card(
    i: int, wells: pl.DataFrame, slots: Mapping[str, Column], montages: Mapping[str, Montage]
) -> PlateCard:
    plate = wells["plate"][0]
    maps = [
        PlateMap(column.label, slot, _map(wells, column, slot)) for slot, column in slots.items()
    ]
    return PlateCard(plate, i, maps, montages.get(plate))


def _map(wells: pl.DataFrame, column: Column, slot: str) -> Markup:
    assert column.scale is not None  # `_slots` are of numbers
    shape = smallest_format(wells["well"])
    imaged = wells.filter(pl.col("status").ne_missing("not_imaged"))
    marks = [_mark(well, column) for well in imaged.iter_rows(named=True)]
    label = f"{column.label}, plate {wells['plate'][0]}"
    return heat_map(
        marks, rows=shape.rows, columns=shape.columns, scale=column.scale, label=label, slot=slot
    )


def _mark(well: dict[str, Any], column: Column) -> WellMark:
    row, place = well_position(well["well"])
    value = column.values[well["row"]]
    status = well["status"]
    words = number(value) if value is not None or status in (None, "ok") else status
    note = ": ".join(part for part in (f"{well['well']} {treatment(well)}".strip(), words) if part)
    sign = SIGNS.get(well["role"] or "", "")
    is_hit = bool(well["is_hit"]) and not sign
    return WellMark(row, place, value, note, sign, is_hit, well["index"])
