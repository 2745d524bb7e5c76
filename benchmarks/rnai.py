"""A genome-wide RNAi screen of cell viability (Boutros et al. 2004, Science 303:832), hits ranked.

    python -m benchmarks.rnai ../shared

Reads 57 plates x 2 replicates from their plate-reader files and screen log, ranks the dsRNAs by
several ways of normalising, and prints how each agrees with the published scores. The published
way is a z-score: mean and sd of the plate's sample wells, on the reader's own scale, both
replicates averaged; it is what the goals are for. The robust ways are what one would choose
today. Then what position and plate do to the readout, before and after.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from scipy import stats

from plates.plate_reader import read_plate_reader
from profiler.hits.quality.drift import position_effects, run_drift
from profiler.hits.scores.b_score import b_score
from profiler.profile import is_role, robust_z
from profiler.profile.scaling.normalise import normalise

SAMPLES = is_role("treatment")
GOAL_RHO, GOAL_TOP = 0.99, 170
TOP = 200


def plate_z(wells: pl.DataFrame) -> pl.DataFrame:
    """The published way."""
    features = ["Value"]
    return normalise(wells, features=features, method="standardize", reference=SAMPLES).table


def log_robust_z(wells: pl.DataFrame) -> pl.DataFrame:
    """Median and MAD of the plate's samples, on the log scale."""
    return robust_z(logged(wells), features=["Value"], reference=SAMPLES)


def log_b_score(wells: pl.DataFrame) -> pl.DataFrame:
    """Rows and columns taken out as well."""
    return b_score(logged(wells), features=["Value"], reference=SAMPLES)


def raw_b_score(wells: pl.DataFrame) -> pl.DataFrame:
    """The same on the reader's scale."""
    return b_score(wells, features=["Value"], reference=SAMPLES)


def logged(wells: pl.DataFrame) -> pl.DataFrame:
    """Light in powers of two."""
    return wells.with_columns(pl.col("Value").log(2))


WAYS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "plate z-score (the published way)": plate_z,
    "log2, robust z": log_robust_z,
    "log2, B-score": log_b_score,
    "B-score": raw_b_score,
}


def load(folder: Path) -> pl.DataFrame:
    """The screen, with flagged wells left without a value."""
    wells = read_plate_reader(
        folder / "Platelist.txt",
        configuration=folder / "Plateconf.txt",
        log=folder / "Screenlog.txt",
        annotation=folder / "GeneIDs_Dm_HFA_1.1.txt",
    )
    is_ok = pl.col("Metadata_QC_Status") == "ok"
    return wells.with_columns(Value=pl.when(is_ok).then("Value"))


def published(folder: Path) -> pl.DataFrame:
    """The scores of 2003: high where a gene is needed."""
    table = pl.read_csv(folder / "Analysis2003.txt", separator="\t", null_values=["NA"])
    return table.select(
        Metadata_Library="Plate", Metadata_Well="Well", published="Score", gene="GeneID"
    )


def agreement(scored: pl.DataFrame, theirs: pl.DataFrame) -> tuple[float, int, int, float]:
    """Spearman with the published scores, common top hits, wells compared, replicate r."""
    key = ["Metadata_Library", "Metadata_Well"]
    mean = scored.group_by(key).agg((-pl.col("Value")).mean().alias("ours"))
    both = theirs.join(mean, on=key).drop_nulls("ours")
    first, second = (
        both.sort(name, descending=True).head(TOP).select(key) for name in ("ours", "published")
    )
    rho = stats.spearmanr(both["ours"], both["published"]).statistic
    wide = scored.filter(SAMPLES).pivot("Metadata_Replicate", index=key, values="Value")
    pair = wide.drop_nulls()
    r = stats.pearsonr(pair["1"], pair["2"]).statistic
    return float(rho), first.join(second, on=key).height, both.height, float(r)


def effects(wells: pl.DataFrame, name: str) -> str:
    """One line: what position and plate explain of a readout."""
    plates = position_effects(wells, readouts=["Value"], reference=SAMPLES)
    run = run_drift(wells, readouts=["Value"], reference=SAMPLES).row(0, named=True)
    medians = plates.select(
        pl.col("edge_shift").abs().median(), pl.col("row_share", "column_share").median()
    ).row(0)
    tested = plates.select((pl.col("edge_p", "row_p", "column_p") < 0.01).mean()).row(0)
    shares = " | ".join(f"{value:.3f}" for value in (*medians, run["plate_share"]))
    return f"| {name} | {shares} | {' / '.join(f'{100 * share:.0f}%' for share in tested)} |"


def lines(wells: pl.DataFrame, theirs: pl.DataFrame) -> Iterator[str]:
    """The tables."""
    yield f"| way | Spearman | top {TOP} in common | wells | replicate r | seconds |"
    yield "|---|---|---|---|---|---|"
    scored, reached = {}, False
    for name, way in WAYS.items():
        start = time.perf_counter()
        scored[name] = way(wells)
        seconds = time.perf_counter() - start
        rho, common, n, r = agreement(scored[name], theirs)
        reached |= rho >= GOAL_RHO and common >= GOAL_TOP
        yield f"| {name} | {rho:.4f} | {common} | {n:,} | {r:.3f} | {seconds:.2f} |"
    mark = "reached" if reached else "MISSED"
    yield f"\nGoal: Spearman at least {GOAL_RHO}, {GOAL_TOP} in common: {mark}.\n"
    tests = "p < .01 of edge / rows / columns"
    yield f"| readout | edge shift (MADs) | rows η² | columns η² | plates η² | {tests} |"
    yield "|---|---|---|---|---|---|"
    yield effects(logged(wells), "log2, as read")
    for name in ("log2, robust z", "log2, B-score"):
        yield effects(scored[name], name)
    best = scored["plate z-score (the published way)"]
    top = best.group_by("Metadata_Library", "Metadata_Well", "Metadata_GeneID").agg(
        (-pl.col("Value")).mean().alias("score")
    )
    genes = top.drop_nulls("Metadata_GeneID").sort("score", descending=True, nulls_last=True)
    yield f"\nFirst of the ranking: {', '.join(genes['Metadata_GeneID'].head(10))}."


def main() -> None:
    """Load the screen, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    folder = parser.parse_args().shared / "data" / "rnai_kcviab"
    if not folder.is_dir():
        print(f"{folder} is absent; see the README of the shared data.")
        return
    wells, theirs = load(folder), published(folder)
    assert wells["Metadata_Plate"].n_unique() == 114
    assert (wells["Metadata_QC_Status"] == "flagged").sum() == 48
    print(f"Python {sys.version.split()[0]}, polars {pl.__version__}, {wells.height:,} wells\n")
    for line in lines(wells, theirs):
        print(line)


if __name__ == "__main__":
    main()
