"""What the place on the plate and the order of the plates do to the readout."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from profiler.report.draw.lines import Line, lines
from profiler.report.figure import Figure
from profiler.report.numbers import number
from profiler.report.run import Run, table_file
from profiler.report.tables import Cell, Table, figure, left_out
from profiler.report.wells import IS_TREATED

MAX_LINES = 40  # plates with a line of their own
MAX_ROWS = 60
ROLES = {
    "treated": IS_TREATED,
    "negative": pl.col("role") == "negative",
    "positive": pl.col("role") == "positive",
}
LONG = ("share", "p_value", "trend")
HEADS = (
    "Plate", "Rows, share", "p of rows", "Trend", "Columns, share", "p of columns", "Trend",
)  # fmt: skip
CAPTION = (
    "Share of the readout's variance (of ranks) that lies between rows and between columns, less "
    "what chance gives; trend is the Spearman correlation with the row's or column's number."
)


class DriftSection(NamedTuple):
    """Drawings, and the tests of every plate; empty and none without positions.parquet."""

    figures: Sequence[Figure]
    tests: Table | None


def drift_section(run: Run, wells: pl.DataFrame) -> DriftSection:
    """Draw the readout along rows, columns and plates.

    Args:
        run: Names the readout; its positions.parquet holds the levels.
        wells: From `well_table`.
    """
    levels = run.table("positions")
    plates = _plates(run, wells)
    if levels is None:
        return DriftSection([plates] if plates else [], None)
    names = levels["readout"].unique()
    readout = run.readout if run.readout in names else str(levels["readout"][0])
    own = levels.filter(readout=readout)
    figures = [_along(own, "row"), _along(own, "column"), plates]
    return DriftSection([f for f in figures if f], _tests(own))


def _along(levels: pl.DataFrame, axis: str) -> Figure | None:
    own = levels.filter(pl.col("axis") == axis, pl.col("effect").is_finite())
    if not own.height:
        return None
    order = pl.col("position").str.len_chars()
    names = own.select("position").unique().sort(order, "position")["position"].to_list()
    plates = own["Metadata_Plate"].unique().sort().to_list()
    shown = plates[:MAX_LINES] if len(plates) > 1 else []
    each = [
        Line(plate, _values(own.filter(Metadata_Plate=plate), names), "each") for plate in shown
    ]
    middle = own.group_by("position").agg(pl.col("effect").median())
    every = Line("Median of the plates", _values(middle, names), "all")
    readout = own["readout"][0]
    svg = lines(
        [*each, every],
        names=names,
        x_label=axis.title(),
        y_label="Off the plate's median, robust sd",
        label=f"{readout} by {axis}, {len(plates)} plates",
    )
    words = " Each plate is a grey line, their median the dark one." if shown else ""
    smallest = number(own["p_value"].min())  # type: ignore[arg-type]
    caption = f"{readout}: median of every {axis} against its plate. Smallest p {smallest}.{words}"
    file = table_file("positions")
    remark = left_out(len(plates), max(len(each), 1), what="plates", where=file)
    return Figure(f"By {axis}", svg, caption, [file], remark if each else "")


def _values(levels: pl.DataFrame, names: Sequence[str]) -> list[float | None]:
    found = dict(levels.select("position", "effect").iter_rows())
    return [found.get(name) for name in names]


def _plates(run: Run, wells: pl.DataFrame) -> Figure | None:
    """The readout in its own unit: robust z would hide what differs between plates."""
    plates = wells["plate"].unique().sort().to_list()
    known = wells.filter(pl.col("readout").is_finite())
    if len(plates) < 2 or not known.height:
        return None
    drawn = [_role_line(known.filter(who), role, plates) for role, who in ROLES.items()]
    svg = lines(
        [line for line in drawn if any(value is not None for value in line.values)],
        names=plates,
        x_label="Plate, in the order of names",
        y_label=run.readout or "Readout",
        label=f"{run.readout} of every plate's controls and treated wells",
    )
    caption = (
        "Medians of negative controls (blue), positive controls (orange) and treated wells (grey) "
        "in the readout's own unit; bars hold the middle 80 % of the wells."
    )
    return Figure("By plate, in order", svg, caption, [table_file("wells")])


def _role_line(wells: pl.DataFrame, role: str, plates: Sequence[str]) -> Line:
    parts = wells.group_by("plate").agg(
        pl.col("readout").quantile(q, "linear").alias(name)
        for name, q in (("low", 0.1), ("middle", 0.5), ("high", 0.9))
    )
    found = {row["plate"]: row for row in parts.iter_rows(named=True)}
    ends = {
        name: [found[p][name] if p in found else None for p in plates]
        for name in ("low", "middle", "high")
    }
    return Line(role, ends["middle"], role, ends["low"], ends["high"])


def _tests(levels: pl.DataFrame) -> Table:
    per_axis = levels.group_by("Metadata_Plate", "axis").agg(pl.col(LONG).first())
    wide = per_axis.filter(pl.col("axis") != "run").sort("Metadata_Plate", "axis")
    plates = wide["Metadata_Plate"].unique().sort().to_list()
    found = {(row[0], row[1]): row[2:] for row in wide.iter_rows()}
    empty = (None,) * len(LONG)
    rows = [
        (
            Cell(plate),
            *(figure(v) for v in found.get((plate, "row"), empty)),
            *(figure(v) for v in found.get((plate, "column"), empty)),
        )
        for plate in plates[:MAX_ROWS]
    ]
    remark = left_out(len(plates), len(rows), what="plates", where=table_file("positions"))
    return Table(CAPTION, HEADS, rows, remark)
