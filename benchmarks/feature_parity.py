"""Our features beside CellProfiler's and cp_measure's on the same pixels and masks.

    python -m benchmarks.feature_parity ../shared [--kernels cpu jax] [--worst 20]

A feature agrees if every cell's two values are within one part in a thousand of the larger of the
value and a thousandth of the feature's own size (its root mean square over the field's cells): a
relative difference has no meaning where a signed feature crosses 0, nor below 1e-10, where sums
that are 0 leave what rounding left. Angles are compared around the circle. Its rank order agrees
if Spearman's correlation over the cells is at least .99, or it does not vary. Where one side is
undefined, so must the other be. The last row leaves out what docs/features.md names as different.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from benchmarks import incumbent
from benchmarks.fields import Case, cases, cellprofilers_own
from profiler.measure import COMPARTMENTS, FAMILIES, measure, plan_measurement
from profiler.measure.differences import is_named

TOLERANCE = 1e-3
RANKS = 0.99
NOISE = 1e-10
MOST = 0.99  # of the cells
OURS_ALONE = {"Translocation"}
CIRCLES = {"ZernikePhase": 2 * np.pi, "Orientation": 180.0}
NEIGHBORS = {"Nuclei": [10], "Cells": [], "Cytoplasm": []}  # as CellProfiler's CSVs were made


class Compared(NamedTuple):
    """One feature of one field.

    Attributes:
        column: Its name.
        difference: The largest relative difference over the cells; infinite where one side alone
            is undefined.
        spearman: Over the cells; 1 for a feature that does not vary.
        cells: Of those, how many differ.
        of: How many there are.
    """

    column: str
    difference: float
    spearman: float
    cells: int
    of: int

    @property
    def family(self) -> str:
        """For the table: group, and of the large ones the part."""
        group, part = self.column.split("_")[1:3]
        if group in ("AreaShape", "RadialDistribution", "Correlation"):
            kind = re.sub(r"(Zernike|Moment|InertiaTensor).*", r"\1", part)
            return f"{group}: {kind}" if kind != part or group != "AreaShape" else group
        return group


class Comparison(NamedTuple):
    """One field beside one reference: its name for `differences`, a title, and all features."""

    reference: str
    title: str
    features: list[Compared]


def compare(column: str, ours: np.ndarray, theirs: np.ndarray) -> Compared:
    """Compare one feature over the cells of a field."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    a, b = ours[both], theirs[both]
    size = np.sqrt(np.mean(b**2)) if len(b) else 0.0
    gap = np.abs(a - b)
    for part, circle in CIRCLES.items():
        if part in column:
            gap = np.minimum(gap, circle - gap)
            size = circle / TOLERANCE  # of the circle, wherever on it
    with np.errstate(invalid="ignore", divide="ignore"):
        least = max(TOLERANCE * size, NOISE)
        difference = np.nan_to_num(gap / np.maximum(np.abs(b), least), nan=0.0)
    undefined = np.isfinite(ours) != np.isfinite(theirs)
    worst = np.inf if undefined.any() else difference.max(initial=0.0)
    wrong = int((difference > TOLERANCE).sum() + undefined.sum())
    return Compared(column, float(worst), _spearman(a, b, worst), wrong, len(ours))


def _spearman(a: np.ndarray, b: np.ndarray, worst: float) -> float:
    if worst <= TOLERANCE or len(a) < 3:  # ranks of values that are equal tell nothing more
        return 1.0 if worst <= TOLERANCE else 0.0
    if np.ptp(b) == 0 or np.ptp(a) == 0:
        return float(np.ptp(a) == np.ptp(b))
    return float(stats.spearmanr(a, b).statistic)


def ours(case: Case, kernel: str, *, theirs: str) -> dict[str, np.ndarray]:
    """Measure a field by all families, with the options that the others were run with."""
    options = {"Correlation": {"scale_max": case.scale_max}}
    if theirs == "CellProfiler":
        options["Neighbors"] = {"within_px": NEIGHBORS, "adjacent": ["Cells", "Cytoplasm"]}
    plan = plan_measurement(
        families=tuple(FAMILIES.keys() - OURS_ALONE - {"Threshold"}),
        stains=case.stains,
        max_cells=case.cells,
        backend=kernel,
        options=options,
    )
    table = measure(case.image, case.labels, plan=plan)
    return {name: table.features[:, i] for i, name in enumerate(plan.columns)}


def against_cellprofiler(shared: Path, kernel: str) -> Comparison:
    """Compare with CellProfiler's own tables of a real field."""
    case = cellprofilers_own(shared)
    found = ours(case, kernel, theirs="CellProfiler")
    compared = []
    for compartment in COMPARTMENTS:
        for column, values in _tables(shared, compartment):
            name = _ours(f"{compartment}_{column}", found)
            if name:
                compared.append(compare(name, found[name], values))
    return Comparison("CellProfiler", f"CellProfiler 4.2.8.1, {case.name}", compared)


def against_cp_measure(case: Case, kernel: str) -> Comparison:
    """Compare with cp_measure's values of any field."""
    found = ours(case, kernel, theirs="cp_measure")
    theirs = incumbent.measure(case).columns
    compared = []
    for column, values in theirs.items():
        present = incumbent.present_rows(case, column.split("_")[0])
        if column in found:
            compared.append(compare(column, found[column][present], values))
    return Comparison("cp_measure", f"cp_measure, {case.name}", compared)


def _tables(shared: Path, compartment: str) -> Iterator[tuple[str, np.ndarray]]:
    for suffix in ("", "_radial_zernike"):
        path = shared / "reference" / "cellprofiler" / f"{compartment}{suffix}.csv"
        table = pl.read_csv(path).sort("ObjectNumber")
        for name in table.columns:
            if "_" in name and (not suffix or "Zernike" in name):
                yield name, table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _ours(column: str, found: dict[str, np.ndarray]) -> str | None:
    """Our name of their column: where a pair has no order, theirs is the pipeline's."""
    *rest, first, second = column.split("_")
    return next((n for n in (column, "_".join((*rest, second, first))) if n in found), None)


def main() -> None:
    """Print one table by family for each field, reference and kernel, and the worst features."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--kernels", nargs="+", default=["cpu", "jax"], choices=["cpu", "jax"])
    parser.add_argument("--worst", type=int, default=12)
    args = parser.parse_args()
    for kernel in args.kernels:
        if (args.shared / "reference").is_dir():
            report(kernel, against_cellprofiler(args.shared, kernel), worst=args.worst)
        for case in cases(args.shared):
            report(kernel, against_cp_measure(case, kernel), worst=args.worst)


def report(kernel: str, comparison: Comparison, *, worst: int) -> None:
    """Print a table by family, and name what differs."""
    columns = ["family", *Compared._fields]
    frame = pl.DataFrame(
        [(c.family, *c) for c in comparison.features], schema=columns, orient="row"
    ).with_columns(
        within=pl.col("difference") <= TOLERANCE,
        mostly=pl.col("cells") <= (1 - MOST) * pl.col("of"),
        ranked=pl.col("spearman") >= RANKS,
    )
    named = pl.Series(
        is_named(column, reference=comparison.reference) for column in frame["column"]
    )
    families = [*frame.sort("family").group_by("family", maintain_order=True)]
    rows = [*families, (("all",), frame), (("all but named differences",), frame.filter(~named))]
    print(f"\n## {kernel} kernels against {comparison.title}\n")
    print("| family | features | within 1e-3 in all cells | in 99% of cells | Spearman >= .99 "
          "| median difference | worst |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for (family,), part in rows:
        print(
            f"| {family} | {part.height} | {part['within'].mean():.1%} "
            f"| {part['mostly'].mean():.1%} | {part['ranked'].mean():.1%} "
            f"| {part['difference'].median():.1e} | {part['difference'].max():.1e} |"
        )
    for row in (
        frame.filter(~pl.col("within")).sort("difference", descending=True)[:worst].rows(named=True)
    ):
        print(f"- {row['column']}: {row['difference']:.1e} in {row['cells']} cells, "
              f"Spearman {row['spearman']:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
