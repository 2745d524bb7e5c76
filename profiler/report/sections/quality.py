"""What went wrong: fields without results, wells with few cells, how the controls separate."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from profiler.profile.features import named_features
from profiler.report.numbers import Number, percent
from profiler.report.run import Run
from profiler.report.tables import Cell, Table, breakable, figure, left_out, pill
from profiler.report.wells import treatment

MAX_ROWS = 100
MAX_READOUTS = 5  # per plate, besides the run's own
FEW = 0.5  # of the cells of the plate's negative controls
STATISTICS = {
    "n_positive": "n +",
    "n_negative": "n −",
    "z_prime": "Z′",
    "robust_z_prime": "robust Z′",
    "ssmd": "SSMD",
    "robust_ssmd": "robust SSMD",
    "signal_window": "Window",
    "signal_to_background": "S / B",
    "cv_positive": "CV +",
    "cv_negative": "CV −",
}
CAPTION = (
    "How well each plate tells its controls apart: n wells of the positive (+) and negative (−) "
    "controls, signal window, signal to background, coefficients of variation."
)
BEFELL = "What befell the run. Finished wells were kept each time; what was not, is computed anew."


class Quality(NamedTuple):
    """Tables of the section; None where there is nothing to report."""

    failed: Table | None
    sparse: Table | None
    incidents: Table | None
    summary: str


def statistics_table(statistics: pl.DataFrame, *, readout: str | None) -> Table:
    """Lay out the plate statistics: the run's readout, then the plate's best others."""
    by_plate = statistics.sort("Metadata_Plate").partition_by("Metadata_Plate", maintain_order=True)
    chosen = pl.concat([_chosen(plate, readout) for plate in by_plate])
    columns = ("Plate", "Readout", *STATISTICS.values())
    rows = [_statistics_row(row, readout) for row in chosen.iter_rows(named=True)]
    remark = left_out(statistics.height, chosen.height, what="rows", where="statistics.parquet")
    return Table(CAPTION, columns, rows, remark)


def _chosen(plate: pl.DataFrame, readout: str | None) -> pl.DataFrame:
    own = pl.col("readout").eq_missing(pl.lit(readout, pl.String))
    seen = pl.col("readout").is_in(named_features(plate["readout"]))
    others = plate.filter(~own & seen).sort("z_prime", descending=True, nulls_last=True)
    return pl.concat([plate.filter(own), others.head(MAX_READOUTS)])


def _statistics_row(row: Mapping[str, Any], readout: str | None) -> Sequence[Cell]:
    name = breakable(row["readout"])
    own = row["readout"] == readout
    return (
        Cell(row["Metadata_Plate"]),
        Cell(name + " " + pill("used", kind="role") if own else name),
        *(_statistic(name, row.get(name)) for name in STATISTICS),
    )


def _statistic(name: str, value: Number | None) -> Cell:
    plain = figure(value)
    return plain._replace(text=percent(value)) if name.startswith("cv_") else plain


def quality(run: Run, wells: pl.DataFrame) -> Quality:
    """Gather what a biologist should look at before believing the hits."""
    fields = run.table("fields")
    failed = _failed(fields)
    summary = "" if fields is None else _summary(fields)
    befell = _incidents_table(run.table("incidents"))
    return Quality(_failed_table(failed), _sparse_table(wells), befell, summary)


def _failed(fields: pl.DataFrame | None) -> pl.DataFrame:
    if fields is None:
        return pl.DataFrame()
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    return fields.filter(pl.col("Metadata_QC_Status").ne_missing("ok")).sort(keys)


def _summary(fields: pl.DataFrame) -> str:
    counts = fields["Metadata_QC_Status"].fill_null("unknown").value_counts(sort=True)
    bad = [f"{n:,} {code.replace('_', ' ')}" for code, n in counts.iter_rows() if code != "ok"]
    good = fields.filter(Metadata_QC_Status="ok").height
    tail = f"; {', '.join(bad)}." if bad else "; none failed."
    return f"{good:,} of {fields.height:,} fields gave results{tail}"


def _failed_table(failed: pl.DataFrame) -> Table | None:
    if not failed.height:
        return None
    rows = [_failed_row(row) for row in failed.head(MAX_ROWS).iter_rows(named=True)]
    columns = ("Plate", "Well", "Site", "Status", "Reason")
    remark = left_out(failed.height, MAX_ROWS, what="fields", where="fields.parquet")
    return Table("Fields without results, and why.", columns, rows, remark)


def _failed_row(row: Mapping[str, Any]) -> Sequence[Cell]:
    status = (row["Metadata_QC_Status"] or "unknown").replace("_", " ")
    return (
        Cell(row["Metadata_Plate"]),
        Cell(row["Metadata_Well"]),
        figure(row["Metadata_Site"]),
        Cell(pill(status, kind="toxic")),
        Cell(row.get("Metadata_QC_Reason") or ""),
    )


def _incidents_table(incidents: pl.DataFrame | None) -> Table | None:
    if incidents is None:
        return None
    rows = [_incident_row(row) for row in incidents.tail(MAX_ROWS).iter_rows(named=True)]
    remark = left_out(incidents.height, MAX_ROWS, what="incidents", where="incidents.parquet")
    return Table(BEFELL, ("Time, UTC", "What", "Wells begun anew", "Reason"), rows, remark)


def _incident_row(row: Mapping[str, Any]) -> Sequence[Cell]:
    return (
        Cell(row["time"].removesuffix("+00:00").replace("T", " ")),
        Cell(pill(row["code"].replace("_", " "), kind="toxic")),
        figure(row["wells"]),
        Cell(row["message"]),
    )


def sparse_wells(wells: pl.DataFrame) -> pl.DataFrame:
    """Find imaged wells with less than half of the cells per field that their plate has.

    Args:
        wells: From `well_table`.

    Returns:
        Those wells, emptiest first, with `share`: of the median of the plate's negative
        controls, or of all its wells where it has none.
    """
    per_field = pl.col("cells") / pl.coalesce(pl.col("fields").replace(0, None), 1)
    control = per_field.filter(pl.col("role") == "negative").median().over("plate")
    expected = pl.coalesce(control, per_field.median().over("plate"))
    shares = wells.with_columns(share=pl.when(expected > 0).then(per_field / expected))
    return shares.filter(pl.col("share") < FEW).sort("share", maintain_order=True)


def _sparse_table(wells: pl.DataFrame) -> Table | None:
    few = sparse_wells(wells)
    if not few.height:
        return None
    rows = [_sparse_row(row) for row in few.head(MAX_ROWS).iter_rows(named=True)]
    caption = (
        "Wells with less than half of the cells per field that their plate's negative controls "
        "have, or all its wells where it has no such controls."
    )
    remark = left_out(few.height, MAX_ROWS, what="wells", where="wells.parquet")
    return Table(caption, ("Plate", "Well", "Contents", "Cells", "Of expected"), rows, remark)


def _sparse_row(row: Mapping[str, Any]) -> Sequence[Cell]:
    return (
        Cell(row["plate"]),
        Cell(row["well"]),
        Cell(treatment(row)),
        figure(row["cells"]),
        figure(row["share"])._replace(text=percent(row["share"])),
    )
