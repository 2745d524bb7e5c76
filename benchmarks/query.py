"""How long a screen of many plates takes to open, filter and sum up, and how much memory.

    python -m benchmarks.query [--plates 100] [--cells 200000] [--features 60] [--folder KEEP]

The screen is made up: one run folder per plate, 384 wells, one file per well as `profiler run`
writes them, every plate with the first one's numbers. It takes the disk that is printed, and goes
at the end unless --folder is given. Every question is asked in a process of its own, so that its
memory is its own. Beside ours, the same questions to what CytoTable and pycytominer users have:
one Parquet file per plate read by pandas, and one SQLite file per plate; those on fewer plates
(--theirs), as their time grows with the plates.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import polars as pl

import profiler
from profiler.profile import aggregate
from profiler.store.index import write_index
from profiler.store.run import RunFacts, claim
from profiler.store.schema import FIELDS
from profiler.store.screen import Screen
from profiler.store.tables import write_table
from profiler.store.wells import WellTables, write_well

WELLS = [f"{row}{column:02}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
ONE_WELL, COMPOUND, ITS_WELLS = "C05", "taxol", ("B07", "O18")
F1, F2 = "Nuclei_Intensity_F001_DNA", "Nuclei_Intensity_F002_DNA"
KEYS = ["Metadata_Plate", "Metadata_Well"]


def plate_name(number: int) -> str:
    """Name a plate; all names are of one length."""
    return f"P{number:03}"


def made_up(well: int, *, cells: int, features: int) -> pl.DataFrame:
    """The cells of one well of the first plate: normal noise, one feature shifted by well."""
    values = np.random.default_rng(well).normal(size=(features, cells)).astype(np.float32)
    values[1] += np.float32(well / len(WELLS))
    keys = {
        "Metadata_Plate": [plate_name(0)] * cells,
        "Metadata_Well": [WELLS[well]] * cells,
        "Metadata_Site": np.arange(cells, dtype=np.int32) * 9 // cells + 1,
        "Metadata_Timepoint": np.ones(cells, np.int32),
        "Metadata_ObjectNumber": np.arange(1, cells + 1, dtype=np.int32),
        "Metadata_QC_TouchesBorder": np.zeros(cells, bool),
    }
    names = [f"Nuclei_Intensity_F{i:03}_DNA" for i in range(features)]
    return pl.DataFrame(keys | dict(zip(names, values, strict=True)))


def make_plate(folder: Path, plate: int, *, cells: int, features: int) -> None:
    """Write the run folder of one plate: cells, the index that a run ends with, and wells."""
    out, name = folder / plate_name(plate), plate_name(plate)
    claim(out, facts=RunFacts("made-up", {}, {}, "cpu", None, None, (name,)))
    if plate:
        copy_cells(folder, plate)
    else:
        write_cells(out, cells=cells // len(WELLS), features=features)
    write_index(out)
    compounds = [COMPOUND if well in ITS_WELLS else f"compound {well}" for well in WELLS]
    wells = {"Metadata_Plate": [name] * len(WELLS), "Metadata_Well": WELLS}
    frame = pl.DataFrame(wells | {"Metadata_Compound": compounds})
    write_table(out / "wells.parquet", frame, level="wells", parameters={})


def write_cells(out: Path, *, cells: int, features: int) -> None:
    """Write the wells of the first plate as a run does."""
    none = pl.DataFrame(pl.from_arrow(FIELDS.empty_table()))
    images = none.select(pl.nth(0, 1, 2, 3))
    for i, well in enumerate(WELLS):
        table = made_up(i, cells=cells, features=features)
        tables = WellTables(plate_name(0), well, table, none, images, {})
        write_well(out, tables, computed_by="made-up")


def copy_cells(folder: Path, plate: int) -> None:
    """Write the first plate's cells under another plate's name, of the same length."""
    first, name = plate_name(0), plate_name(plate)
    home = folder / name / "cells" / name
    home.mkdir(parents=True)
    for file in (folder / first / "cells" / first).iterdir():
        content = file.read_bytes().replace(first.encode(), name.encode())
        (home / file.name).write_bytes(content)
    found = pl.read_parquet(home / f"{ONE_WELL}.parquet")["Metadata_Plate"].unique().to_list()
    assert found == [name], found


def make_theirs(folder: Path, plate: int) -> None:
    """Write one plate again as pandas and as sqlite3 write it by default."""
    table = profiler.open(folder / plate_name(plate)).cells.collect().to_pandas()
    table.to_parquet(folder / f"{plate_name(plate)}.parquet")
    with sqlite3.connect(folder / f"{plate_name(plate)}.sqlite") as file:
        table.to_sql("cells", file, index=False)


def screen(folder: Path, plates: int) -> Screen:
    """Open the first plates as one screen."""
    return profiler.open([folder / plate_name(i) for i in range(plates)])


def ours_open(folder: Path, plates: int) -> float:
    """Open, check every file and read the columns' names: how many."""
    columns = screen(folder, plates).cells.collect_schema()
    return len(columns) - ("Metadata_Run" in columns)  # only several runs have their names


def ours_one_well(folder: Path, plates: int) -> float:
    """All columns of one well of one plate."""
    name = plate_name(plates // 2)
    where = (pl.col("Metadata_Plate") == name) & (pl.col("Metadata_Well") == ONE_WELL)
    return float(screen(folder, plates).cells.filter(where).collect()[F1].sum())


def ours_compound(folder: Path, plates: int) -> float:
    """The cells of one compound on all plates, of two features, filtered by both."""
    found = screen(folder, plates).cells_of(pl.col("Metadata_Compound") == COMPOUND)
    found = found.filter((pl.col(F1) > 1) & (pl.col(F2) < 0)).select(F1, F2).collect()
    return float(found[F1].cast(pl.Float64).sum())


def ours_mean(folder: Path, plates: int) -> float:
    """Mean of a feature in each well of the whole screen."""
    wells = screen(folder, plates).cells.group_by(KEYS).agg(pl.col(F1).cast(pl.Float64).mean())
    return float(wells.collect(engine="streaming")[F1].to_numpy().sum())


def ours_medians(folder: Path, plates: int) -> float:
    """Median of every feature in each well of the whole screen."""
    parts = screen(folder, plates).parts()
    return float(pl.concat([aggregate(part) for part in parts])[F1].sum())


def pandas_plates(folder: Path, plates: int) -> Iterator[Any]:
    """Read plate after plate, all columns, as pandas does by default."""
    import pandas

    for i in range(plates):
        yield pandas.read_parquet(folder / f"{plate_name(i)}.parquet")


def pandas_one_well(folder: Path, plates: int) -> float:
    """All columns of one well of one plate."""
    import pandas

    path = folder / f"{plate_name(plates // 2)}.parquet"
    table = pandas.read_parquet(path)
    return float(np.asarray(table[table["Metadata_Well"] == ONE_WELL][F1]).sum())


def pandas_compound(folder: Path, plates: int) -> float:
    """The cells of one compound on all plates, filtered by two features."""
    total = 0.0
    for table in pandas_plates(folder, plates):
        some = table[table["Metadata_Well"].isin(ITS_WELLS)]
        total += some[(some[F1] > 1) & (some[F2] < 0)][F1].astype(float).sum()
    return total


def pandas_mean(folder: Path, plates: int) -> float:
    """Mean of a feature in each well."""
    frames = pandas_plates(folder, plates)
    return sum(float(t.astype({F1: float}).groupby(KEYS)[F1].mean().sum()) for t in frames)


def pandas_medians(folder: Path, plates: int) -> float:
    """Median of every feature in each well."""
    total = 0.0
    for table in pandas_plates(folder, plates):
        features = [name for name in table.columns if name.startswith("Nuclei_")]
        total += float(table.groupby(KEYS)[features].median()[F1].astype(float).sum())
    return total


def sqlite_sum(folder: Path, plates: range, sql: str, given: tuple = ()) -> float:
    """Ask every plate's file, and add up the answers."""
    total = 0.0
    for i in plates:
        with sqlite3.connect(folder / f"{plate_name(i)}.sqlite") as file:
            total += file.execute(sql, given).fetchone()[0] or 0.0
    return total


def sqlite_one_well(folder: Path, plates: int) -> float:
    """All columns of one well of one plate."""
    sql = "SELECT * FROM cells WHERE Metadata_Well = ?"
    path = folder / f"{plate_name(plates // 2)}.sqlite"
    with sqlite3.connect(path) as file:
        found = file.execute(sql, (ONE_WELL,))
        at = [column[0] for column in found.description].index(F1)
        return float(sum(row[at] for row in found))


def sqlite_compound(folder: Path, plates: int) -> float:
    """The cells of one compound on all plates, filtered by two features."""
    sql = f"SELECT sum({F1}) FROM cells WHERE Metadata_Well IN (?, ?) AND {F1} > 1 AND {F2} < 0"
    return sqlite_sum(folder, range(plates), sql, ITS_WELLS)


def sqlite_mean(folder: Path, plates: int) -> float:
    """Mean of a feature in each well."""
    sql = f"SELECT sum(m) FROM (SELECT avg({F1}) AS m FROM cells GROUP BY Metadata_Well)"
    return sqlite_sum(folder, range(plates), sql)


QUESTIONS: dict[str, dict[str, Callable[[Path, int], float]]] = {
    "open": {"ours": ours_open},
    "one well, all columns": {
        "ours": ours_one_well,
        "pandas": pandas_one_well,
        "SQLite": sqlite_one_well,
    },
    "a compound's cells by two features": {
        "ours": ours_compound,
        "pandas": pandas_compound,
        "SQLite": sqlite_compound,
    },
    "mean of a feature by well": {
        "ours": ours_mean,
        "pandas": pandas_mean,
        "SQLite": sqlite_mean,
    },
    "median of every feature by well": {"ours": ours_medians, "pandas": pandas_medians},
}


PER_PLATE = set(QUESTIONS) - {"open", "one well, all columns"}  # answers that plates add up to


def ask(folder: Path, question: str, who: str, plates: int) -> dict[str, float]:
    """Ask in a process of its own: the answer, seconds, peak memory."""
    command = [sys.executable, "-m", "benchmarks.query", "--folder", str(folder)]
    command += ["--ask", question, "--who", who, "--plates", str(plates)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def answer(folder: Path, question: str, who: str, plates: int) -> None:
    """Answer one question and print what it took, in a process of its own."""
    if who == "pandas":
        import_module("pandas")  # its import is not its answer
    run, before = QUESTIONS[question][who], peak_memory()
    wall, cpu = perf_counter(), process_time()
    value = run(folder, plates)
    took = {"seconds": perf_counter() - wall, "cpu": process_time() - cpu}
    facts = {"value": value, "before": before, "peak": peak_memory()} | took
    print(json.dumps(facts))


def peak_memory() -> float:
    """Most memory this process has held, MiB; not its parent's, as getrusage would have it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def make(folder: Path, args: argparse.Namespace) -> None:
    """Make the plates that are not there yet."""
    for i in range(args.plates):
        if not (folder / plate_name(i) / "wells.parquet").exists():
            make_plate(folder, i, cells=args.cells, features=args.features)
    for i in range(min(args.theirs, args.plates)):
        if not (folder / f"{plate_name(i)}.sqlite").exists():
            make_theirs(folder, i)


def report(folder: Path, args: argparse.Namespace) -> None:
    """Ask everything, check that the answers agree, print the table."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    versions = ", ".join(f"{name} {version(name)}" for name in ("polars", "pyarrow", "pandas"))
    print(
        f"{args.plates} plates x {len(WELLS)} wells, {args.cells:,} cells a plate, {args.features} "
        f"features; {len(sizes):,} files, {sum(sizes) / 1e9:.1f} GB with the others'; "
        f"{pl.thread_pool_size()} threads; {versions}, SQLite {sqlite3.sqlite_version}; first "
        "question of a new process, files in the page cache\n"
    )
    few = min(args.theirs, args.plates)
    print("| question | plates | who | s (CPU s) | peak memory, MiB (before) |")
    print("|---|---|---|---|---|")
    for question, who_asks in QUESTIONS.items():
        expected = None
        for plates in sorted({few, args.plates} - {0}):
            for who in who_asks if plates == few else ["ours"]:
                facts = ask(folder, question, who, plates)
                value = facts["value"] / (plates if question in PER_PLATE else 1)
                expected = value if expected is None else expected  # a fast wrong answer is none
                np.testing.assert_allclose(value, expected, rtol=1e-4)
                print(_line(question, plates, who, facts), flush=True)


def _line(question: str, plates: int, who: str, facts: dict[str, float]) -> str:
    took = f"{facts['seconds']:.2f} ({facts['cpu']:.2f})"
    held = f"{facts['peak']:.0f} ({facts['before']:.0f})"
    return f"| {question} | {plates} | {who} | {took} | {held} |"


def main() -> None:
    """Make the screen and ask."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("shared", nargs="?", help="not needed: the screen is made up")
    options.add_argument("--plates", type=int, default=100)
    options.add_argument("--cells", type=int, default=200_000, help="of a plate")
    options.add_argument("--features", type=int, default=60)
    options.add_argument("--theirs", type=int, default=10, help="plates for the others")
    options.add_argument("--folder", type=Path, help="make the screen there, and keep it")
    options.add_argument("--ask", help=argparse.SUPPRESS)
    options.add_argument("--who", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.ask:
        answer(args.folder, args.ask, args.who, args.plates)
    elif args.folder:
        make(args.folder, args)
        report(args.folder, args)
    else:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), args)
            report(Path(folder), args)


if __name__ == "__main__":
    main()
