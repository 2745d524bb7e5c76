"""What a run says of itself in sentences and numbers: for the terminal, `run.json` and the page."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from profiler.hits import Hits

MOST_NAMES = 12


def count_fields(fields: pl.DataFrame) -> dict[str, Any]:
    """Count fields by what became of them."""
    status = fields["Metadata_QC_Status"]
    empty, good = int((status == "no_cells").sum()), int((status == "ok").sum())
    codes = fields.filter(~status.is_in(["ok", "no_cells"]))["Metadata_QC_Status"].value_counts()
    done = fields.filter(status == "ok")
    return {
        "wells": fields.select("Metadata_Plate", "Metadata_Well").n_unique(),
        "fields": fields.height,
        "fields_ok": good,
        "fields_empty": empty,
        "fields_failed": dict(sorted(codes.iter_rows())),
        "cells": int(fields["Metadata_Object_Count"].sum()),
        "seconds_per_field": done["Metadata_Seconds"].median(),
        "measure_seconds_per_field": done["Metadata_Seconds_Measure"].median(),
    }


def all_failed(fields: pl.DataFrame, *, out: str) -> str:
    """Say that no field could be used, and why the first could not."""
    return (
        f"None of the {fields.height} fields could be used, so there is nothing to profile. "
        f"The first: {fields['Metadata_QC_Reason'][0]} All reasons are in {out}/fields.parquet "
        "and the report."
    )


def tell_hits(hits: Hits) -> Iterator[str]:
    """Say what was found: how good the assay is, and how many hits."""
    quality = hits.statistics.filter(pl.col("readout").is_in([hits.readout, hits.best]))
    columns = ("Metadata_Plate", "readout", "z_prime")
    for plate, name, z in quality.drop_nulls("z_prime").select(columns).iter_rows():
        yield f"{plate}: Z' {z:.2f} of {name}"
    found = hits.compounds.filter((pl.col("Metadata_Role") == "treatment") & pl.col("is_hit"))
    names = _listed(found["Metadata_Compound"].to_list()) or "none"
    yield f"{found.height} compounds are hits, ranked by {hits.ranked_by}: {names}"
    if hits.activity is not None:
        tested = hits.activity.filter(pl.col("q_value").is_not_null())
        active = tested.filter(pl.col("q_value") <= 0.05).height
        yield f"{active} of {tested.height} treatments with replicates are active (mAP, q at most .05)"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
