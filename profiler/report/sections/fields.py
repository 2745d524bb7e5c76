"""Which fields are not believed: a map of every plate with some, and the fields with reasons."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from plates.well import smallest_format, well_position
from profiler.report.draw.colour import ColourScale
from profiler.report.draw.heatmap import WellMark, heat_map
from profiler.report.figure import Figure
from profiler.report.run import Run, table_file
from profiler.report.tables import Cell, Table, figure, left_out, pill

MAX_ROWS = 100
MAX_PLATES = 6  # with a map; the others are counted
KEYS = ("Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_Timepoint")
VERDICT, REASON, COUNT = "Metadata_QC_Verdict", "Metadata_QC_Reason", "Metadata_Object_Count"
WORST = ("empty", "saturation", "focus", "staining", "bubble", "debris")


class FieldSection(NamedTuple):
    """Plate maps and a table of flagged fields; nothing where all are believed."""

    figures: Sequence[Figure]
    flagged: Table | None
    summary: str
    remark: str


def field_section(run: Run) -> FieldSection:
    """Show what the verdicts say of the fields."""
    quality = run.table("quality")
    if quality is None:
        return FieldSection([], None, "", "")
    bad = quality.filter(~pl.col(VERDICT).is_in(["ok", "failed"]))
    if not bad.height:
        return FieldSection([], None, f"None of {quality.height:,} fields is flagged.", "")
    plates = bad["Metadata_Plate"].unique().sort().to_list()
    shown = plates[:MAX_PLATES]
    figures = [_map(quality.filter(Metadata_Plate=plate), plate) for plate in shown]
    remark = left_out(len(plates), len(shown), what="plates", where=table_file("quality"))
    return FieldSection(figures, _table(bad), _summary(quality, bad, run), remark)


def _summary(quality: pl.DataFrame, bad: pl.DataFrame, run: Run) -> str:
    counts = bad[VERDICT].value_counts().sort("count", VERDICT, descending=[True, False])
    listed = ", ".join(f"{n:,} {name}" for name, n in counts.iter_rows())
    settings = run.facts.get("settings", {}).get("profile", {})
    fate = "do not count" if settings.get("exclude_bad_fields", True) else "count all the same"
    cells = int(bad[COUNT].sum())
    return (
        f"{bad.height:,} of {quality.height:,} fields are flagged: {listed}. Their {cells:,} cells "
        f"{fate}."
    )


def _map(fields: pl.DataFrame, plate: str) -> Figure:
    wells = fields.group_by("Metadata_Well", maintain_order=True).agg(VERDICT)
    shape = smallest_format(wells["Metadata_Well"])
    svg = heat_map(
        [_mark(well, verdicts) for well, verdicts in wells.iter_rows()],
        rows=shape.rows,
        columns=shape.columns,
        scale=ColourScale(0.0, 1.0),
        label=f"Share of fields believed, plate {plate}",
    )
    caption = "Share of each well's fields that are believed; point at a well for the verdicts."
    return Figure(f"Fields of {plate}", svg, caption, [table_file("quality")])


def _mark(well: str, verdicts: list[str]) -> WellMark:
    row, column = well_position(well)
    others = [name for name in (*WORST, "failed") if name in verdicts]
    found = ", ".join(f"{verdicts.count(name)} {name}" for name in others)
    note = f"{well}: {found or 'all believed'} of {len(verdicts)}"
    return WellMark(row, column, verdicts.count("ok") / len(verdicts), note)


def _table(bad: pl.DataFrame) -> Table:
    rank = pl.col(VERDICT).replace_strict({name: i for i, name in enumerate(WORST)}, default=9)
    worst = bad.sort(rank, *KEYS)
    rows = [_row(row) for row in worst.head(MAX_ROWS).iter_rows(named=True)]
    caption = "Fields that are not believed, with the number that says so and its threshold."
    columns = ("Plate", "Well", "Site", "Time", "Verdict", "Cells", "Reason")
    remark = left_out(bad.height, MAX_ROWS, what="fields", where=table_file("quality"))
    return Table(caption, columns, rows, remark)


def _row(row: Mapping[str, Any]) -> Sequence[Cell]:
    return (
        Cell(row["Metadata_Plate"]),
        Cell(row["Metadata_Well"]),
        figure(row["Metadata_Site"]),
        figure(row["Metadata_Timepoint"]),
        Cell(pill(row[VERDICT], kind="toxic")),
        figure(row[COUNT]),
        Cell(row[REASON] or ""),
    )
