"""BBBC021: does the nearest profile of another compound have the same mechanism of action?

103 treatments (38 compounds, 12 mechanisms), each in two or three wells of one week; 6 DMSO wells
on each of 55 plates. A treatment is right if the treatment nearest by cosine, not of the same
compound (NSC), or neither of the same compound nor week (NSCB, over the 10 mechanisms that more
than one week has), has its mechanism. Normalisation, whitening and correction see the DMSO wells,
plates and weeks, never a mechanism.

How the choice is made. Every pipeline of a grid is scored; the one that a compound is judged with
is the one that is best, by the sum of both accuracies, when that compound's treatments are left
out altogether (as queries and as neighbours). So no label of a treatment takes part in the choice
it is scored with. The same with whole mechanisms left out. The grid itself, usual steps at round
values, was drawn up on this very data set, so the whole of it is printed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from profiler.profile import (
    Normalised,
    compress,
    consensus,
    harmony,
    normalise,
    phenotype_features,
    select,
    spherize,
    tvn,
)

DMSO = pl.col("Metadata_Compound") == "DMSO"
TREATMENT = ["Metadata_Compound", "Metadata_Concentration"]
ONE_WEEK = ("Cholesterol-lowering", "Kinase inhibitors")
GOALS = (90, 72)

SCALES = ("standardize", "robustize", "mad_robustize")
SHAPES = {
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


class Treatments(NamedTuple):
    """What is known of each treatment."""

    compound: np.ndarray
    mechanism: np.ndarray
    week: np.ndarray


class Right(NamedTuple):
    """Which treatments find their mechanism; `nscb` is False where it is not asked."""

    nsc: np.ndarray
    nscb: np.ndarray


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


def similarities(wells: pl.DataFrame) -> Iterator[tuple[Pipeline, np.ndarray]]:
    """Run the grid: cosine similarities between treatments, for each of its pipelines."""
    features = phenotype_features(x for x in wells.columns if not x.startswith("Metadata_"))
    for scale in SCALES:
        scaled, kept = defined(normalise(wells, features=features, method=scale, reference=DMSO))
        for (shape, options), ridge in product(SHAPES.items(), RIDGES):
            found = compress(scaled, features=kept, **options).table if options else scaled
            if ridge is not None:
                found = whiten(found, kept, ridge=ridge).table
            for how in REPLICATES:
                yield Pipeline(scale, shape, ridge, how), cosines(found, kept, how=how)


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
    known = wells.filter(~DMSO).group_by(TREATMENT).agg(
        pl.col("Metadata_MoA").first(), pl.col("Metadata_Batch").unique().alias("weeks")
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
    found: Mapping[Pipeline, np.ndarray], of: Treatments, groups: np.ndarray
) -> tuple[Right, Counter]:
    """Score each group with the pipeline that is best where the group is left out."""
    right = Right(np.zeros(len(groups), bool), np.zeros(len(groups), bool))
    chosen = Counter()
    for group in np.unique(groups):
        own = groups == group

        def merit(pipeline: Pipeline, own: np.ndarray = own) -> float:
            of_others = judge(found[pipeline], of, without=own)
            nsc, nscb = of_others.nsc[~own], of_others.nscb[~own & is_asked(of)]
            return nsc.mean() + nscb.mean()

        best = max(found, key=merit)  # the first in the grid, if several are
        chosen[best] += 1
        all_of_them = judge(found[best], of)
        right.nsc[own], right.nscb[own] = all_of_them.nsc[own], all_of_them.nscb[own]
    return right, chosen


def others(wells: pl.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Alternatives outside the grid, on robust z clipped at 5, means of replicates."""
    features = phenotype_features(x for x in wells.columns if not x.startswith("Metadata_"))
    scaled, kept = defined(normalise(wells, features=features, reference=DMSO))
    steps = ["variance_threshold", "correlation_threshold", "drop_outliers"]
    fewer = select(scaled, features=kept, steps=steps).features
    clipped = compress(scaled, features=kept).table
    options = {"within": "Metadata_Batch"}
    plain, all_kept = defined(
        normalise(wells, features=features, method="standardize", reference=DMSO)
    )
    yield "standardize, clip 5, 100 principal components", _components(
        compress(plain, features=all_kept).table, all_kept
    )
    yield f"selection ({len(fewer)} of {len(kept)} features), clip 5", cosines(
        clipped, fewer, how="mean"
    )
    yield f"selection ({len(fewer)} of {len(kept)} features), clip 5, whitening", cosines(
        whiten(clipped, fewer, ridge=1.0).table, fewer, how="mean"
    )
    corrections: dict[str, Callable] = {
        "clip 5, TVN with CORAL by week": lambda table: tvn(
            table, features=kept, reference=DMSO, **options
        ),
        "clip 5, TVN with CORAL by plate": lambda table: tvn(table, features=kept, reference=DMSO),
        "clip 5, Harmony by week": lambda table: harmony(table, features=kept, **options),
        "clip 5, whitening, Harmony by week": lambda table: harmony(
            whiten(table, kept, ridge=1.0).table, features=kept, **options
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
    found = dict(similarities(wells))
    print("| profiles | NSC of 103 | NSCB of 92 |\n|---|---|---|")
    for name, nsc, nscb in PUBLISHED:
        print(f"| {name} | {nsc} | {nscb} |")
    for name, groups in (("compound", of.compound), ("mechanism", of.mechanism)):
        right, chosen = chosen_by_others(found, of, groups)
        _print_line(f"**ours, chosen without the {name}**", right)
        for pipeline, times in chosen.most_common():
            print(f"| chosen {times} of {chosen.total()} times: {_tell(pipeline)} | | |")
    fixed = Pipeline("mad_robustize", "clip 5", 1.0, "mean")
    _print_line(f"ours, the package's defaults: {_tell(fixed)}", judge(found[fixed], of))
    print(f"\nGoals: {GOALS[0]} and {GOALS[1]}. Outside the grid:\n")
    print("| robust z (MAD) by plate, then | NSC | NSCB |\n|---|---|---|")
    for name, similarity in others(wells):
        _print_line(name, judge(similarity, of))
    print("\nThe whole grid, NSC / NSCB; columns are the ridge of the whitening by DMSO:\n")
    heads = " | ".join("none" if ridge is None else f"{ridge:g}" for ridge in RIDGES)
    print(f"| scale | compression | replicates | {heads} |\n|---|---|---|{'---|' * len(RIDGES)}")
    for scale, shape, how in product(SCALES, SHAPES, REPLICATES):
        rights = [judge(found[Pipeline(scale, shape, ridge, how)], of) for ridge in RIDGES]
        cells = " | ".join(f"{right.nsc.sum()} / {right.nscb.sum()}" for right in rights)
        print(f"| {scale} | {shape} | {how} | {cells} |")


def _print_line(name: str, right: Right) -> None:
    print(f"| {name} | {right.nsc.sum()} | {right.nscb.sum()} |")


def _tell(pipeline: Pipeline) -> str:
    whitening = "no whitening" if pipeline.ridge is None else f"whitened, ridge {pipeline.ridge:g}"
    shape = "no compression" if pipeline.shape == "-" else pipeline.shape
    return f"{pipeline.scale}, {shape}, {whitening}, {pipeline.replicates} of replicates"
