"""What measuring the full set costs, beside cp_measure on the same field, masks and threads.

    python -m benchmarks.measure [../shared] [--repeats 5] [--quick] [--ours-only]

cp_measure runs with its numba accelerator, as many of its calls at a time as there are threads.
Both have warmed up; ours is the best of several, theirs of two. The answer is asserted first: on
every field at least 95% of the shared features agree within one part in a thousand.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import incumbent
from benchmarks.feature_parity import OURS_ALONE, TOLERANCE, compare
from benchmarks.fields import STAINS, Case, cellprofilers_own, drawn
from plates.synthetic import Phenotype
from profiler.measure import FAMILIES, CellLabels, Plan, measure, plan_measurement

FULL = tuple(name for name in FAMILIES if name not in OURS_ALONE)
AGREE = 0.95
MODULES = {  # of cp_measure, for each of our families
    "AreaShape": ("sizeshape", "zernike", "feret"),
    "Intensity": ("intensity",),
    "Texture": ("texture",),
    "Granularity": ("granularity",),
    "RadialDistribution": ("radial_distribution",),
    "RadialZernike": ("radial_zernikes",),
    "Correlation": ("pearson", "manders_fold", "rwc", "costes", "overlap"),
    "Neighbors": ("neighbors_1", "neighbors_5", "neighbors_0"),
}
CELLPROFILER = 35.9  # s, one thread, 37 cells: ../shared/reference/cellprofiler/README.md


def best(run: Callable[[], object], repeats: int) -> float:
    """Best wall time of `run`."""

    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))


def plan_for(case: Case, *, families: tuple[str, ...] = FULL, threads: int = 1) -> Plan:
    """Plan the full set, or a part of it, for one field."""
    wants_scale = {"Correlation"} & set(families)
    options = {name: {"scale_max": case.scale_max} for name in wants_scale}
    return plan_measurement(
        families=families, stains=case.stains, max_cells=case.cells, backend="cpu",
        threads=threads, options=options,
    )  # fmt: skip


def check(case: Case, theirs: incumbent.Measured) -> str:
    """Assert that both give the same numbers, and say how many."""
    plan = plan_for(case)
    table = measure(case.image, case.labels, plan=plan)
    place = {name: i for i, name in enumerate(plan.columns)}
    agree = []
    for column, values in theirs.columns.items():
        if column in place:
            present = incumbent.present_rows(case, column.split("_")[0])
            found = compare(column, table.features[present, place[column]], values)
            agree.append(found.difference <= TOLERANCE)
    assert np.mean(agree) >= AGREE, np.mean(agree)
    return f"{np.mean(agree):.1%} of {len(agree)} shared features agree within 1e-3"


def against_cp_measure(case: Case, repeats: int) -> None:
    """Print both times, on one thread and on two, and each family's share of ours."""
    theirs = {threads: _their_best(case, threads) for threads in (1, 2)}
    print(f"\n## {case.name}: {check(case, theirs[1][1])}\n")
    count = len(plan_for(case).columns) + len(plan_for(case).image_columns)
    print(f"| threads | ours, s ({count} features) | cp_measure, s "
          f"({len(theirs[1][1].columns)} features) | ratio | ratio without Costes |")  # fmt: skip
    print("|---|---|---|---|---|")
    for threads, (their, found) in theirs.items():
        with threadpool_limits(threads):
            plan = plan_for(case, threads=threads)
            own = best(lambda plan=plan: measure(case.image, case.labels, plan=plan), repeats)
        costes = found.seconds["costes"] / threads
        print(f"| {threads} | {own:.3f} | {their:.1f} | {their / own:.0f}x "
              f"| {(their - costes) / own:.0f}x |")  # fmt: skip
    _shares(case, theirs[1][1], repeats)


def _their_best(case: Case, threads: int) -> tuple[float, incumbent.Measured]:
    with threadpool_limits(threads):
        found = incumbent.measure(case, threads=threads)
        return best(lambda: incumbent.measure(case, threads=threads), 1), found


def _shares(case: Case, theirs: incumbent.Measured, repeats: int) -> None:
    print("\n| family, alone on one thread | ours, ms | share | cp_measure, ms | ratio |")
    print("|---|---|---|---|---|")
    own = {}
    with threadpool_limits(1):
        for name in FULL:
            plan = plan_for(case, families=(name,))
            own[name] = best(lambda plan=plan: measure(case.image, case.labels, plan=plan), repeats)
    for name, spent in sorted(own.items(), key=lambda item: -item[1]):
        their = sum(theirs.seconds.get(module, 0.0) for module in MODULES.get(name, ()))
        beside = f"{1000 * their:.0f} | {their / spent:.0f}x" if their else "- | -"
        print(f"| {name} | {1000 * spent:.1f} | {spent / sum(own.values()):.0%} | {beside} |")


def scaling(repeats: int, *, sizes: tuple[int, ...]) -> None:
    """Print what a field costs by how many cells it has, and several fields."""
    print("\n## Cost by cells, one thread, 1080 px, cells as small as their number asks\n")
    print("| cells | foreground, kpx | ms | ms per cell | us per foreground px |")
    print("|---|---|---|---|---|")
    for cells in sizes:
        case = crowd(cells)
        inside = (case.labels.cells > 0).sum()
        with threadpool_limits(1):
            plan = plan_for(case)
            spent = best(lambda p=plan, c=case: measure(c.image, c.labels, plan=p), repeats)
        print(f"| {case.cells} | {inside / 1000:.0f} | {1000 * spent:.0f} "
              f"| {1000 * spent / case.cells:.2f} | {1e6 * spent / inside:.2f} |")  # fmt: skip


def crowd(cells: int, *, size: int = 1080) -> Case:
    """Draw a field of about so many cells, all of one size, so that only their number varies."""
    step = 24  # pixels: 2,025 cells fill the field
    per_row = size // step
    y, x = np.mgrid[:size, :size]
    row, column = y // step, x // step
    away = (y % step - step / 2) ** 2 + (x % step - step / 2) ** 2
    order = np.random.default_rng(0).permutation(per_row**2)
    rank = np.full((size // step + 1, size // step + 1), per_row**2)
    rank[:per_row, :per_row] = order.reshape(per_row, per_row)
    label = np.where(rank[row, column] < cells, rank[row, column] + 1, 0).astype(np.int32)
    body, core = np.where(away <= 11**2, label, 0), np.where(away <= 5.5**2, label, 0)
    texture = np.random.default_rng(1).gamma(4.0, 0.02, (size, size, len(STAINS)))
    image = np.clip(texture * (1 + (body > 0) + (core > 0))[..., None], 0, 1)
    levels = (np.round(image * 65535) / 65535).astype(np.float32)
    labels = (core, body, np.where(core > 0, 0, body))
    return Case(f"{cells} cells", STAINS, levels, CellLabels(*labels), 65535)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one small field")
    parser.add_argument("--ours-only", action="store_true", help="without cp_measure: minutes less")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores; {len(FULL)} families: {', '.join(FULL)}")
    real = [cellprofilers_own(args.shared)] if (args.shared / "reference").is_dir() else []
    if args.quick:
        against_cp_measure(drawn(Phenotype(), size=400, seed=1), args.repeats)
        return
    if not args.ours_only:
        for case in (drawn(Phenotype(n_cells=150), size=1080, seed=1), *real):
            against_cp_measure(case, args.repeats)
    for case in real:
        beside_cellprofiler(case, args.repeats)
    scaling(args.repeats, sizes=(20, 100, 500, 2000))


def beside_cellprofiler(case: Case, repeats: int) -> None:
    """Print our time for the field that CellProfiler's tables were made of."""
    with threadpool_limits(1):
        plan = plan_for(case)
        measure(case.image, case.labels, plan=plan)
        own = best(lambda: measure(case.image, case.labels, plan=plan), repeats)
    print(
        f"\nCellProfiler 4.2.8.1 took {CELLPROFILER} s for {case.name}, {case.cells} cells, when "
        f"its tables were made (one thread, another run); ours {own:.2f} s: "
        f"{CELLPROFILER / own:.0f}x."
    )


if __name__ == "__main__":
    main()
