"""One row per well with all that the report says about it, whichever tables there are."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from profiler.report.numbers import quantity
from profiler.report.run import Run

KEY = ["plate", "well"]
SOURCES = {  # our name -> its name in wells, hits or both, and its type
    "plate": ("Metadata_Plate", pl.String),
    "well": ("Metadata_Well", pl.String),
    "compound": ("Metadata_Compound", pl.String),
    "role": ("Metadata_Role", pl.String),
    "concentration": ("Metadata_Concentration", pl.Float64),
    "unit": ("Metadata_Unit", pl.String),
    "status": ("Metadata_QC_Status", pl.String),
    "fields": ("Metadata_QC_FieldsOk", pl.Float64),
    "cells": ("Metadata_Object_Count", pl.Float64),
    "z": ("readout_z", pl.Float64),
    "score": ("profile_score", pl.Float64),
    "is_hit": ("is_hit", pl.Boolean),
    "is_toxic": ("is_toxic", pl.Boolean),
    "rank": ("rank", pl.Float64),
}
# Wells without a role are taken to be treated: a run without a plate map has no other.
IS_TREATED = pl.col("role").is_in(["negative", "positive", "empty"]).not_().fill_null(value=True)
SIGNS = {"positive": "+", "negative": "−"}


def well_table(run: Run) -> pl.DataFrame:
    """Put together what wells, profiles, hits and fields say of every well.

    Returns:
        The columns of `SOURCES`, `readout` and `response` (the readout on the scale its curves
        were fitted on), null where no table has them; plates by name, wells row by row.
        Where both wells.parquet and hits.parquet have a column, the former is believed.
    """
    frames = [
        _renamed(run.table("wells"), readout=run.readout),
        _renamed(run.table("hits"), readout="readout_value"),
        _z_scores(run),
        _counted(run.table("fields")),
    ]
    table = frames[0]
    for frame in frames[1:]:
        joined = table.join(frame, on=KEY, how="full", coalesce=True, suffix="_next")
        both = [pl.coalesce(name, f"{name}_next").alias(name) for name in _values(table)]
        table = joined.select(*KEY, *both)
    unknown = pl.col("status").is_in(["failed", "not_imaged"]).fill_null(value=False)
    # The fields of a failed well add up to no cells, which is not a count.
    counted = table.with_columns(pl.when(~unknown).then("cells").alias("cells"))
    counted = counted.with_columns(pl.col(pl.Float64).fill_nan(None))
    response = pl.col("z" if is_on_robust_z(run) else "readout").alias("response")
    return counted.with_columns(response).sort("plate", pl.col("well").str.len_chars(), "well")


def is_on_robust_z(run: Run) -> bool:
    """Whether curves were fitted on robust z, as they are over several plates."""
    curves = run.table("curves")
    return curves is not None and "scale" in curves.columns and "robust_z" in curves["scale"]


def _values(table: pl.DataFrame) -> list[str]:
    return [name for name in table.columns if name not in KEY]


def _renamed(table: pl.DataFrame | None, *, readout: str | None) -> pl.DataFrame:
    """A table under our names, with null columns for those it lacks."""
    wanted = {**SOURCES, "readout": (readout, pl.Float64)}
    if table is None:
        return pl.DataFrame(schema={name: kind for name, (_, kind) in wanted.items()})
    return table.select(
        (pl.col(source) if source in table.columns else pl.lit(None)).cast(kind).alias(name)
        for name, (source, kind) in wanted.items()
    )


def _z_scores(run: Run) -> pl.DataFrame:
    profiles = run.table("profiles")
    if profiles is None or run.readout not in profiles.columns:
        return _renamed(None, readout=None)
    keys = ["Metadata_Plate", "Metadata_Well"]
    scores = profiles.select(*keys, pl.col(run.readout).alias("readout_z"))
    return _renamed(scores, readout=None)


def _counted(fields: pl.DataFrame | None) -> pl.DataFrame:
    if fields is None:
        return _renamed(None, readout=None)
    status = pl.col("Metadata_QC_Status")
    grouped = fields.group_by("Metadata_Plate", "Metadata_Well").agg(
        pl.sum("Metadata_Object_Count"),
        status.is_in(["ok", "no_cells"]).sum().alias("Metadata_QC_FieldsOk"),
        pl.when((status == "ok").any())
        .then(pl.lit("ok"))
        .when((status == "no_cells").any())
        .then(pl.lit("no_cells"))
        .otherwise(pl.lit("failed"))
        .alias("Metadata_QC_Status"),
    )
    return _renamed(grouped, readout=None)


def treatment(well: Mapping[str, Any]) -> str:
    """What is in a well: compound and dose, or else its role.

    >>> treatment({"compound": "taxol", "concentration": 1.5, "unit": "µM", "role": None})
    'taxol 1.5 µM'
    """
    dose = quantity(well["concentration"], well["unit"]) if well["concentration"] else ""
    return " ".join(part for part in (well["compound"] or well["role"], dose) if part)
