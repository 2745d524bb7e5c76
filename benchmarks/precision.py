"""Mean average precision against copairs: the same answer, time, memory.

    python -m benchmarks.precision [--wells 3072] [--many 9216]

One made-up screen, replicates ranked among all wells of other compounds, by both in this process
and in turn. Every average precision is equal to 1e-9, but for a few wells in which copairs'
single precision makes a tie; there ours must equal scikit-learn's in double precision. Then
ours alone at 9,216 wells, where copairs needs more than 14 GB.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TypeVar

import numpy as np
import polars as pl

from profiler.hits import Matching, average_precision, mean_average_precision
from profiler.profile import feature_columns

COMPOUND = "Metadata_Compound"
MATCHING = Matching(same=(COMPOUND,), within=(), against="others")
T = TypeVar("T")
NULL_SIZE = 10_000
Q = 0.05
FASTER, MOST_GB = 20, 4


def replicates(n_wells: int, *, features: int = 300, per_compound: int = 4) -> pl.DataFrame:
    """Wells of compounds, a third of which do something, on plates of 384."""
    random = np.random.default_rng(0)
    compound = np.arange(n_wells) // 384 // per_compound * 384 + np.arange(n_wells) % 384
    effects = random.normal(scale=0.5, size=(compound.max() + 1, features))
    effects[random.random(len(effects)) > 1 / 3] = 0
    values = random.normal(size=(n_wells, features)) + effects[compound]
    keys = {
        "Metadata_Plate": [f"P{i // 384:03d}" for i in range(n_wells)],
        COMPOUND: [f"C{i:05d}" for i in compound],
    }
    return pl.DataFrame(keys).hstack(
        pl.DataFrame(values, schema=[f"Cells_Made_F{i}" for i in range(features)])
    )


def ours(wells: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Per well, and per compound with p- and q-values."""
    found = average_precision(wells, matching=MATCHING)
    return found, mean_average_precision(found, per=[COMPOUND])


def theirs(wells: pl.DataFrame) -> tuple[np.ndarray, pl.DataFrame]:
    """The same by copairs."""
    import copairs.map

    meta = wells.select(pl.col("^Metadata_.*$")).to_pandas()
    found = copairs.map.average_precision(
        meta, values_of(wells), [COMPOUND], [], [], [COMPOUND], progress_bar=False
    )
    with tempfile.TemporaryDirectory() as cache:
        means = copairs.map.mean_average_precision(
            found, [COMPOUND], NULL_SIZE, Q, 0, progress_bar=False, cache_dir=cache
        )
    means = pl.from_pandas(means[[COMPOUND, "p_value"]])
    return found["average_precision"].to_numpy(), means


def values_of(wells: pl.DataFrame) -> np.ndarray:
    """The profiles."""
    return wells.select(feature_columns(wells)).to_numpy()


def timed(run: Callable[[], T]) -> tuple[T, float, float]:
    """What `run` returns, its seconds, and the process's peak memory after it, in GB."""
    start = time.perf_counter()
    result = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return result, time.perf_counter() - start, peak


def against_copairs(n_wells: int, *, many: int) -> Iterator[str]:
    """Time both where copairs runs, ours where it does not, and hold answers side by side."""
    ours(replicates(384 * 2))  # compile
    wells = replicates(n_wells)
    (mine, compounds), seconds, peak = timed(lambda: ours(wells))
    _, many_seconds, many_peak = timed(lambda: ours(replicates(many)))  # peaks only grow
    (precision, means), their_seconds, their_peak = timed(lambda: theirs(wells))
    tied = check_equal(mine, precision, values_of(wells))
    yield "| wells | ours | copairs | times faster | peak memory ours / copairs | equal to 1e-9 |"
    yield "|---|---|---|---|---|---|"
    faster = their_seconds / seconds
    times = f"{seconds:.2f} s | {their_seconds:.1f} s | {faster:.0f}"
    equal = f"{n_wells - tied:,}; {tied} tie in float32"
    memory = f"{peak:.2f} / {their_peak:.2f} GB"
    yield f"| {n_wells:,} | {times} | {memory} | {equal} |"
    yield f"| {many:,} | {many_seconds:.2f} s | - | - | {many_peak:.2f} / - GB | - |"
    reached = faster >= FASTER and many_peak < MOST_GB
    goal = f"at least {FASTER} times faster, {many:,} wells in under {MOST_GB} GB"
    yield f"\nGoal: {goal}: {'reached' if reached else 'MISSED'}.\n"
    joined = compounds.join(means, on=COMPOUND).filter(pl.col("p_value_right") > 0.01)
    ratio = joined["p_value"] / joined["p_value_right"]
    yield (
        f"copairs {version('copairs')}. p-values above 0.01, ours over theirs: median "
        f"{ratio.median():.3f}, 1st to 99th percentile {ratio.quantile(0.01):.3f} to "
        f"{ratio.quantile(0.99):.3f} (their null has {NULL_SIZE:,} draws)."
    )


def check_equal(ours: pl.DataFrame, theirs: np.ndarray, values: np.ndarray) -> int:
    """Assert that answers agree; count the wells where copairs rounds two likenesses to one."""
    from sklearn.metrics import average_precision_score

    mine = ours["average_precision"].to_numpy()
    apart = np.flatnonzero(np.abs(mine - theirs) > 1e-9)
    assert len(apart) <= 0.01 * len(mine), len(apart)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    compound = ours[COMPOUND].to_numpy()
    for i in apart:
        others = np.arange(len(unit)) != i
        likeness = unit @ unit[i]
        right = average_precision_score((compound == compound[i])[others], likeness[others])
        assert abs(mine[i] - right) < 1e-9
    return len(apart)


def main() -> None:
    """Time, check, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wells", type=int, default=3072)
    parser.add_argument("--many", type=int, default=9216)
    args = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, numpy {np.__version__}, polars {pl.__version__}\n")
    for line in against_copairs(args.wells, many=args.many):
        print(line, flush=True)


if __name__ == "__main__":
    main()
