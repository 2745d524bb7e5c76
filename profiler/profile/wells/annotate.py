"""Say what every well is: its plate map entry, its fields, its cells. No well is lost."""

from typing import NamedTuple

import polars as pl

from plates.errors import BadLayout

KEY = ["Metadata_Plate", "Metadata_Well"]
FIELD_IS_USED = pl.col("Metadata_QC_Status").is_in(["ok", "no_cells"])


class Coverage(NamedTuple):
    """Wells that lack something, as "plate/well", and plates that were not imaged."""

    not_imaged: tuple[str, ...]
    not_in_layout: tuple[str, ...]
    failed: tuple[str, ...]
    no_cells: tuple[str, ...]
    plates_not_imaged: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Tell it to a person: one line for each kind of gap there is."""
        meaning = {
            "not_imaged": "in the plate map but not imaged",
            "not_in_layout": "imaged but not in the plate map",
            "failed": "without any usable field",
            "no_cells": "without cells",
        }
        lines = [_sentence(getattr(self, name), words) for name, words in meaning.items()]
        if self.plates_not_imaged:
            names = ", ".join(self.plates_not_imaged)
            lines.append(f"Plates in the plate map that are not part of this run: {names}.")
        return [line for line in lines if line]


def annotate(
    wells: pl.DataFrame, *, fields: pl.DataFrame, layout: pl.DataFrame | None
) -> tuple[pl.DataFrame, Coverage]:
    """Join the aggregated wells with their fields and the plate map.

    Args:
        wells: From `aggregate`: one row per well that has cells.
        fields: One row per field, as in `fields.parquet`.
        layout: One row per well (and plate, if it names plates), or none.

    Returns:
        One row for every well that any of the three names, by plate, row and
        column: keys, plate map, `Metadata_QC_FieldsOk`, `Metadata_QC_FieldsFailed`,
        `Metadata_QC_Status` (ok, no_cells, failed: no field could be used,
        not_imaged: only in the plate map), `Metadata_Object_Count` (0 for an
        imaged well without cells, null for one failed or not imaged), features.
        Plates that only the plate map names are reported, and add no rows.

    Raises:
        BadLayout: The plate map names a well twice, names none of the plates, or
            has a column that the run computes.
    """
    seen = _field_counts(fields).join(wells, on=KEY, how="full", coalesce=True)
    entries, absent = _entries(layout, seen)
    joined = seen.join(entries, on=KEY, how="full", coalesce=True)
    status = _status().alias("Metadata_QC_Status")
    table = joined.with_columns(status).with_columns(_object_count())
    table = _in_reading_order(table, entries.columns)
    return table.drop("in_layout"), _coverage(table, has_layout=layout is not None, absent=absent)


def _field_counts(fields: pl.DataFrame) -> pl.DataFrame:
    used = FIELD_IS_USED.fill_null(value=False)
    return fields.group_by(KEY).agg(
        used.sum().cast(pl.Int32).alias("Metadata_QC_FieldsOk"),
        (~used).sum().cast(pl.Int32).alias("Metadata_QC_FieldsFailed"),
    )


def _status() -> pl.Expr:
    has_cells = pl.col("Metadata_Object_Count") > 0
    imaged = pl.col("Metadata_QC_FieldsOk").is_not_null()
    return (
        pl.when(has_cells)
        .then(pl.lit("ok"))
        .when(pl.col("Metadata_QC_FieldsOk") > 0)
        .then(pl.lit("no_cells"))
        .when(imaged)
        .then(pl.lit("failed"))
        .otherwise(pl.lit("not_imaged"))
    )


def _object_count() -> pl.Expr:
    empty = pl.col("Metadata_QC_Status") == "no_cells"
    count = pl.col("Metadata_Object_Count")
    return pl.when(empty).then(0).otherwise(count).cast(pl.Int64).alias("Metadata_Object_Count")


def _entries(layout: pl.DataFrame | None, seen: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The plate map with a plate in every row, and the plates only it names."""
    if layout is None:
        return seen.select(KEY).clear().with_columns(in_layout=pl.lit(value=True)), []
    _refuse_computed(layout, seen)
    plates = seen.select("Metadata_Plate").unique()
    if "Metadata_Plate" not in layout.columns:
        layout = layout.join(plates, how="cross")
    _refuse_twice(layout)
    entries = layout.join(plates, on="Metadata_Plate", how="semi")
    absent = layout.join(plates, on="Metadata_Plate", how="anti")["Metadata_Plate"]
    if entries.is_empty() and not plates.is_empty():
        raise BadLayout(
            f"The plate map names the plates {_some(absent.unique().sort().to_list())}, and none "
            f"of them was imaged; the run has {_some(plates.to_series().sort().to_list())}. Give "
            "the plates the same names, or leave the plate column out to use one map for all."
        )
    return entries.with_columns(in_layout=pl.lit(value=True)), sorted(set(absent))


def _refuse_computed(layout: pl.DataFrame, seen: pl.DataFrame) -> None:
    computed = {*seen.columns, "Metadata_QC_Status"} - set(KEY)
    clash = sorted(computed & set(layout.columns))
    if clash:
        raise BadLayout(
            f"The plate map has the columns {', '.join(clash)}, which the run computes itself. "
            "Rename them in the plate map."
        )


def _refuse_twice(layout: pl.DataFrame) -> None:
    twice = layout.filter(layout.select(KEY).is_duplicated()).select(_names()).to_series().unique()
    if len(twice):
        raise BadLayout(
            f"The plate map names {len(twice)} wells more than once: {_some(sorted(twice))}. Keep "
            "one row per well (and plate)."
        )


def _in_reading_order(table: pl.DataFrame, layout_columns: list[str]) -> pl.DataFrame:
    quality = [f"Metadata_QC_{name}" for name in ("Status", "FieldsOk", "FieldsFailed")]
    described = [name for name in layout_columns if name not in KEY]
    first = [*KEY, *described, *quality, "Metadata_Object_Count"]
    row_letters = pl.col("Metadata_Well").str.len_chars()  # "Z01" before "AA01"
    ordered = table.sort("Metadata_Plate", row_letters, "Metadata_Well")
    return ordered.select(*first, pl.exclude(first))


def _coverage(table: pl.DataFrame, *, has_layout: bool, absent: list[str]) -> Coverage:
    def of(rows: pl.Expr) -> tuple[str, ...]:
        return tuple(table.filter(rows).select(_names()).to_series())

    status = pl.col("Metadata_QC_Status")
    unknown = pl.col("in_layout").is_null() if has_layout else pl.lit(value=False)
    return Coverage(
        of(status == "not_imaged"),
        of(unknown),
        of(status == "failed"),
        of(status == "no_cells"),
        tuple(absent),
    )


def _names() -> pl.Expr:
    return pl.format("{}/{}", *KEY)


def _sentence(names: tuple[str, ...], words: str) -> str:
    return f"{len(names)} well{'s' * (len(names) != 1)} {words}: {_some(names)}." if names else ""


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
