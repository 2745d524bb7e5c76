"""What speaks for a compound and against it, one line each, from whichever tables there are."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from profiler.report.numbers import count, defined, interval, number, percent, quantity
from profiler.report.run import Run
from profiler.report.wells import IS_TREATED

MAX_NEIGHBOURS = 3


class Evidence(NamedTuple):
    """One line that speaks for a compound or against it."""

    name: str
    text: str


def evidence(row: Mapping[str, Any]) -> Iterator[Evidence]:
    """What compounds.parquet itself says, line by line; what it lacks is left out."""
    unit = row.get("Metadata_Unit")
    low, high = row.get("rank_low"), row.get("rank_high")
    if defined(low) and defined(high):
        share = row.get("top_share")
        top = f"; among the first ten in {percent(share)} of draws" if defined(share) else ""
        text = f"{number(row.get('rank'))}, 95 % interval {number(low)} to {number(high)}{top}"
        yield Evidence("Rank", text)
    if defined(row.get("score")):
        dose, threshold = row.get("best_concentration"), row.get("threshold")
        parts = [
            f"{number(row['score'])} robust sd",
            str(row.get("direction") or ""),
            f"at {quantity(dose, unit)}" if defined(dose) else "",
            f"threshold {number(threshold)}" if defined(threshold) else "",
        ]
        yield Evidence("Effect", ", ".join(part for part in parts if part))
    if defined(row.get("n_hits")):
        yield Evidence("Hit wells", f"{number(row['n_hits'])} of {number(row.get('n_wells'))}")
    yield from _activity(row, unit)
    yield from _potency(row, unit)
    yield from _toxicity(row, unit)


def _activity(row: Mapping[str, Any], unit: str | None) -> Iterator[Evidence]:
    if defined(row.get("activity_q")):
        dose = row.get("active_concentration")
        at = f" at {quantity(dose, unit)}" if defined(dose) else ""
        precision = number(row.get("mean_average_precision"))
        text = f"q {number(row['activity_q'])}, mean average precision {precision}{at}"
        yield Evidence("Activity", text)
    if defined(row.get("replicate_correlation")):
        is_above = row.get("is_replicating")
        words = {True: ", above chance", False: ", not above chance"}.get(is_above, "")  # type: ignore[arg-type]
        yield Evidence("Replicates", f"correlation {number(row['replicate_correlation'])}{words}")


def _potency(row: Mapping[str, Any], unit: str | None) -> Iterator[Evidence]:
    if defined(row.get("ec50")):
        between = interval(row.get("ec50_low"), row.get("ec50_high"))
        text = f"{quantity(row['ec50'], unit)}{f' ({between})' if between else ''}"
        yield Evidence("EC50", text)
    if defined(row.get("benchmark_concentration")):
        yield Evidence("First change", f"at {quantity(row['benchmark_concentration'], unit)}")
    elif row.get("benchmark_outside_range"):
        yield Evidence("First change", "at or below the lowest dose tested")
    if row.get("is_biphasic"):
        yield Evidence("Shape", "comes down again at high doses")


def _toxicity(row: Mapping[str, Any], unit: str | None) -> Iterator[Evidence]:
    if defined(row.get("viability")):
        yield Evidence("Cells", f"{percent(row['viability'])} of the negative controls'")
    if defined(row.get("toxic_from")):
        only = "; no effect below" if row.get("is_toxic_only") else ""
        yield Evidence("Toxic", f"from {quantity(row['toxic_from'], unit)}{only}")


def phenotype(run: Run, wells: pl.DataFrame, row: Mapping[str, Any]) -> Iterator[Evidence]:
    """What the tables of phenotypes say of a compound: clusters, neighbours, mechanism."""
    name, dose = row["Metadata_Compound"], row.get("best_concentration")
    yield from _clusters(run, wells, name)
    neighbours = _at_dose(run.table("neighbours"), name, dose)
    if neighbours is not None and neighbours.height:
        nearest = neighbours.sort("rank").head(MAX_NEIGHBOURS)
        texts = [_neighbour(one) for one in nearest.iter_rows(named=True)]
        yield Evidence("Most alike", ", ".join(texts))
    mechanisms = _at_dose(run.table("mechanisms"), name, dose)
    if mechanisms is not None and mechanisms.height:
        first = mechanisms.row(0, named=True)
        known = f", known {first['known']}" if first.get("known") else ""
        if first.get("predicted"):
            yield Evidence("Mechanism", f"predicted {first['predicted']}{known}")


def _clusters(run: Run, wells: pl.DataFrame, name: str) -> Iterator[Evidence]:
    table = run.table("map")
    if table is None or "Cluster" not in table.columns:
        return
    keys = {"plate": "Metadata_Plate", "well": "Metadata_Well"}
    own = wells.filter(IS_TREATED & (pl.col("compound") == name)).select("plate", "well")
    found = own.join(table, left_on=list(keys), right_on=list(keys.values()))
    counts = (
        found.group_by("Cluster")
        .len()
        .drop_nulls()
        .sort("len", "Cluster", descending=[True, False])
    )
    if counts.height:
        words = [
            f"{cluster} ({n} of {count(found.height, 'well')})"
            for cluster, n in counts.head(2).iter_rows()
        ]
        yield Evidence("Cluster", ", ".join(words))
    if "Novelty_q_value" in found.columns and found["Novelty_q_value"].is_not_null().any():
        yield Evidence("Novelty", f"smallest q {number(found['Novelty_q_value'].min())}")  # type: ignore[arg-type]


def _at_dose(table: pl.DataFrame | None, name: str, dose: float | None) -> pl.DataFrame | None:
    """Rows of one compound, at one dose where the table has it."""
    if table is None:
        return None
    own = table.filter(Metadata_Compound=name)
    at = own.filter(pl.col("Metadata_Concentration").eq_missing(pl.lit(dose, pl.Float64)))
    return at if at.height else own


def _neighbour(row: Mapping[str, Any]) -> str:
    dose = (
        f" {number(row['neighbour_concentration'])}"
        if defined(row["neighbour_concentration"])
        else ""
    )
    return f"{row['neighbour_compound']}{dose} (cosine {number(row['cosine'], digits=2)})"
