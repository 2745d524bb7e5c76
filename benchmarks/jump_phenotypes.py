"""JUMP's phenotype scores: whether replicates, and reagents of one target, find one another.

    python -m benchmarks.jump_phenotypes ../shared

16,179 wells of CPJUMP1 by 15 phenotype scores of their cells (CC BY 4.0), with the JUMP-Target-1
maps for reagents and targets: compounds' annotated targets, and the genes of CRISPR guides (two
each; ORFs have one). The table has no untreated wells, so plates are scaled by all their wells, and
reagents are ranked against the plate's other reagents rather than controls. By modality, cell line
and time: mean average precision of replicates on other plates, the fraction retrieved (q at most
.05), percent replicating, and the fraction of targets whose reagents find one another; with and
without the plates' rows and columns taken out. Replicates are in the same well of every plate, so
that what position does counts as replication unless it is taken out.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from profiler.hits import (
    Matching,
    activity,
    consistency,
    fraction_retrieved,
    percent_replicating,
    replicate_correlation,
)
from profiler.profile import feature_columns, median_polish, robust_z

REAGENT, TARGET = "Metadata_Reagent", "Metadata_Target"
NAME_OF = {"compound": "pert_iname", "crispr": "gene", "orf": "gene"}
TARGETS_OF = {"compound": "target_list", "crispr": "gene"}
KEYS = ["treatment_type", "Cell_type", "Time"]
MATCHING = Matching((REAGENT,), apart=("Metadata_Plate",), against="others")
ALL = pl.lit(value=True)
Q = 0.05


def load(data: Path) -> tuple[pl.DataFrame, list[str]]:
    """The wells with their reagents and targets, and the names of the phenotype scores."""
    path = data / "jump_phenotypes" / "jump_phenotype_profiles.tsv.gz"
    table = pl.read_csv(path, separator="\t")
    phenotypes = table.columns[table.columns.index("cell_count") + 1 :]
    names = {name: f"Cells_Phenotype_{name}" for name in phenotypes}
    maps = data / "platemaps" / "jump_target"
    parts = [reagents(table, maps, modality) for modality in NAME_OF]
    return pl.concat(parts).rename(names), list(names.values())


def reagents(table: pl.DataFrame, maps: Path, modality: str) -> pl.DataFrame:
    """Wells of one modality, with what the plate map says of them."""
    layout, known = (
        pl.read_csv(
            maps / f"JUMP-Target-1_{modality}_{kind}.tsv", separator="\t", null_values=["NA"]
        )
        for kind in ("platemap", "metadata")
    )
    target = pl.col(TARGETS_OF[modality]) if modality in TARGETS_OF else pl.lit(None)
    known = known.select(
        "broad_sample", target.cast(pl.String).alias(TARGET), name=NAME_OF[modality]
    )
    wells = table.filter(pl.col("treatment_type") == modality)
    found = wells.join(
        layout.select("broad_sample", Metadata_Well="well_position"), on="Metadata_Well"
    ).join(known.unique("broad_sample"), on="broad_sample")
    assert found.height == wells.height, "the map lacks wells of the table"
    assert (found["name"] == found["treatment"]).all(), "map and table disagree"
    return found.rename({"broad_sample": REAGENT}).drop("name")


def lines(wells: pl.DataFrame, features: list[str]) -> Iterator[str]:
    """The table."""
    columns = "wells / reagent | mean mAP | retrieved | replicating | targets retrieved"
    yield f"| modality, cells, hours | plates | correction | {columns} |"
    yield "|---|---|---|---|---|---|---|---|"
    for key, some in sorted(wells.group_by(KEYS), key=lambda pair: pair[0]):
        n_plates = some["Metadata_Plate"].n_unique()
        per = some.group_by(REAGENT).len()["len"].median()
        for correction in ("none", "median polish"):
            profiles = plate_scaled(some, features, correction=correction)
            numbers = describe(profiles)
            name = ", ".join(map(str, key))
            yield f"| {name} | {n_plates} | {correction} | {per:.0f} | {numbers} |"


def plate_scaled(wells: pl.DataFrame, features: list[str], *, correction: str) -> pl.DataFrame:
    """Log scores in robust z of each plate's wells, most of which do little."""
    wells = wells.with_columns(pl.col(features).log())
    if correction == "median polish":
        wells = median_polish(wells, features=features).table
    return robust_z(wells, features=features, reference=ALL)


def describe(profiles: pl.DataFrame) -> str:
    """Cells of the table."""
    found = activity(profiles, matching=MATCHING)
    correlated = replicate_correlation(profiles, matching=MATCHING)
    return (
        f"{found['mean_average_precision'].mean():.3f} | {fraction_retrieved(found, q=Q):.3f} | "
        f"{percent_replicating(correlated):.0f}% | {targets(profiles)}"
    )


def targets(profiles: pl.DataFrame) -> str:
    """Fraction of targets whose reagents find one another, of those with two."""
    medians = pl.col(feature_columns(profiles)).median()
    consensus = profiles.drop_nulls(TARGET).group_by(REAGENT, TARGET).agg(medians)
    if consensus.is_empty():
        return "-"
    found = consistency(consensus, labels=TARGET).drop_nulls("p_value")
    return f"{fraction_retrieved(found, q=Q):.3f} of {found.height}"


def main() -> None:
    """Load the table, print what is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    data = parser.parse_args().shared / "data"
    if not (data / "jump_phenotypes").is_dir():
        print(f"{data} has no jump_phenotypes; see the README of the shared data.")
        return
    print(f"Python {sys.version.split()[0]}, polars {pl.__version__}\n")
    start = time.perf_counter()
    for line in lines(*load(data)):
        print(line, flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
