"""Phenotypes: mechanisms and clusters of BBBC021, planted subpopulations, calibration, memory.

    python -m benchmarks.phenotypes [../shared]

Settings are the package's defaults throughout; none was chosen by a label it is scored on.
BBBC021's table has no cell counts, but each well's mean object number, and objects are numbered
from 1 in every image: twice that mean, less 1, is about the cells per image.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from scipy.stats import chi2_contingency
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from benchmarks.profiles_moa import DMSO, PUBLISHED, read_wells
from profiler.hits import Matching, activity
from profiler.hits.precision.labels import label_consistency
from profiler.phenotype import (
    Clustering,
    cluster,
    enrichment,
    mechanisms,
    profile_space,
    subpopulations,
)
from profiler.phenotype.counts import log_counts
from profiler.phenotype.methods import METHODS
from profiler.phenotype.novelty import strangeness
from profiler.phenotype.shift import deviation_p_values, shares_apart
from profiler.phenotype.structure import structure_p_value
from profiler.profile import normalise, phenotype_features, select
from profiler.profile.fdr import q_values

STEPS = ["drop_na_columns", "variance_threshold", "correlation_threshold"]
LEVEL = 0.05

T = TypeVar("T")


def read_profiles(shared: Path) -> tuple[pl.DataFrame, list[str]]:
    """Read BBBC021 as robust z of each plate's DMSO wells, selected features, with cell counts."""
    wells = read_wells(shared).with_columns(
        Metadata_Role=pl.when(DMSO).then(pl.lit("negative")).otherwise(pl.lit("treatment")),
        Metadata_Object_Count=2 * pl.col("Cells_Number_Object_Number") - 1,
        Metadata_MoA=pl.when(~DMSO).then("Metadata_MoA"),
    )
    features = phenotype_features(x for x in wells.columns if not x.startswith("Metadata_"))
    scaled = normalise(wells, features=features, reference=DMSO).table
    kept = select(scaled, features=features, steps=STEPS).features
    return scaled.sort("Metadata_Plate", "Metadata_Well"), kept


def print_mechanisms(wells: pl.DataFrame, features: list[str]) -> None:
    """Print how often the nearest neighbour has the mechanism, beside what was published."""
    found = mechanisms(wells, features=features, mechanism="Metadata_MoA").accuracy
    assert found["n_treatments"].to_list() == [103, 92]
    print("| mechanism by the nearest profile | NSC of 103 | NSCB of 92 |\n|---|---|---|")
    for name, nsc, nscb in PUBLISHED:
        print(f"| {name} | {nsc} | {nscb} |")
    rows = {"**ours**": "n_right", "cell count alone": "n_right_by_count"}
    for name, column in rows.items():
        print(f"| {name} | {' | '.join(str(n) for n in found[column])} |")
    chance = (found["chance"] * found["n_treatments"]).round(1)
    print(f"| mechanisms shuffled among compounds | {' | '.join(map(str, chance))} |")


def print_consistency(wells: pl.DataFrame, features: list[str]) -> None:
    """Whether the active compounds of each mechanism are more alike than chance, by mAP."""
    table = wells.select(pl.col("^Metadata_.*$"), *features)
    active = activity(table, matching=Matching(within=("Metadata_Batch",)))
    found = label_consistency(table, kinds={"MOA": "Metadata_MoA"}, activity=active)
    assert found["n_labelled"].sum() == 38, found["n_labelled"].sum()
    sure = found.filter(pl.col("q_value") <= 0.05).height
    tested = active["q_value"].count()
    print(
        f"\nConsistency: {sure} of {found.height} mechanisms at q ≤ 0.05, mean mAP "
        f"{found['mean_average_precision'].mean():.2f} (chance "
        f"{found['chance_precision'].mean():.2f}); {found['n_compounds'].sum()} of 38 compounds "
        f"and {(active['q_value'] <= 0.05).sum()} of {tested} treatments are active."
    )


def print_clusters(wells: pl.DataFrame, features: list[str]) -> None:
    """Print how clusters agree with mechanisms, each beside groups by the cell count alone."""
    heads = "clusters | stability | p, one cloud | wells | ARI | AMI | ARI, count | AMI, count"
    print(f"\n| clusters of 632 wells | {heads} | enriched, q ≤ 0.05 | by count | seconds |")
    print("|---|" + "---|" * 11)
    space, count = profile_space(wells, features=features), log_counts(wells)[:, None]
    truth = wells["Metadata_MoA"]
    for method in METHODS:
        how = Clustering(method)
        found, seconds = _timed(partial(cluster, wells, features=features, how=how, space=space))
        best = found.choice.best
        asked = (found.labels.is_not_null() & truth.is_not_null()).to_numpy()
        plain = METHODS["kmeans"].prepare(count, seed=0)(max(best.n_clusters, 1))
        scores = [
            f"{score(truth.filter(asked), labels[asked]):.2f}"
            for labels in (found.labels.fill_null(0).to_numpy(), plain)
            for score in (adjusted_rand_score, adjusted_mutual_info_score)
        ]
        table = enrichment(wells, clusters=found.labels, kinds={"MOA": "Metadata_MoA"})
        enriched = table.filter(pl.col("q_value") <= LEVEL)
        by_count = enriched.filter(pl.col("p_value_by_count") <= enriched["p_value"].max())
        facts = [best.n_clusters, f"{best.stability:.2f}", found.p_value, int(asked.sum())]
        rest = [enriched["label"].n_unique(), by_count["label"].n_unique(), seconds]
        print(f"| {method} | {' | '.join(map(str, [*facts, *scores, *rest]))} |")


def planted(*, seed: int, spread: float, shift: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make a plate of 48 wells of 200 cells: 12 controls, 28 like them, 8 with a larger share.

    Args:
        seed: Of the draw.
        spread: Standard deviation of the rare kind's share from well to well, of 0.15.
        shift: Added to the share in the last 8 wells.
    """
    random = np.random.default_rng(seed)
    share = 0.15 + spread * random.normal(size=48) + np.repeat([0.0, shift], [40, 8])
    well = np.repeat(np.arange(48), 200)
    is_rare = random.random(len(well)) < np.clip(share, 0.01, 0.99)[well]
    values = random.normal(size=(len(well), 10)) + 3.0 * is_rare[:, None] * (np.arange(10) < 5)
    names = np.array([f"{'ABCD'[i // 12]}{i % 12 + 1:02d}" for i in range(48)])
    cells = pl.DataFrame(values, schema=[f"Cells_F{i}" for i in range(10)]).with_columns(
        pl.lit("P").alias("Metadata_Plate"),
        pl.Series("Metadata_Well", names[well]),
        pl.lit(1).alias("Metadata_Site"),
        pl.int_range(pl.len()).alias("Metadata_ObjectNumber"),
        pl.Series("is_rare", is_rare),
    )
    roles = ["negative"] * 12 + ["treatment"] * 36
    wells = pl.DataFrame({"Metadata_Plate": "P", "Metadata_Well": names, "Metadata_Role": roles})
    return cells, wells


def print_subpopulations(n_plates: int = 10) -> None:
    """Print how planted shifts are found, and how a test of single cells would err."""
    print(
        "\n| rare kind: 15% of cells | share, mean error | shifted wells found, p ≤ 0.05 ", end=""
    )
    print("| other wells found, p ≤ 0.05: ours | chi-square of cells |\n|---|---|---|---|---|")
    features = [f"Cells_F{i}" for i in range(10)]
    how = Clustering("kmeans", (2,), n_resamples=2, most_rows=4_000)
    for name, spread, shift in (
        ("all wells alike", 0.0, 0.15),
        ("wells vary by 5%", 0.05, 0.15),
        ("wells vary by 5%, shift 30%", 0.05, 0.30),
    ):
        errors, found, false, naive = [], [], [], []
        for seed in range(n_plates):
            cells, wells = planted(seed=seed, spread=spread, shift=shift)
            table = subpopulations(cells, wells, features=features, how=how).table
            rare = table.filter(subpopulation=2)
            truth = cells.group_by("Metadata_Well").agg(pl.col("is_rare").mean())
            truth = truth.sort("Metadata_Well")["is_rare"].to_numpy()
            errors.append(np.abs(rare["share"].to_numpy() - truth).mean())
            p = rare["p_value"].to_numpy()
            found += (p[40:] <= LEVEL).tolist()
            false += (p[12:40] <= LEVEL).tolist()
            counts = table.pivot("subpopulation", index="Metadata_Well", values="n_cells")
            numbers = counts.drop("Metadata_Well").to_numpy()
            pooled = numbers[:12].sum(axis=0)
            naive += [_p_of_cells(row, pooled) <= LEVEL for row in numbers[12:40]]
        assert np.mean(errors) < 0.03
        rates = " | ".join(f"{np.mean(x):.3f}" for x in (errors, found, false, naive))
        print(f"| {name}, {n_plates} plates | {rates} |")


def print_shares(n_screens: int = 200) -> None:
    """Print what the test of shares of cells calls, by controls, cells and how wells vary."""
    print(
        "\n| wells of ±20% cells: controls on a plate, cells, share of a kind, sd between wells ",
        end="",
    )
    print("| p ≤ .05 | p ≤ .01 | p ≤ .001 | any found, q ≤ .05 | doubled wells found | false |")
    print("|---|---|---|---|---|---|---|")
    for controls, cells, share in ((3, 300, 0.3), (8, 300, 0.1), (16, 60, 0.1), (32, 1000, 0.008)):
        for spread in (0.0, 0.1, 0.2):
            random = np.random.default_rng(0)
            of = {"controls": controls, "cells": cells, "share": share, "spread": spread}
            nulls = [_screen(random, **of)[0] for _ in range(n_screens)]
            p, found = np.concatenate(nulls), [_found(each).any() for each in nulls]
            rates = [(p <= level).mean() for level in (0.05, 0.01, 0.001)] + [np.mean(found)]
            hits = [
                (_found(each), is_shifted)
                for each, is_shifted in (_screen(random, **of, shifted=0.1) for _ in nulls)
            ]
            rates.append(np.mean(np.concatenate([hit[own] for hit, own in hits])))
            rates.append(np.mean([hit[~own].sum() / max(hit.sum(), 1) for hit, own in hits]))
            name = f"{controls}, {cells}, {share:.1%}, {spread:.0%} of it"
            print(f"| {name} | {' | '.join(f'{rate:.4f}' for rate in rates)} |")


def _screen(
    random: np.random.Generator,
    *,
    controls: int,
    cells: int,
    share: float,
    spread: float,
    shifted: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """P-values of the 48 wells of a plate that are no controls, and which have twice the share."""
    is_shifted = np.append(np.zeros(controls, bool), random.random(48) < shifted)
    shares = share * (1 + is_shifted)
    if spread:
        size = (1 - shares) / shares / spread**2 - 1
        shares = random.beta(shares * size, (1 - shares) * size)
    totals = random.poisson(cells * np.exp(random.normal(0, 0.2, len(shares))))
    counts = random.binomial(totals, shares)
    is_control = np.arange(len(shares)) < controls
    angles = shares_apart(np.stack([counts, totals - counts], axis=1))
    p = deviation_p_values(angles, plate=np.zeros(len(shares), int), is_control=is_control)[:, 0]
    return p[controls:], is_shifted[controls:]


def _found(p_values: np.ndarray) -> np.ndarray:
    return q_values(p_values).to_numpy() <= LEVEL


def _p_of_cells(row: np.ndarray, pooled: np.ndarray) -> float:
    """Test shares as if every cell of a well were drawn on its own."""
    return float(np.asarray(chi2_contingency([row, pooled])[1]))


def null_p_values(n_draws: int) -> Iterator[tuple[str, list[float]]]:
    """Draw data in which there is nothing, and yield the p-values of each claim."""
    random = np.random.default_rng(0)
    for name, number in (("kmeans", 4), ("leiden", 1.0)):
        method, p_values = METHODS[name], []
        for seed in range(n_draws):
            cloud = random.normal(size=(96, 8)) * np.linspace(3, 1, 8)
            labels = method.prepare(cloud, seed=seed)(number)
            options = {"method": method, "number": number, "seed": seed}
            p_values.append(structure_p_value(cloud, labels, **options))
        yield f"clusters ({name}) are clearer than of one cloud", p_values
    wells = [_labelled(random) for _ in range(n_draws)]
    yield (
        "mechanism by nearest neighbour beats chance",
        [
            mechanisms(each, features=["x", "y"], mechanism="Metadata_MOA").accuracy["p_value"][0]
            for each in wells
        ],
    )
    clusters = pl.Series("Cluster", np.repeat([1, 2, 3, 4], 24))
    found = [enrichment(each, clusters=clusters, kinds={"MOA": "Metadata_MOA"}) for each in wells]
    yield "a mechanism is enriched in a cluster", pl.concat(found)["p_value"].to_list()
    known = np.arange(60) < 40
    points = [random.normal(size=(60, 5)) for _ in range(n_draws)]
    yield (
        "a well is novel",
        [p for x in points for p in strangeness(x, is_known=known).p_value[40:]],
    )


def _labelled(random: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "Metadata_Plate": "P",
            "Metadata_Compound": [f"c{i:02d}" for i in range(96)],
            "Metadata_MOA": random.permutation([f"m{i % 6}" for i in range(96)]).tolist(),
            "x": random.normal(size=96),
            "y": random.normal(size=96),
        }
    )


def print_calibration(n_draws: int = 40) -> None:
    """Print how often nothing is taken for something."""
    print("\n| claim, where there is nothing | tests | p ≤ 0.05 | p ≤ 0.2 |\n|---|---|---|---|")
    for name, p_values in null_p_values(n_draws):
        p = np.array(p_values)
        shares = " | ".join(f"{(p <= level).mean():.3f}" for level in (LEVEL, 0.2))
        print(f"| {name} | {len(p)} | {shares} |")


def print_memory(n_cells: int = 1_000_000, n_features: int = 50) -> None:
    """Print time and peak memory for a million cells, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        for i in range(384):
            well = random.normal(size=(n_cells // 384, n_features)).astype(np.float32)
            names = {"Metadata_Plate": pl.lit("P"), "Metadata_Well": pl.lit(f"W{i:03d}")}
            names |= {"Metadata_Site": pl.lit(1), "Metadata_ObjectNumber": pl.int_range(pl.len())}
            frame = pl.DataFrame(well, schema=[f"Cells_F{j}" for j in range(n_features)])
            frame.with_columns(**names).write_parquet(Path(folder) / f"{i:03d}.parquet")
        command = [sys.executable, "-m", "benchmarks.phenotypes", "--cells", folder]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def of_cells(folder: Path) -> None:
    """Find subpopulations in the cells of a folder and print what that takes."""
    cells = pl.scan_parquet(folder / "*.parquet")
    wells = pl.DataFrame(
        {"Metadata_Plate": "P", "Metadata_Well": [f"W{i:03d}" for i in range(384)]}
    ).with_columns(
        Metadata_Role=pl.when(pl.int_range(pl.len()) < 32)
        .then(pl.lit("negative"))
        .otherwise(pl.lit("treatment"))
    )
    features = [x for x in cells.collect_schema().names() if x.startswith("Cells_")]
    before = _peak_mb()
    _, seconds = _timed(partial(subpopulations, cells, wells, features=features))
    size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
    print("\n| cells | features | on disk, MB | seconds | peak memory, MB | before, MB |")
    print("|---|---|---|---|---|---|")
    n_cells = cells.select(pl.len()).collect().item()
    line = f"| {n_cells:,} | {len(features)} | {size:.0f} | {seconds} | "
    print(f"{line}{_peak_mb():.0f} | {before:.0f} |")


def _timed(work: Callable[[], T]) -> tuple[T, str]:
    """Do something, and tell what it took: by the clock, and of all processors together."""
    start, used = time.perf_counter(), time.process_time()
    result = work()
    return result, f"{time.perf_counter() - start:.1f} ({time.process_time() - used:.1f} CPU)"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str]) -> None:
    """Print every table; those of BBBC021 only where it is."""
    if arguments[:1] == ["--cells"]:
        of_cells(Path(arguments[1]))
        return
    shared = Path(arguments[0] if arguments else "../shared")
    if (shared / "data" / "bbbc021_profiles").is_dir():
        wells, features = read_profiles(shared)
        print(f"BBBC021: {wells.height} wells, {len(features)} features after selection\n")
        print_mechanisms(wells, features)
        print_consistency(wells, features)
        print_clusters(wells, features)
    else:
        print(f"No bbbc021_profiles in {shared / 'data'}: mechanisms and clusters are left out.")
    print_subpopulations()
    print_shares()
    print_calibration()
    print_memory()


if __name__ == "__main__":
    main(sys.argv[1:])
