"""The main job on a real plate: BBBC013, nuclear translocation of FKHR-EGFP.

    python -m benchmarks.bbbc013 ../shared [--out runs/bbbc013]

Runs `profiler run --recipe translocation` (going on with what is in --out), and prints what the
assay is judged by beside what CellProfiler's own pipeline and a crude threshold gave on the same
images. Z' is over all 8 positive and 16 negative control wells of both halves; Spearman is of
dose against response over the 36 treatment wells of a compound.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
from scipy import stats

import profiler
from profiler.pipeline import run
from profiler.progress import draw
from profiler.recipe import load_recipe
from profiler.request import Request
from profiler.store.screen import Screen

LINEAR = "Cells_Translocation_NucleusCytoplasmRatio_GFP"
LOG = "Cells_Translocation_NucleusCytoplasmLog2Ratio_GFP"  # what the recipe ranks by


class Line(NamedTuple):
    """One line of the table.

    Attributes:
        question: What is asked.
        ours: The answer.
        goal: What it must reach.
        is_reached: Whether it does.
        theirs: What others gave, and who.
    """

    question: str
    ours: str
    goal: str
    is_reached: bool
    theirs: str


def lines(screen: Screen, reference: Path) -> Iterator[Line]:
    """Answer every question that the plate can answer."""
    wells, hits = screen.wells.collect(), screen.hits.collect()
    done = wells.filter(pl.col("Metadata_QC_Status") == "ok").height
    yield Line("wells", f"{done} of 96", "96", done == 96, "96")
    yield from _statistics(screen)
    yield from _doses(screen, hits)
    yield _counts(wells, reference)
    positive, negative = (
        hits.filter(pl.col("Metadata_Role") == role)["readout_z"]
        for role in ("positive", "negative")
    )
    apart = positive.min() > negative.max()
    yield Line("every positive above every negative", str(apart), "True", apart, "-")
    yield from _kinds(screen)
    seconds = screen.fields.select(pl.col("Metadata_Seconds").median()).collect().item()
    yield Line(
        "seconds a field (segment and measure), this machine",
        f"{seconds:.2f}",
        "< 4.5",
        seconds < 4.5,
        "4.5 (CellProfiler, one core)",
    )


def _kinds(screen: Screen) -> Iterator[Line]:
    """How far apart the shares of kinds of cells are, which nobody told of treatments."""
    roles = screen.wells.select("Metadata_Well", "Metadata_Role").collect()
    shares = screen.subpopulations.collect().join(roles, on="Metadata_Well")
    mean = shares.group_by("subpopulation", "Metadata_Role").agg(pl.col("share").mean())
    wide = mean.pivot("Metadata_Role", index="subpopulation", values="share")
    apart = (wide["positive"] - wide["negative"]).abs().sum() / 2
    text = f"{apart:.2f} ({wide.height} kinds)"
    yield Line("share of cells of another kind, controls", text, ">= 0.5", apart >= 0.5, "-")
    treated = shares.filter(pl.col("Metadata_Role") == "treatment")
    shifted = treated.filter(pl.col("q_value") <= 0.05)["Metadata_Well"].n_unique()
    of = treated["Metadata_Well"].n_unique()
    yield Line(
        "treated wells whose kinds shifted", f"{shifted} of {of}", ">= half", 2 * shifted >= of, "-"
    )


def _statistics(screen: Screen) -> Iterator[Line]:
    table = screen.statistics.collect()
    named = table.filter(pl.col("readout") == LOG)["z_prime"].item()
    linear = table.filter(pl.col("readout") == LINEAR)["z_prime"].item()
    theirs = "0.76 (CellProfiler's ratio), 0.77 (Otsu + ring)"
    yield Line(
        "Z' of the nuclear / cytoplasmic GFP ratio",
        f"{linear:.3f}",
        ">= 0.80",
        linear >= 0.8,
        theirs,
    )
    yield Line("Z' of its log2, which ranks", f"{named:.3f}", ">= 0.80", named >= 0.8, "-")
    name = screen.runs[0].facts.summary["best_readout"]
    best = table.filter(pl.col("readout") == name)["z_prime"].item()
    yield Line(
        f"Z' of the best readout ({name})",
        f"{best:.3f}",
        "> 0.85",
        best > 0.85,
        "0.824 (CellProfiler's best of 819)",
    )


def _doses(screen: Screen, hits: pl.DataFrame) -> Iterator[Line]:
    curves = screen.curves.filter(pl.col("readout") == LINEAR).collect()
    crude = {"wortmannin": ".917 / about 12 nM by eye", "LY294002": ".947 / about 5 uM by eye"}
    for compound, theirs in crude.items():
        wells = hits.filter(
            (pl.col("Metadata_Compound") == compound) & (pl.col("Metadata_Role") == "treatment")
        )
        rho = stats.spearmanr(wells["Metadata_Concentration"], wells["readout_value"]).statistic
        yield Line(
            f"Spearman of dose, {compound}",
            f"{rho:.3f}",
            ">= 0.9",
            rho >= 0.9,
            theirs.split(" / ")[0],
        )
        curve = curves.filter(pl.col("Metadata_Compound") == compound).row(0, named=True)
        low, ec50, high = (f"{curve[name]:.3g}" for name in ("ec50_low", "ec50", "ec50_high"))
        yield Line(
            f"EC50, {compound}",
            f"{ec50} {curve['Metadata_Unit']} ({low} to {high})",
            "with interval",
            curve["status"] == "ok",
            theirs.split(" / ")[1],
        )


def _counts(wells: pl.DataFrame, reference: Path) -> Line:
    theirs = pl.read_csv(
        reference / "bbbc013_nuclei_per_well.csv",
        has_header=False,
        new_columns=["Metadata_Well", "theirs"],
    )
    both = wells.join(theirs, on="Metadata_Well")
    rho = stats.spearmanr(both["Metadata_Object_Count"], both["theirs"]).statistic
    total = f"{both['Metadata_Object_Count'].sum():,} nuclei"
    return Line(
        "Spearman of nuclei per well with CellProfiler's",
        f"{rho:.3f} ({total})",
        ">= 0.95",
        rho >= 0.95,
        "17,719 nuclei",
    )


def main() -> None:
    """Run the plate, print the table, and say what was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/bbbc013"))
    args = parser.parse_args()
    plate = args.shared / "data" / "bbbc013"
    draw(run(Request(
        plates=(plate / "images",), out=args.out, layout=plate / "platemap.csv",
        recipe=load_recipe("translocation"),
    )))  # fmt: skip
    screen = profiler.open(args.out)
    table = list(lines(screen, args.shared / "reference" / "cellprofiler"))
    print("| question | ours | goal | others |\n|---|---|---|---|")
    for line in table:
        mark = "" if line.is_reached else " MISSED"
        print(f"| {line.question} | {line.ours} | {line.goal}{mark} | {line.theirs} |")
    missed = [line.question for line in table if not line.is_reached]
    print(f"\n{len(table) - len(missed)} of {len(table)} goals reached.")


if __name__ == "__main__":
    main()
