"""How long normalise, select and aggregate take on a table of cells, and how much they hold.

Ours and pycytominer's run one after the other, each in a process of its own that makes the same
cells, so that the peak of its memory is its own. Both must keep the same features and give the
same wells before a time is printed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl

from profiler.profile import aggregate, feature_columns, normalise, select

PLATES, WELLS = 2, 384
EQUAL = 1e-9
STEPS = (
    "drop_na_columns",
    "variance_threshold",
    "frequency_threshold",
    "correlation_threshold",
    "blocklist",
)
TOLD = {"normalise": "normalise, robust z by plate"} | {step: f"select {step}" for step in STEPS}
TOLD |= {"aggregate": "aggregate, median of each well", "total": "**all three**"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say how large the table is."""
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=500)
    parser.add_argument("--gaps", type=float, default=0.02, help="share of features with nulls")
    parser.add_argument("--ours-only", action="store_true", help="where theirs does not fit")


def made_up(cells: int, features: int, gaps: float) -> pl.DataFrame:
    """Cells of two plates: correlated, constant, rounded and missing features, float64."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(cells, 24))
    factors += np.repeat(random.normal(size=(PLATES, 24)), -(-cells // PLATES), axis=0)[:cells]
    columns = {}
    for i in range(features):
        loadings = random.normal(size=24) * (random.random(24) < 0.2)
        noise = random.normal(size=cells) * random.choice([0.2, 1.0, 3.0])
        column = factors @ loadings + noise + random.normal() * 10
        if i % 50 == 7:
            column = np.full(cells, 3.0)
        if i % 50 == 9:
            column = np.round(column)
        if random.random() < gaps:
            column[random.random(cells) < 0.01] = np.nan
        columns[f"Cells_Made_F{i}"] = column
    per_plate = -(-cells // PLATES)
    place = np.arange(cells)
    return pl.DataFrame(columns, nan_to_null=True).with_columns(
        Metadata_Plate=pl.Series(place // per_plate).cast(pl.String),
        Metadata_Well=pl.Series(place % per_plate * WELLS // per_plate).cast(pl.String),
        Metadata_Role=pl.Series(np.where(place % 4, "treatment", "negative")),
    )


def ours(cells: pl.DataFrame, seconds: dict[str, float]) -> tuple[list[str], pl.DataFrame]:
    """The three stages; `seconds` is filled in."""
    with_time = _clock(seconds)
    controls = pl.col("Metadata_Role") == "negative"
    features = feature_columns(cells)
    cells = with_time(
        "normalise", lambda: normalise(cells, features=features, reference=controls).table
    )
    # Features without spread are null by now, and go with the first step.
    for step in STEPS:
        features = with_time(step, lambda: select(cells, features=features, steps=[step]).features)
    return features, with_time("aggregate", lambda: aggregate(cells, features=features))


def theirs(cells: pl.DataFrame, seconds: dict[str, float]) -> tuple[list[str], pl.DataFrame]:
    """The same by pycytominer, which has to be told of plates by a loop."""
    import pandas
    import pycytominer

    with_time = _clock(seconds)
    frame = cells.to_pandas()
    del cells
    features = [name for name in frame.columns if name.startswith("Cells_")]

    def normalised() -> pandas.DataFrame:
        plates = [
            pycytominer.normalize(
                plate,
                features=features,
                samples="Metadata_Role == 'negative'",
                method="mad_robustize",
            )
            for _, plate in frame.groupby("Metadata_Plate")
        ]
        return pandas.concat(plates)

    frame = with_time("normalise", normalised)
    for step in STEPS:
        frame = with_time(
            step, lambda: pycytominer.feature_select(frame, features=features, operation=step)
        )
        features = [name for name in features if name in set(frame.columns)]
    by = ["Metadata_Plate", "Metadata_Well"]
    wells = with_time(
        "aggregate",
        lambda: pycytominer.aggregate(frame, strata=by, features=features, operation="median"),
    )
    return features, pl.from_pandas(wells).sort(by)


def _clock(seconds: dict[str, float]):
    def with_time(name: str, work):
        start = perf_counter()
        result = work()
        seconds[name] = perf_counter() - start
        return result

    return with_time


def run_one(who: str, out: Path, args: argparse.Namespace) -> None:
    """In a process of its own: make the cells, run one of the two, leave what it found."""
    warnings.simplefilter("ignore")
    small, cells = made_up(2000, 20, 0.1), made_up(args.cells, args.features, args.gaps)
    {"ours": ours, "theirs": theirs}[who](small, {})  # imports and compiles
    seconds: dict[str, float] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    features, wells = {"ours": ours, "theirs": theirs}[who](cells, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wells.select("Metadata_Plate", "Metadata_Well", *features).write_parquet(out / f"{who}.parquet")
    facts = {"seconds": seconds, "features": features, "table": before / 2**20, "peak": peak / 2**20}
    (out / f"{who}.json").write_text(json.dumps(facts))


def print_table(args: argparse.Namespace) -> None:
    """Run both, compare their answers, print the times."""
    whom = ["ours"] if args.ours_only else ["ours", "theirs"]
    with tempfile.TemporaryDirectory() as folder:
        for who in whom:
            size = [f"--{name}={getattr(args, name)}" for name in ("cells", "features", "gaps")]
            command = [sys.executable, "-m", "benchmarks.profiles_speed", who, folder, *size]
            subprocess.run(command, check=True)
        facts = {who: json.loads((Path(folder) / f"{who}.json").read_text()) for who in whom}
        if not args.ours_only:
            _assert_equal(Path(folder), facts)
    kept = len(facts["ours"]["features"])
    print(f"{args.cells:,} cells x {args.features} features ({kept} kept), float64, "
          f"{args.gaps:.0%} of features with 1% nulls; {pl.thread_pool_size()} threads; "
          f"polars {version('polars')}, numpy {version('numpy')}, "
          f"pycytominer {version('pycytominer')}, pandas {version('pandas')}\n")  # fmt: skip
    print("\n".join(_lines(facts)))


def _assert_equal(folder: Path, facts: dict) -> None:
    assert facts["ours"]["features"] == facts["theirs"]["features"]
    tables = (pl.read_parquet(folder / f"{who}.parquet") for who in ("ours", "theirs"))
    one, other = (table.select(pl.selectors.numeric()).to_numpy() for table in tables)
    np.testing.assert_allclose(one, other, rtol=EQUAL, atol=EQUAL)


def _lines(facts: dict) -> Iterator[str]:
    yield f"| step | {' | '.join(f'{who}, s' for who in facts)} | times |"
    yield "|---|" + "---|" * (len(facts) + 1)
    for each in facts.values():
        each["seconds"]["total"] = sum(each["seconds"].values())
    for name, told in TOLD.items():
        times = [each["seconds"][name] for each in facts.values()]
        ratio = f"{times[1] / times[0]:.1f}" if len(times) > 1 else "-"
        yield f"| {told} | {' | '.join(f'{time:.2f}' for time in times)} | {ratio} |"
    peaks = [f"{each['peak']:.1f} ({each['table']:.1f} before)" for each in facts.values()]
    yield f"| peak memory, GiB | {' | '.join(peaks)} | |"


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("who", choices=["ours", "theirs"])
    options.add_argument("out", type=Path)
    add_options(options)
    arguments = options.parse_args()
    run_one(arguments.who, arguments.out, arguments)
