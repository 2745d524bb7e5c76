"""How long normalise, select and aggregate take on a table of cells, and how much they hold.

    python -m benchmarks.profiles_speed [--cells 100000] [--features 500] [--gaps .02]
        [--ours-only | --from-file]

The cells are written to a temporary Parquet file. Then ours in memory, ours from the file (never
holding the table) and pycytominer run one after the other, each in a process of its own, so that
the peak of its memory is its own. All must keep the same features and give the same wells before
a time is printed. Times in memory are without reading the file; those from it are with it.

pycytominer holds the table more than twice: 11 GiB each for a million cells of 1,500 features.
--from-file leaves out ours in memory, which holds it as well; --ours-only compares nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from threadpoolctl import threadpool_info

from profiler.profile import aggregate, feature_columns, normalise, profile_cells, select

PLATES, WELLS = 2, 384
CHUNK = 50_000  # cells made at a time
FACTORS = 24
EQUAL = 1e-9
STEPS = (
    "drop_na_columns",
    "variance_threshold",
    "frequency_threshold",
    "correlation_threshold",
    "blocklist",
)
SCALING = {"method": "mad_robustize", "reference": pl.col("Metadata_Role") == "negative"}
TOLD = {"normalise": "normalise, robust z by plate"} | {step: f"select {step}" for step in STEPS}
TOLD |= {"aggregate": "aggregate, median of each well", "total": "**all three**"}
HEADS = {"ours": "ours", "streamed": "ours from Parquet", "theirs": "pycytominer"}

Seconds: TypeAlias = dict[str, tuple[float, float]]  # wall, CPU
Answer: TypeAlias = tuple[list[str], pl.DataFrame]


def write_cells(path: Path, args: argparse.Namespace) -> None:
    """Write cells of two plates: correlated, constant, rounded and missing features."""
    kind = np.float32 if args.ours_only else np.float64
    random = np.random.default_rng(0)
    shape = (FACTORS, args.features)
    loadings = random.normal(size=shape) * (random.random(shape) < 0.2)
    noise, offset = random.choice([0.2, 1.0, 3.0], args.features), random.normal(size=shape[1]) * 10
    shift = random.normal(size=(PLATES, FACTORS))
    place, has_gaps = np.arange(args.features), random.random(args.features) < args.gaps
    per_plate = -(-args.cells // PLATES)
    writer = None
    for start in range(0, args.cells, CHUNK):
        cell = np.arange(start, min(start + CHUNK, args.cells))
        plate = cell // per_plate
        factors = random.normal(size=(len(cell), FACTORS)) + shift[plate]
        values = random.standard_normal((len(cell), args.features), dtype=np.float32).astype(kind)
        values *= noise
        values += factors @ loadings + offset
        values[:, place % 50 == 7] = 3.0
        values[:, place % 50 == 9] = values[:, place % 50 == 9].round()
        for i in np.flatnonzero(has_gaps):
            values[random.random(len(cell)) < 0.01, i] = np.nan
        names = [f"Cells_Made_F{i}" for i in place]
        table = pl.DataFrame(values, schema=names, nan_to_null=True).with_columns(
            Metadata_Plate=pl.Series(plate).cast(pl.String),
            Metadata_Well=pl.Series(cell % per_plate * WELLS // per_plate).cast(pl.String),
            Metadata_Role=pl.Series(np.where(cell % 4, "treatment", "negative")),
        )
        writer = writer or pq.ParquetWriter(path, table.to_arrow().schema, use_dictionary=False)
        writer.write_table(table.to_arrow())
    assert writer
    writer.close()


def ours(path: Path, seconds: Seconds) -> Answer:
    """The three stages in memory; `seconds` is filled in."""
    cells, with_time = pl.read_parquet(path), _clock(seconds)
    features = feature_columns(cells)
    cells = with_time("normalise", lambda: normalise(cells, features=features, **SCALING).table)
    # Features without spread are null by now, and go with the first step.
    for step in STEPS:
        chosen = partial(select, cells, features=features, steps=[step])
        features = with_time(step, chosen).features
    return features, with_time("aggregate", lambda: aggregate(cells, features=features))


def streamed(path: Path, seconds: Seconds) -> Answer:
    """The three stages from the file."""
    cells = pl.scan_parquet(path)
    found = _clock(seconds)("total", lambda: profile_cells(cells, scaling=SCALING, steps=STEPS))
    return found.features, found.wells


def theirs(path: Path, seconds: Seconds) -> Answer:
    """The same by pycytominer, which has to be told of plates by a loop."""
    import pandas
    import pycytominer

    with_time, cells = _clock(seconds), pl.scan_parquet(path)
    features = [name for name in cells.collect_schema() if name.startswith("Cells_")]
    # Plate by plate, each let go when done: the whole table twice over would not fit a laptop.
    is_plate = [pl.col("Metadata_Plate") == str(plate) for plate in range(PLATES)]
    plates = [cells.filter(wanted).collect().to_pandas() for wanted in is_plate]

    def normalised() -> pandas.DataFrame:
        samples = "Metadata_Role == 'negative'"
        how: dict[str, Any] = {"features": features, "samples": samples, "method": "mad_robustize"}
        done = [
            pandas.DataFrame(pycytominer.normalize(plates.pop(0), **how)) for _ in range(PLATES)
        ]
        return pandas.concat(done)

    frame = with_time("normalise", normalised)
    for step in STEPS:
        chosen = partial(pycytominer.feature_select, frame, features=features, operation=step)
        frame = with_time(step, chosen)
        features = [name for name in features if name in set(frame.columns)]
    by = ["Metadata_Plate", "Metadata_Well"]
    wells = with_time(
        "aggregate",
        lambda: pycytominer.aggregate(frame, strata=by, features=features, operation="median"),
    )
    return features, pl.from_pandas(wells).sort(by)


def _clock(seconds: Seconds) -> Callable:
    def with_time(name: str, work: Callable):
        wall, cpu = perf_counter(), process_time()
        result = work()
        seconds[name] = perf_counter() - wall, process_time() - cpu
        return result

    return with_time


WHO = {"ours": ours, "streamed": streamed, "theirs": theirs}


def run_one(who: str, folder: Path) -> None:
    """In a process of its own: run one of them on the file, leave what it found."""
    warnings.simplefilter("ignore")
    WHO[who](folder / "few.parquet", {})  # imports and compiles
    seconds: Seconds = {}
    features, wells = WHO[who](folder / "cells.parquet", seconds)
    peak = _peak_gib()
    total = np.sum(list(seconds.values()), axis=0).tolist()
    keys = ["Metadata_Plate", "Metadata_Well"]
    wells.sort(keys).select(*keys, *features).write_parquet(folder / f"{who}.parquet")
    facts = {"seconds": {"total": total, **seconds}, "features": features, "peak": peak}
    (folder / f"{who}.json").write_text(json.dumps(facts))


def _peak_gib() -> float:
    """Most memory this program held; ru_maxrss would begin with that of the one it came from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) / 2**20


def print_table(args: argparse.Namespace) -> None:
    """Run all, compare their answers, print the times."""
    whom = ["streamed"] if args.ours_only else list(WHO)[args.from_file :]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = argparse.Namespace(cells=2000, features=20, gaps=0.1, ours_only=args.ours_only)
        write_cells(folder / "few.parquet", few)
        write_cells(folder / "cells.parquet", args)
        gib = (folder / "cells.parquet").stat().st_size / 2**30
        for who in whom:
            command = [sys.executable, "-m", "benchmarks.profiles_speed", who, name]
            subprocess.run(command, check=True)
        facts = {who: json.loads((folder / f"{who}.json").read_text()) for who in whom}
        for who in whom[1:]:
            _assert_equal(folder, facts, whom[0], who)
    kept = len(facts[whom[0]]["features"])
    versions = ", ".join(f"{x} {version(x)}" for x in ("polars", "numpy", "pycytominer", "pandas"))
    blas = max((x["num_threads"] for x in threadpool_info()), default=1)
    print(
        f"{args.cells:,} cells x {args.features} features ({kept} kept), {args.gaps:.0%} of them "
        f"with 1% nulls, {'float32' if args.ours_only else 'float64'}, {gib:.2f} GiB of Parquet; "
        f"{pl.thread_pool_size()} polars and {blas} BLAS threads; {versions}\n"
    )
    print("\n".join(_lines(facts)))


def _assert_equal(folder: Path, facts: dict, first: str, who: str) -> None:
    assert facts[first]["features"] == facts[who]["features"], who
    tables = (pl.read_parquet(folder / f"{name}.parquet") for name in (first, who))
    one, other = (table.select(pl.selectors.numeric()).to_numpy() for table in tables)
    np.testing.assert_allclose(one, other, rtol=EQUAL, atol=EQUAL)


def _lines(facts: dict) -> Iterator[str]:
    heads = " | ".join(f"{HEADS[who]}, s (CPU s)" for who in facts)
    yield f"| step | {heads} | pycytominer / ours (CPU) |"
    yield "|---|" + "---|" * (len(facts) + 1)
    for name, told in TOLD.items():
        times = {who: facts[who]["seconds"].get(name) for who in facts}
        if not any(times.values()):
            continue
        cells = " | ".join(f"{x[0]:.2f} ({x[1]:.2f})" if x else "" for x in times.values())
        yield f"| {told} | {cells} | {_ratio(times.get('theirs'), times.get('ours'))} |"
    if "theirs" in facts:
        totals = {who: facts[who]["seconds"]["total"] for who in facts}
        yield f"| from Parquet | | | | {_ratio(totals['theirs'], totals['streamed'])} |"
    peaks = " | ".join(f"{each['peak']:.2f}" for each in facts.values())
    yield f"| peak memory, GiB | {peaks} | |"


def _ratio(slow: list[float] | None, fast: list[float] | None) -> str:
    if not slow or not fast:
        return ""
    return f"{slow[0] / fast[0]:.1f} ({slow[1] / fast[1]:.1f})"


def main() -> None:
    """Print the table, or be one of the processes it is made by."""
    parser = argparse.ArgumentParser(description="Normalise, select and aggregate cells")
    parser.add_argument("who", choices=list(WHO), nargs="?", help="used by the script itself")
    parser.add_argument("folder", type=Path, nargs="?", help="used by the script itself")
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=500)
    parser.add_argument("--gaps", type=float, default=0.02, help="share of features with nulls")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--ours-only",
        action="store_true",
        help="from Parquet in float32, as cells are stored; no comparison",
    )
    which.add_argument("--from-file", action="store_true", help="ours only from the file")
    args = parser.parse_args()
    if args.who:
        run_one(args.who, args.folder)
    else:
        print_table(args)


if __name__ == "__main__":
    main()
