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
    times = fields["Metadata_Timepoint"].n_unique()
    return {
        "wells": fields.select("Metadata_Plate", "Metadata_Well").n_unique(),
        **({"timepoints": times} if times > 1 else {}),
        "fields": fields.height,
        "fields_ok": good,
        "fields_empty": empty,
        "fields_failed": dict(sorted(codes.iter_rows())),
        "cells": int(fields["Metadata_Object_Count"].sum()),
        "seconds_per_field": done["Metadata_Seconds"].median(),
        "measure_seconds_per_field": done["Metadata_Seconds_Measure"].median(),
    }


def tell_time(time: int | None) -> Iterator[str]:
    """Say which time point speaks, where a run has several."""
    if time is not None:
        yield f"Of several time points this is number {time}; [hits] timepoint chooses another."


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
    yield from _tell_lost_plates(hits)
    found = hits.compounds.filter((pl.col("Metadata_Role") == "treatment") & pl.col("is_hit"))
    names = _listed(found["Metadata_Compound"].to_list()) or "none"
    are = "compound is a hit" if found.height == 1 else "compounds are hits"
    yield f"{found.height} {are}, ranked by {hits.ranked_by}: {names}"
    yield from _tell_dead(hits.hits)
    if hits.n_left_out:
        features = "feature is" if hits.n_left_out == 1 else "features are"
        yield (
            f"{hits.n_left_out} {features} left out of the Mahalanobis distance, as a negative "
            "control has no value."
        )
    if hits.activity is not None:
        tested = hits.activity.filter(pl.col("q_value").is_not_null())
        active = tested.filter(pl.col("q_value") <= 0.05).height
        of = f"{active} of {tested.height} treatments with replicates"
        yield f"{of} are active (mAP, q at most .05)"
    yield from _tell_consistency(hits)
    yield from _without_verdict(hits)


def _tell_lost_plates(hits: Hits) -> Iterator[str]:
    """Name the plates of which no well could be ranked, and why."""
    lost = hits.hits.filter((pl.col("rank_status") != "ranked").all().over("Metadata_Plate"))
    plates = lost["Metadata_Plate"].unique().sort().to_list()
    if plates:
        codes = ", ".join(lost["rank_status"].unique().sort())
        yield (
            f"No well is ranked on {_listed(plates)}: the {lost.height} wells there are kept, with "
            f"the status {codes}."
        )


def _tell_dead(wells: pl.DataFrame) -> Iterator[str]:
    """Name the compounds that no cell survives: they have no rank to be found by."""
    if not {"Metadata_Compound", "Metadata_QC_Status"} <= set(wells.columns):
        return
    status = pl.col("Metadata_QC_Status")
    looked_at = wells.filter(
        pl.col("Metadata_Role") == "treatment",
        pl.col("Metadata_Compound").is_not_null(),
        status.is_in(["ok", "no_cells"]),
    )
    dead = looked_at.filter((status == "no_cells").all().over("Metadata_Compound"))
    names = dead["Metadata_Compound"].unique().sort().to_list()
    if names:
        leave = "compound leaves" if len(names) == 1 else "compounds leave"
        yield f"{len(names)} {leave} no cells in any well: {_listed(names)}"


def _tell_consistency(hits: Hits) -> Iterator[str]:
    """Say how many mechanisms and targets show, or why that was not asked."""
    if hits.activity is None:
        yield (
            "No activity, no replicates and no consistency: the plate map names no compounds, or "
            "no feature tells of a phenotype."
        )
    elif hits.consistency is None:
        yield (
            "No consistency: no column of the plate map says which mechanism or target a compound "
            "has. Call it MOA or target, or name it in [phenotype] labels."
        )
    else:
        for (kind, compared), table in hits.consistency.group_by(
            "kind", "compared", maintain_order=True
        ):
            tested = table.filter(pl.col("q_value").is_not_null())
            alike = tested.filter(pl.col("q_value") <= 0.05).height
            of = f"{alike} of {tested.height} {kind} labels"
            among = "active compounds" if compared == "active" else "all compounds, active or not,"
            yield f"{of} are consistent: their {among} are alike (mAP, q at most .05)"


def _without_verdict(hits: Hits) -> Iterator[str]:
    """Count by their codes the wells, treatments and dose series that got no answer."""
    not_fitted = ("too_few_doses", "infinite", "not_converged")
    unranked = hits.hits.filter(pl.col("rank_status") != "ranked")
    yield from _coded("Wells not ranked", unranked["rank_status"])
    if hits.activity is not None:
        untested = hits.activity.filter(pl.col("q_value").is_null())["status"]
        codes = untested.replace("ok", "nothing_to_exchange")  # replicates, but no other wells
        yield from _coded("Treatments not tested for activity", codes)
    if hits.consistency is not None:
        untested = hits.consistency.filter(pl.col("q_value").is_null())["status"]
        codes = untested.replace("ok", "nothing_to_exchange")
        yield from _coded("Labels not tested for consistency", codes)
    unfitted = hits.curves.filter(pl.col("status").is_in(not_fitted))
    yield from _coded("Dose series without a curve", unfitted["status"])


def _coded(what: str, codes: pl.Series) -> Iterator[str]:
    if len(codes):
        counts = codes.value_counts().sort(codes.name).iter_rows()
        listed = ", ".join(f"{code} {n}" for code, n in counts)
        yield f"{what}: {len(codes)} ({listed})"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
