"""Every operation on profiles, held against pycytominer on real and on made-up tables.

    python -m benchmarks.profiles ../shared

Prints the largest difference of each, and names those that are not equal to 1e-9. Without the
shared data, only the made-up table is used.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.profiles_moa import has_profiles, read_wells
from profiler.profile import aggregate, consensus, normalise, select
from profiler.profile.scaling.whiten import VARIANTS

EQUAL = 1e-9
DMSO = pl.col("Metadata_Compound") == "DMSO"
SCALES = ("standardize", "robustize", "mad_robustize", "inverse_normal")
STEPS = {  # our options -> theirs
    "drop_na_columns": ({"max_missing": 0.05}, {"na_cutoff": 0.05}),
    "variance_threshold": ({"min_variance": 1e-4}, {"min_variance": 1e-4}),
    "frequency_threshold": ({"min_unique": 0.2}, {"unique_cut": 0.2}),
    "correlation_threshold": ({}, {}),
    "drop_outliers": ({}, {}),
    "blocklist": ({}, {}),
    "noise_removal": (
        {"by": "Metadata_Compound", "max_sd": 0.8},
        {
            "noise_removal_perturb_groups": "Metadata_Compound",
            "noise_removal_stdev_cutoff": 0.8,
        },
    ),
}


class Line(NamedTuple):
    """One operation on one table: the largest difference, or how many features both keep."""

    operation: str
    table: str
    difference: float
    remark: str


def parity(shared: Path) -> Iterator[Line]:
    """Hold every operation against pycytominer on real and on made-up profiles."""
    tables = {"synthetic": made_up()}
    if has_profiles(shared):
        tables["BBBC021"] = read_wells(shared)
    for name, wells in tables.items():
        features = distinct(wells, [x for x in wells.columns if not x.startswith("Metadata_")])
        yield from _scales(name, wells, features)
        yield from _whitenings(name, wells, features[::9])
        yield from _steps(name, wells, features)
        yield from _summaries(name, wells, features)


def distinct(wells: pl.DataFrame, features: list[str]) -> list[str]:
    """Leave out copies of other features: which of these stays is up to rounding in theirs."""
    first = {wells[name].to_numpy().tobytes(): name for name in reversed(features)}
    return [name for name in features if name in set(first.values())]


def made_up() -> pl.DataFrame:
    """Correlated, skewed, rounded and missing values on four plates."""
    random = np.random.default_rng(0)
    n, p = 384, 200
    values = random.normal(size=(n, 40)) @ random.normal(size=(40, p)) * random.lognormal(size=p)
    values[:, ::7] = np.exp(values[:, ::7] / np.abs(values[:, ::7]).max() * 3)
    values[:, ::11] = values[:, ::11].round(1)
    values[:, 1::2] += values[:, ::2] * random.integers(0, 9, p // 2)
    values[random.random(values.shape) < 0.03 * (np.arange(p) % 13 == 0)] = np.nan
    names = [f"Cells_Made_F{i}" for i in range(p)]
    return pl.DataFrame(values, schema=names, nan_to_null=True).with_columns(
        Metadata_Plate=pl.Series(np.arange(n) // 96).cast(pl.String),
        Metadata_Well=pl.Series([f"A{i % 96 + 1:02d}" for i in range(n)]),
        Metadata_Compound=pl.Series(random.choice(["DMSO", *"abcdefghij"], n)),
        Metadata_Concentration=pl.Series(random.integers(0, 2, n).astype(float)),
    )


def _scales(name: str, wells: pl.DataFrame, features: list[str]) -> Iterator[Line]:
    from pandas import DataFrame
    from pycytominer import normalize

    for method in SCALES:
        worst, known = 0.0, 0
        for plate in wells.partition_by("Metadata_Plate", maintain_order=True):
            if method == "inverse_normal":  # theirs takes 1e-7 for equal, in any unit
                plate = normalise(plate, features=features, method="standardize").table
            found = normalise(plate, features=features, method=method, reference=DMSO)
            gone = {x for x in features if found.table[x].null_count() == plate.height}
            kept = [feature for feature in features if feature not in gone]
            theirs = DataFrame(
                normalize(
                    plate.to_pandas(),
                    features=kept,
                    method=method,
                    samples="Metadata_Compound == 'DMSO'",
                )
            )[kept].to_numpy()
            worst = max(worst, difference(found.table.select(kept).to_numpy(), theirs))
            known += len(kept)
        lost = wells["Metadata_Plate"].n_unique() * len(features) - known
        yield Line(f"normalise {method}", name, worst, f"{lost} plate x feature without spread")


def _whitenings(name: str, wells: pl.DataFrame, features: list[str]) -> Iterator[Line]:
    from pandas import DataFrame
    from pycytominer import normalize

    complete = wells.drop_nulls(features)
    scaled = normalise(complete, features=features, reference=DMSO, within=()).table
    features = select(
        scaled.filter(DMSO), features=features, steps=["correlation_threshold"]
    ).features
    for variant, how in VARIANTS.items():
        options = {"variant": variant}
        found = normalise(
            scaled, features=features, method="spherize", reference=DMSO, within=(), options=options
        )
        theirs = DataFrame(
            normalize(
                scaled.select("^Metadata_.*$", *features).to_pandas(),
                features=features,
                method="spherize",
                samples="Metadata_Compound == 'DMSO'",
                spherize_method=variant,
            )
        ).drop(columns=[x for x in wells.columns if x.startswith("Metadata_")])
        ours, theirs = found.table.select(found.features).to_numpy(), theirs.to_numpy()
        if not how.is_turned_back:  # the sign of an axis is free
            ours, theirs = np.abs(ours), np.abs(theirs)
        white = np.cov(found.table.filter(DMSO).select(found.features).to_numpy(), rowvar=False)
        off = np.abs(white - np.eye(len(white))).max()
        remark = f"covariance of the controls - identity: {off:.0e} (epsilon 1e-6)"
        yield Line(f"normalise spherize {variant}", name, difference(ours, theirs), remark)


def _steps(name: str, wells: pl.DataFrame, features: list[str]) -> Iterator[Line]:
    from pandas import DataFrame
    from pycytominer import feature_select

    table = normalise(wells, features=features, method="standardize", within=()).table
    for step, (ours, theirs) in STEPS.items():
        of = wells if step == "variance_threshold" else table
        found = select(of, features=features, steps={step: ours}).features
        options: dict[str, Any] = {"features": features, "operation": step, **theirs}
        kept = DataFrame(feature_select(of.to_pandas(), **options)).columns
        differ = set(found) ^ (set(kept) & set(features))
        remark = f"{len(found)} of {len(features)} features kept by both"
        yield Line(f"select {step}", name, float(len(differ)), remark)


def _summaries(name: str, wells: pl.DataFrame, features: list[str]) -> Iterator[Line]:
    import pycytominer
    from pandas import DataFrame

    by = ["Metadata_Compound", "Metadata_Concentration"]
    frame = wells.to_pandas()
    for how in ("median", "mean"):
        ours = aggregate(wells, by=["Metadata_Plate"], how=how, features=features)
        theirs = DataFrame(
            pycytominer.aggregate(
                frame, strata=["Metadata_Plate"], features=features, operation=how
            )
        )
        worst = difference(ours.select(features).to_numpy(), theirs[features].to_numpy())
        yield Line(f"aggregate {how}", name, worst, f"{ours.height} plates")
    complete = [x for x in features if not wells[x].null_count()]
    for how in ("median", "mean", "modz"):
        ours = consensus(wells, features=complete, by=by, how=how)
        theirs = DataFrame(
            pycytominer.consensus(frame, replicate_columns=by, operation=how, features=complete)
        ).sort_values(by)
        worst = difference(ours.select(complete).to_numpy(), theirs[complete].to_numpy())
        yield Line(f"consensus {how}", name, worst, f"{ours.height} treatments")


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest |ours - theirs| / max(1, |theirs|); infinite where one of them alone is missing."""
    if (np.isnan(ours) != np.isnan(theirs)).any():
        return np.inf
    return float(np.nanmax(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs)), initial=0.0))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Profiles, against pycytominer")
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    shared = parser.parse_args().shared
    if not has_profiles(shared):
        print(f"No profiles of BBBC021 in {shared}: made-up tables alone.\n")
    print("| operation | table | largest difference | remark |\n|---|---|---|---|")
    missed = []
    for line in parity(shared):
        print(f"| {line.operation} | {line.table} | {line.difference:.1e} | {line.remark} |")
        missed += [f"{line.operation} ({line.table})"] * (not line.difference < EQUAL)
    print(f"\nNot equal to {EQUAL:g}: {', '.join(missed) or 'none'}.")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # pycytominer's
    main()
