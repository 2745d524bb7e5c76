"""BBBC021: does the nearest profile of another compound have the same mechanism of action?

    python -m benchmarks.profiles_moa ../shared

103 treatments (38 compounds, 12 mechanisms), each in two or three wells of one week; 6 DMSO wells
on each of 55 plates. A treatment is right if the treatment nearest by cosine, not of the same
compound (NSC), or neither of the same compound nor week (NSCB, over the 10 mechanisms that more
than one week has), has its mechanism. Normalisation, whitening and correction see the DMSO wells,
plates and weeks, never a mechanism.

How the choice is made. Every pipeline of a grid is run, and one is chosen without the labels of the
treatments it is scored with, in three ways:

- by replicates: the pipeline under which wells of a treatment find each other best (mean average
  precision among the wells of other plates of their week). No mechanism is looked at at all.
- without the compound: a compound is judged with the pipeline that is best, by the sum of both
  accuracies, when its treatments are left out altogether, as queries and as neighbours.
- without the mechanism: the same with all compounds of a mechanism left out.

One pipeline of usual steps is scored as it is, and the steps that a recipe has by default. The
grid itself, usual steps at round values, was drawn up on this very data set, so the whole of it is
printed.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from profiler.profile import (
    Normalised,
    compress,
    consensus,
    harmony,
    normalise,
    phenotype_features,
    process,
    select,
    spherize,
    tvn,
)
from profiler.recipe import load_recipe

DMSO = pl.col("Metadata_Compound") == "DMSO"
TREATMENT = ["Metadata_Compound", "Metadata_Concentration"]
ONE_WEEK = ("Cholesterol-lowering", "Kinase inhibitors")
GOALS = (90, 72)

SCALES = ("standardize", "robustize", "mad_robustize")
SHAPES: Mapping[str, Mapping[str, Any] | None] = {
    "-": None,
    "clip 5": {"limit": 5.0},
    "clip 10": {"limit": 10.0},
    "asinh": {"shape": "asinh", "limit": 1.0},
}
RIDGES = (None, 0.01, 0.1, 1.0, 10.0)
REPLICATES = ("mean", "median")

PUBLISHED = (  # ../shared/data/README.md and ../shared/reference/field.md
    ("Ljosa 2013, means, plain scaling to DMSO (these profiles)", "84", "66-67"),
    ("z-score, clip, 100 principal components (these profiles)", "87", "70"),
    ("Ljosa 2013, factor analysis of the cells", "97 (94%)", "-"),
    ("DeepProfiler's CNN features of the images", "100", "80"),
    ("WS-DINO 2022, weak labels", "101 (98%)", "88 (96%)"),
)


class Pipeline(NamedTuple):
    """One member of the grid."""

    scale: str
    shape: str
    ridge: float | None
    replicates: str


USUAL = Pipeline("mad_robustize", "clip 5", 1.0, "mean")


class Treatments(NamedTuple):
    """What is known of each treatment."""

    compound: np.ndarray
    mechanism: np.ndarray
    week: np.ndarray


class Right(NamedTuple):
    """Which treatments find their mechanism; `nscb` is False where it is not asked."""

    nsc: np.ndarray
    nscb: np.ndarray


def has_profiles(shared: Path) -> bool:
    """Whether the data is there."""
    return (shared / "data" / "bbbc021_profiles").is_dir()


def read_wells(shared: Path) -> pl.DataFrame:
    """Read the per-well means with compound, dose, mechanism and week."""
    folder = shared / "data" / "bbbc021_profiles"
    keys = ["Metadata_Plate", "Metadata_Well"]
    wells = pl.read_csv(
        folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz", infer_schema_length=None
    ).rename({f"Image_{name}": name for name in keys})
    images = pl.read_csv(folder / "BBBC021_v1_image.csv.gz", infer_schema_length=None).select(
        pl.col("Image_Metadata_Plate_DAPI").alias("Metadata_Plate"),
        pl.col("Image_Metadata_Well_DAPI").alias("Metadata_Well"),
        pl.col("Image_Metadata_Compound").alias("Metadata_Compound"),
        pl.col("Image_Metadata_Concentration").alias("Metadata_Concentration"),
    )
    moa = pl.read_csv(folder / "BBBC021_v1_moa.csv", new_columns=[*TREATMENT, "Metadata_MoA"])
    week = pl.col("Metadata_Plate").str.split("_").list.first().alias("Metadata_Batch")
    return (
        wells.join(images.unique(keys), on=keys, how="left", maintain_order="left")
        .join(moa, on=TREATMENT, how="left", maintain_order="left")
        .with_columns(week)
    )


class Outcome(NamedTuple):
    """What one pipeline gives: cosines of all treatments, and how well replicates agree."""

    similarity: np.ndarray
    agreement: float


def run_grid(wells: pl.DataFrame) -> Iterator[tuple[Pipeline, Outcome]]:
    """Run every pipeline of the grid."""
    features = phenotype_features(x for x in wells.columns if not x.startswith("Metadata_"))
    for scale in SCALES:
        scaled, kept = defined(normalise(wells, features=features, method=scale, reference=DMSO))
        for (shape, options), ridge in product(SHAPES.items(), RIDGES):
            found = compress(scaled, features=kept, **options).table if options else scaled
            if ridge is not None:
                found = whiten(found, kept, ridge=ridge).table
            agreement = replicate_precision(found.filter(~DMSO), kept)
            for how in REPLICATES:
                outcome = Outcome(cosines(found, kept, how=how), agreement)
                yield Pipeline(scale, shape, ridge, how), outcome


def replicate_precision(wells: pl.DataFrame, features: Sequence[str]) -> float:
    """Mean average precision of finding a treatment's wells on the other plates of its week."""
    rows = wells.select(features).to_numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = rows @ rows.T
    treatment, plate, week = (
        wells.select(pl.struct(names).rank("dense")).to_series().to_numpy()
        for names in (TREATMENT, ["Metadata_Plate"], ["Metadata_Batch"])
    )
    precisions = []
    for i in range(len(rows)):
        others = np.flatnonzero((week == week[i]) & (plate != plate[i]))
        order = others[np.argsort(-similarity[i, others])]
        hits = np.flatnonzero(treatment[order] == treatment[i])
        if len(hits):
            precisions.append(np.mean(np.arange(1, len(hits) + 1) / (hits + 1)))
    return float(np.mean(precisions))


def whiten(wells: pl.DataFrame, features: Sequence[str], *, ridge: float) -> Normalised:
    """Whiten all plates together by their DMSO wells."""
    return spherize(wells, features=features, reference=DMSO, within=(), ridge=ridge)


def defined(found: Normalised) -> tuple[pl.DataFrame, list[str]]:
    """The table, and the features that have a value in every well."""
    table = found.table
    return table, [name for name in found.features if not table[name].null_count()]


def profiles(wells: pl.DataFrame, features: Sequence[str], *, how: str) -> pl.DataFrame:
    """One profile of each treatment, in the same order always."""
    return consensus(wells.filter(~DMSO), features=features, by=TREATMENT, how=how)


def cosines(wells: pl.DataFrame, features: Sequence[str], *, how: str) -> np.ndarray:
    """Cosine similarity of every two treatments."""
    rows = profiles(wells, features, how=how).select(features).to_numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def treatments_of(wells: pl.DataFrame) -> Treatments:
    """Name the treatments, in the order of `profiles`."""
    known = (
        wells.filter(~DMSO)
        .group_by(TREATMENT)
        .agg(pl.col("Metadata_MoA").first(), pl.col("Metadata_Batch").unique().alias("weeks"))
    )
    known = known.sort(TREATMENT)
    assert known.height == 103
    assert (known["weeks"].list.len() == 1).all()
    return Treatments(
        known["Metadata_Compound"].to_numpy(),
        known["Metadata_MoA"].to_numpy(),
        known["weeks"].list.first().to_numpy(),
    )


def judge(similarity: np.ndarray, of: Treatments, *, without: np.ndarray | None = None) -> Right:
    """Look up every treatment's nearest neighbour, perhaps without some as neighbours."""
    forbidden = of.compound[:, None] == of.compound
    if without is not None:
        forbidden = forbidden | without
    right = []
    for barred in (forbidden, forbidden | (of.week[:, None] == of.week)):
        nearest = np.where(barred, -np.inf, similarity).argmax(axis=1)
        right.append(of.mechanism[nearest] == of.mechanism)
    return Right(right[0], right[1] & is_asked(of))


def is_asked(of: Treatments) -> np.ndarray:
    """Treatments whose mechanism occurs in several weeks."""
    return ~np.isin(of.mechanism, ONE_WEEK)


def chosen_by_others(
    grid: Mapping[Pipeline, Outcome], of: Treatments, groups: np.ndarray
) -> tuple[Right, Counter]:
    """Score each group with the pipeline that is best where the group is left out."""
    right = Right(np.zeros(len(groups), bool), np.zeros(len(groups), bool))
    chosen = Counter()
    for group in np.unique(groups):
        own = groups == group

        def merit(pipeline: Pipeline, own: np.ndarray = own) -> float:
            of_others = judge(grid[pipeline].similarity, of, without=own)
            nsc, nscb = of_others.nsc[~own], of_others.nscb[~own & is_asked(of)]
            return nsc.mean() + nscb.mean()

        best = max(grid, key=merit)  # the first in the grid, if several are
        chosen[best] += 1
        all_of_them = judge(grid[best].similarity, of)
        right.nsc[own], right.nscb[own] = all_of_them.nsc[own], all_of_them.nscb[own]
    return right, chosen


def others(wells: pl.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Alternatives outside the grid, on robust z clipped at 5, means of replicates."""
    features = phenotype_features(x for x in wells.columns if not x.startswith("Metadata_"))
    scaled, kept = defined(normalise(wells, features=features, reference=DMSO))
    steps = ["variance_threshold", "correlation_threshold", "drop_outliers"]
    fewer = select(scaled, features=kept, steps=steps).features
    clipped = compress(scaled, features=kept).table
    by_week: dict[str, Any] = {"features": kept, "within": "Metadata_Batch"}
    plain, all_kept = defined(
        normalise(wells, features=features, method="standardize", reference=DMSO)
    )
    default = ["drop_na_columns", "variance_threshold", "correlation_threshold"]
    left = select(scaled, features=kept, steps=default).features
    yield (
        f"a recipe's default steps ({len(left)} of {len(kept)} features), median of replicates",
        cosines(scaled, left, how="median"),
    )
    shipped = load_recipe("cell_painting").profile
    roles = wells.with_columns(
        Metadata_Role=pl.when(DMSO).then(pl.lit("negative")).otherwise(pl.lit("treatment"))
    )
    done = process(roles, features=features, steps=shipped.steps[1:])
    yield (
        f"the steps of the recipe cell_painting after positions ({len(done.features)} features)",
        cosines(done.selected, done.features, how=shipped.consensus),
    )
    yield (
        "standardize, clip 5, 100 principal components",
        _components(compress(plain, features=all_kept).table, all_kept),
    )
    yield (
        f"selection ({len(fewer)} of {len(kept)} features), clip 5",
        cosines(clipped, fewer, how="mean"),
    )
    yield (
        f"selection ({len(fewer)} of {len(kept)} features), clip 5, whitening",
        cosines(whiten(clipped, fewer, ridge=1.0).table, fewer, how="mean"),
    )
    corrections: dict[str, Callable] = {
        "clip 5, TVN with CORAL by week": lambda table: tvn(table, reference=DMSO, **by_week),
        "clip 5, TVN with CORAL by plate": lambda table: tvn(table, features=kept, reference=DMSO),
        "clip 5, Harmony by week": lambda table: harmony(table, **by_week),
        "clip 5, whitening, Harmony by week": lambda table: harmony(
            whiten(table, kept, ridge=1.0).table, **by_week
        ),
        "clip 5, pycytominer's whitening (no ridge)": lambda table: whiten(table, kept, ridge=0.0),
    }
    for name, correct in corrections.items():
        yield name, cosines(correct(clipped).table, kept, how="mean")


def _components(wells: pl.DataFrame, features: Sequence[str], n: int = 100) -> np.ndarray:
    rows = wells.select(features).to_numpy()
    axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:n]
    names = [f"PC{i}" for i in range(n)]
    table = wells.select(pl.col("^Metadata_.*$")).hstack(pl.DataFrame(rows @ axes.T, schema=names))
    return cosines(table, names, how="mean")


def print_tables(shared: Path) -> None:
    """Print the answer beside the published numbers, then every alternative."""
    wells = read_wells(shared)
    of = treatments_of(wells)
    grid = dict(run_grid(wells))
    _print_answer(grid, of)
    print(f"\nGoals: {GOALS[0]} and {GOALS[1]}. Outside the grid:\n")
    print("| robust z (MAD) by plate, then | NSC | NSCB |\n|---|---|---|")
    for name, similarity in others(wells):
        _print_line(name, judge(similarity, of))
    _print_grid(grid, of)


def _print_answer(grid: Mapping[Pipeline, Outcome], of: Treatments) -> None:
    print("| profiles | NSC of 103 | NSCB of 92 |\n|---|---|---|")
    for name, nsc, nscb in PUBLISHED:
        print(f"| {name} | {nsc} | {nscb} |")
    best = max(grid, key=lambda pipeline: grid[pipeline].agreement)
    right = judge(grid[best].similarity, of)
    _print_line(f"**ours, chosen by replicates**: {_tell(best)}", right)
    for name, groups in (("compound", of.compound), ("mechanism", of.mechanism)):
        right, chosen = chosen_by_others(grid, of, groups)
        _print_line(f"**ours, chosen without the {name}**", right)
        for pipeline, times in chosen.most_common():
            print(f"| chosen {times} of {chosen.total()} times: {_tell(pipeline)} | | |")
    right = judge(grid[USUAL].similarity, of)
    _print_line(f"ours, the usual steps, fixed: {_tell(USUAL)}", right)


def _print_grid(grid: Mapping[Pipeline, Outcome], of: Treatments) -> None:
    print("\nThe whole grid, NSC / NSCB (agreement of replicates), by ridge of the whitening:\n")
    heads = " | ".join("none" if ridge is None else f"{ridge:g}" for ridge in RIDGES)
    print(f"| scale | compression | replicates | {heads} |\n|---|---|---|{'---|' * len(RIDGES)}")
    for scale, shape, how in product(SCALES, SHAPES, REPLICATES):
        cells = []
        for ridge in RIDGES:
            similarity, agreement = grid[Pipeline(scale, shape, ridge, how)]
            right = judge(similarity, of)
            cells.append(f"{right.nsc.sum()} / {right.nscb.sum()} ({agreement:.3f})")
        print(f"| {scale} | {shape} | {how} | {' | '.join(cells)} |")


def _print_line(name: str, right: Right) -> None:
    print(f"| {name} | {right.nsc.sum()} | {right.nscb.sum()} |", flush=True)


def _tell(pipeline: Pipeline) -> str:
    whitening = "no whitening" if pipeline.ridge is None else f"whitened, ridge {pipeline.ridge:g}"
    shape = "no compression" if pipeline.shape == "-" else pipeline.shape
    return f"{pipeline.scale}, {shape}, {whitening}, {pipeline.replicates} of replicates"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="BBBC021: mechanisms by nearest neighbour")
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    shared = parser.parse_args().shared
    if not has_profiles(shared):
        sys.exit(f"{shared} has no data/bbbc021_profiles; see the README of the shared data.")
    print_tables(shared)


if __name__ == "__main__":
    main()
