"""How long the stages after the profiles take on a screen of several plates, and what they hold.

    python -m benchmarks.scale [--plates 10] [--features 1900]

The screen is made up: plates of 384 wells (32 negative and 16 positive controls, 42 compounds at
four doses in duplicate), features of correlated noise with plate and edge effects, and for every
eighth compound an effect of its mechanism at the two higher doses. Calling hits, finding
phenotypes (without cells) and writing the report are timed one after the other, each in a process
of its own, so that the peak of its memory is its own. The planted compounds must be found first.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import polars as pl

from profiler.hits import HitRule, call_hits
from profiler.phenotype import find_phenotypes
from profiler.profile import is_role, process
from profiler.report import write_report
from profiler.store.tables import scan_table, write_table

WELLS = [f"{row}{column:02}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
COMPOUNDS, DOSES, ACTIVE = 42, 4, 8  # of a plate; one compound in eight is active
FACTORS, MECHANISMS = 40, 6
READOUT = "Cells_Made_F0"
STEPS = (
    {"step": "normalise", "method": "mad_robustize", "reference": "negative"},
    {"step": "select", "steps": ["drop_na_columns", "variance_threshold", "correlation_threshold"]},
)


def layout(plate: int) -> pl.DataFrame:
    """What the wells of one plate hold, in an order drawn anew for each plate."""
    rows = [("DMSO", "negative", 0.0, None)] * 32 + [("full", "positive", 10.0, "M0")] * 16
    for compound in range(plate * COMPOUNDS, (plate + 1) * COMPOUNDS):
        moa = f"M{compound // ACTIVE % MECHANISMS}"
        for dose in range(DOSES):
            rows += [(f"C{compound:05}", "treatment", 10.0 ** (dose - 2), moa)] * 2
    names = ("Compound", "Role", "Concentration", "MOA")
    table = pl.DataFrame(rows, schema=[f"Metadata_{name}" for name in names], orient="row")
    mixed = np.random.default_rng(plate).permutation(WELLS)
    return table.with_columns(
        pl.lit(f"P{plate:03}").alias("Metadata_Plate"),
        pl.Series("Metadata_Well", mixed),
        pl.lit("uM").alias("Metadata_Unit"),
    ).sort("Metadata_Well")


def is_active() -> pl.Expr:
    """Which rows of a layout carry an effect."""
    number = pl.col("Metadata_Compound").str.strip_prefix("C").cast(pl.Int64, strict=False)
    planted = (number % ACTIVE == 0) & (pl.col("Metadata_Concentration") >= 1)
    return (planted | is_role("positive")).fill_null(value=False)


def make_screen(out: Path, *, plates: int, features: int) -> None:
    """Write the tables of wells as `profiler profile` does."""
    random = np.random.default_rng(0)
    loadings = random.normal(size=(FACTORS, features)) * (random.random((FACTORS, features)) < 0.2)
    shifts = {f"M{i}": 4 * random.normal(size=FACTORS) for i in range(MECHANISMS)}
    wells = pl.concat([layout(plate) for plate in range(plates)])
    factors = random.normal(size=(wells.height, FACTORS))
    acts = wells.select(is_active()).to_series().to_numpy()
    for i in np.flatnonzero(acts):
        factors[i] += shifts[wells["Metadata_MOA"][int(i)]]
    edge = wells["Metadata_Well"].str.contains("^[AP]|01$|24$").to_numpy()
    values = factors @ loadings + random.normal(size=(wells.height, features))
    values += random.normal(size=(plates, features)).repeat(len(WELLS), axis=0) + edge[:, None] / 2
    values[:, 0] = random.normal(size=wells.height) + 12 * acts
    names = [f"Cells_Made_F{i}" for i in range(features)]
    counts = random.poisson(900, wells.height)
    wells = wells.hstack(pl.DataFrame(values, schema=names)).with_columns(
        pl.Series("Metadata_Object_Count", counts),
        pl.lit(9, dtype=pl.Int32).alias("Metadata_QC_FieldsOk"),
        pl.lit("ok").alias("Metadata_QC_Status"),
    )
    made = process(wells, features=names, steps=STEPS)
    tables = {"wells": wells, "profiles": made.profiles, "selected": made.selected}
    for name, table in tables.items():
        write_table(out / f"{name}.parquet", table, level=name, parameters={})


def read(out: Path, name: str) -> pl.DataFrame:
    """One table of the screen."""
    return scan_table(out / f"{name}.parquet").collect()


def keep(out: Path, tables: object) -> None:
    """Write those tables of a stage that were made."""
    for name in tables._fields:  # type: ignore[attr-defined]
        if isinstance(table := getattr(tables, name), pl.DataFrame):
            write_table(out / f"{name}.parquet", table, level=name, parameters={})


def hits(out: Path) -> str:
    """Call hits; the planted compounds must be called, and few others."""
    wells, profiles, selected = (read(out, name) for name in ("wells", "profiles", "selected"))
    start = perf_counter(), process_time()
    found = call_hits(wells, profiles, selected=selected, readout=READOUT, rule=HitRule("profile"))
    took = seconds(start)
    keep(out, found)
    treated = found.compounds.filter(is_role("treatment"))
    number = treated["Metadata_Compound"].str.strip_prefix("C").cast(pl.Int64)
    called = treated["is_hit"]
    planted = (number % ACTIVE == 0).to_numpy()
    is_called = called.fill_null(value=False).to_numpy()
    power = is_called[planted].mean()
    false = 1 - planted[is_called].mean()
    assert power > 0.9, power
    assert false < 0.15, false
    return f"{took} | {power:.0%} of planted compounds called, {false:.1%} of the called false"


def phenotypes(out: Path) -> str:
    """Find phenotypes; most mechanisms must be found again by the nearest neighbour."""
    selected = read(out, "selected")
    start = perf_counter(), process_time()
    found = find_phenotypes(selected)
    took = seconds(start)
    keep(out, found)
    assert found.clusters is not None
    return f"{took} | {found.clusters.height} clusters"


def report(out: Path) -> str:
    """Write the page."""
    start = perf_counter(), process_time()
    path = write_report(out)
    return f"{seconds(start)} | {path.stat().st_size / 1e6:.1f} MB"


STAGES: dict[str, Callable[[Path], str]] = {"hits": hits, "phenotypes": phenotypes}
STAGES["report"] = report


def seconds(start: tuple[float, float]) -> str:
    """Wall and CPU seconds since, as cells of a table."""
    return f"{perf_counter() - start[0]:.1f} | {process_time() - start[1]:.1f}"


def stage(name: str, out: Path) -> str:
    """Run one stage in a process of its own: seconds, what it found, and its peak memory."""
    command = [sys.executable, "-m", "benchmarks.scale", "--stage", name, "--folder", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    times, found = told["line"].rsplit(" | ", 1)
    return f"| {name} | {times} | {told['gib']:.2f} | {found} |"


def main() -> None:
    """Make the screen, run every stage, print one row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plates", type=int, default=10)
    parser.add_argument("--features", type=int, default=1900)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stage:
        line = STAGES[args.stage](args.folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"line": line, "gib": peak}))
        return
    size = f"{args.plates} plates x {len(WELLS)} wells x {args.features:,} features"
    print(f"{size}; polars {version('polars')}, numpy {version('numpy')}\n")
    with tempfile.TemporaryDirectory() as folder:
        make_screen(Path(folder), plates=args.plates, features=args.features)
        print("| stage | wall, s | CPU, s | peak, GiB | found |\n|---|---|---|---|---|")
        for name in STAGES:
            print(stage(name, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
