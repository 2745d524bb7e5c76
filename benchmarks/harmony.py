"""Harmony beside harmonypy, on real profiles: do they correct alike, and as well?

    python -m benchmarks.harmony [../shared] [--python PYTHON]

BBBC021's wells (robust z of DMSO, clipped at 5) with weeks as batches, all features and 100
principal components. harmonypy is under the GPL and no part of this project: install it into an
environment of its own, and name that environment's interpreter with --python; without one only
ours is shown. Both run the algorithm as published (theta 2, lambda 1, sigma .1), so that what is
left between them is the order in which rows are assigned and where the clusters start.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl
from sklearn.metrics import silhouette_score

from benchmarks.profiles_moa import (
    DMSO,
    cosines,
    defined,
    has_profiles,
    judge,
    read_wells,
    treatments_of,
)
from profiler.profile import compress, normalise, phenotype_features
from profiler.profile.correction.harmony import harmonise

BATCH = "Metadata_Batch"
CLUSTERS = 20
THEIRS = """
import sys, time
import harmonypy, numpy as np
folder = sys.argv[1]
values, batch = np.load(folder + "/values.npy"), np.load(folder + "/batch.npy")
start = time.perf_counter()
found = harmonypy.run_harmony(
    values, {"batch": [f"b{i}" for i in batch]}, ["batch"], theta=2.0, lamb=1.0, sigma=0.1,
    nclust=int(sys.argv[2]), max_iter_harmony=10, max_iter_kmeans=20, epsilon_cluster=1e-5,
    epsilon_harmony=1e-4, batch_prop_cutoff=0.0, verbose=False, ncores=1,
)
corrected = np.asarray(found.Z_corr)
np.save(folder + "/found.npy", corrected if corrected.shape == values.shape else corrected.T)
print(time.perf_counter() - start)
"""


def real_wells(shared: Path) -> tuple[pl.DataFrame, list[str]]:
    """BBBC021's wells, robust z clipped at 5, and their features."""
    wells = read_wells(shared)
    features = phenotype_features(x for x in wells.columns if not x.startswith("Metadata_"))
    scaled = normalise(wells, features=features, method="mad_robustize", reference=DMSO)
    table, kept = defined(scaled)
    return compress(table, features=kept, limit=5.0).table, kept


def components(values: np.ndarray, n: int = 100) -> np.ndarray:
    """The first principal components of the rows."""
    left, size, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    return left[:, :n] * size[:n]


def theirs(python: str, values: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, float]:
    """What harmonypy makes of it, and its seconds, imports left out."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/values.npy", values)
        np.save(f"{folder}/batch.npy", batch)
        command = [python, "-c", THEIRS, folder, str(CLUSTERS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return np.load(f"{folder}/found.npy"), json.loads(done.stdout.splitlines()[-1])


def right(wells: pl.DataFrame, values: np.ndarray) -> str:
    """Treatments that find their mechanism, not by their own compound, nor by their own week."""
    names = [f"Cells_F{i}" for i in range(values.shape[1])]
    table = wells.select(pl.col("^Metadata_.*$")).hstack(pl.DataFrame(values, schema=names))
    found = judge(cosines(table, names, how="mean"), treatments_of(wells))
    return f"{found.nsc.sum()} / {found.nscb.sum()}"


def line(who: str, wells: pl.DataFrame, values: np.ndarray, more: str) -> None:
    """Print one row: how far weeks are apart, how well mechanisms are found."""
    apart = silhouette_score(values, wells[BATCH].to_numpy())
    print(f"| {who} | {apart:.3f} | {right(wells, values)} | {more} |", flush=True)


def compare(wells: pl.DataFrame, values: np.ndarray, *, what: str, python: str | None) -> None:
    """Print what one matrix becomes by ours, with three seeds, and by theirs."""
    batch = wells[BATCH].rank("dense").to_numpy().astype(np.int64) - 1
    print(f"\n{what}\n\n| who | silhouette of weeks | NSC / NSCB | s | shifts, r with seed 0 |")
    print("|---|---|---|---|---|")
    line("uncorrected", wells, values, "|")
    first = harmonise(values, batch, n_clusters=CLUSTERS) - values
    for seed in range(3):
        start = perf_counter()
        found = harmonise(values, batch, n_clusters=CLUSTERS, seed=seed)
        took = perf_counter() - start
        line(f"ours, seed {seed}", wells, found, f"{took:.1f} | {alike(found - values, first):.3f}")
    if python:
        found, took = theirs(python, values, batch)
        line("harmonypy", wells, found, f"{took:.1f} | {alike(found - values, first):.3f}")


def alike(shifts: np.ndarray, first: np.ndarray) -> float:
    """Correlation of what two corrections take away."""
    return float(np.corrcoef(shifts.ravel(), first.ravel())[0, 1])


def main() -> None:
    """Compare on all features, and on components."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", nargs="?", type=Path, default=Path("../shared"))
    parser.add_argument("--python", help="Interpreter of an environment that has harmonypy.")
    args = parser.parse_args()
    if not has_profiles(args.shared):
        print(f"{args.shared}/data/bbbc021_profiles is not here; nothing to compare.")
        return
    wells, features = real_wells(args.shared)
    values = wells.select(features).to_numpy()
    compare(wells, values, what=f"{len(features)} features, by week", python=args.python)
    compare(wells, components(values), what="100 principal components", python=args.python)


if __name__ == "__main__":
    main()
