"""The index of runs: one row per plate, with how good it is, in one table and one page.

`profiler query RUNS "SELECT ... FROM runs"` asks it; it can be lost, and is made again.
"""

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from plates.errors import BadRun
from profiler.store.atomic import replacing
from profiler.store.objects import Objects, run_address
from profiler.store.run import RunFacts, read_facts
from profiler.store.tables import read_footer, scan_table, write_table
from profiler.watch.events import Done, Failed, Skipped
from profiler.watch.page import page
from profiler.watch.settings import Watch
from profiler.watch.status import DONE, PlateState
from profiler.watch.words import legible

FILE, PAGE, LEVEL = "index.parquet", "index.html", "runs"
TIME = pl.Datetime("us", "UTC")
SCHEMA = pl.Schema(
    {
        "run": pl.String,  # run folder, below the folder of runs; null if none was chosen
        "plate": pl.String,  # as the reader found it; one run may hold several
        "status": pl.String,  # done, failed (it is tried again) or given_up
        "reason": pl.String,  # why it failed
        "finished": TIME,
        "seconds": pl.Float64,  # of the last attempt; null if an earlier program made it
        "tries": pl.Int64,  # attempts that failed
        "wells": pl.Int64,
        "fields": pl.Int64,
        "fields_ok": pl.Int64,
        "fields_empty": pl.Int64,
        "fields_failed": pl.Int64,
        "cells": pl.Int64,
        "readout": pl.String,
        "z_prime": pl.Float64,
        "robust_z_prime": pl.Float64,
        "ssmd": pl.Float64,
        "recipe": pl.String,
        "source": pl.String,  # the plate's folder in the inbox
    }
)
STATISTICS = ("z_prime", "robust_z_prime", "ssmd")


def record(
    settings: Watch, event: Done | Failed | Skipped, *, state: PlateState, folder: Path
) -> None:
    """Put a plate into the index, in place of what it said of its run, and of earlier failures.

    Args:
        settings: What is watched; the index lies in its `runs`.
        event: What became of the plate.
        state: What is known of it since.
        folder: Where its run is read on this disk.

    Raises:
        BadRun: The index cannot be written, as on a full disk.
    """
    earlier = read_index(settings.runs)
    is_known = event.run in set(earlier["run"])
    if isinstance(event, Skipped) and (is_known or state.state != DONE):
        return
    source = legible(str(settings.inbox / event.plate))
    about = {
        "run": event.run or None,
        "status": state.state,
        "reason": event.reason if isinstance(event, Failed) else None,
        "finished": datetime.fromisoformat(state.since),
        "seconds": event.seconds if isinstance(event, Done) else None,
        "tries": event.attempt if isinstance(event, Failed) else 0,
        "source": source,
    }
    plates = _plates(folder, is_done=state.state == DONE) or [{"plate": Path(event.plate).name}]
    ours = pl.DataFrame([about | row for row in plates], schema=SCHEMA)
    is_old = pl.col("run").eq_missing(pl.lit(event.run))
    is_old |= (pl.col("source") == source) & (pl.col("status") != DONE)
    table = pl.concat([earlier.filter(~is_old), ours]).sort("finished", "run")
    write_table(settings.runs / FILE, table, level=LEVEL, parameters={})
    with replacing(settings.runs / PAGE) as draft:
        draft.write_text(page(table), "utf-8")


def read_index(runs: Path) -> pl.DataFrame:
    """The index of a folder of runs; without rows where there is none, or one of another time."""
    try:
        table = scan_table(runs / FILE).collect()
    except BadRun:
        return SCHEMA.to_frame()
    return table if table.schema == SCHEMA else SCHEMA.to_frame()


def is_index(runs: Path) -> bool:
    """Whether a folder is one of runs, not a run."""
    try:
        return read_footer(runs / FILE).level == LEVEL
    except BadRun:
        return False


def with_index(folders: Sequence[str]) -> tuple[list[str], dict[str, pl.LazyFrame]]:
    """Take folders of runs for the runs in them.

    Args:
        folders: Run folders, and folders that a watcher writes runs to; or addresses.

    Returns:
        Run folders alone, and the table `runs` where there was an index.

    Raises:
        BadRun: An index lists no plate that is done.
    """
    found = {folder: _index_of(folder) for folder in folders}
    indexes = {folder: table for folder, table in found.items() if table is not None}
    done = {
        folder: table.filter(pl.col("status") == DONE)["run"].unique(maintain_order=True).to_list()
        for folder, table in indexes.items()
    }
    if empty := [folder for folder, runs in done.items() if not runs]:
        raise BadRun(f"No plate of {empty[0]} is done yet; {empty[0]}/{PAGE} says why.")
    runs = [
        name
        for folder in folders
        for name in ([f"{folder}/{run}" for run in done[folder]] if folder in done else [folder])
    ]
    return runs, {LEVEL: pl.concat(indexes.values()).lazy()} if indexes else {}


def _index_of(folder: str) -> pl.DataFrame | None:
    """The index of a folder of runs, here or in a store; None of a run."""
    address = run_address(folder)
    if address is None:
        return read_index(Path(folder)) if is_index(Path(folder)) else None
    with tempfile.TemporaryDirectory(prefix="profiler-") as place:
        (Path(place) / FILE).write_bytes(Objects(address).read(FILE) or b"")
        return read_index(Path(place)) if is_index(Path(place)) else None


def _plates(out: Path, *, is_done: bool) -> list[dict[str, Any]]:
    """What a run folder says of each of its plates; of a failed one there may be none."""
    try:
        facts = read_facts(out)
        fields = scan_table(out / "fields.parquet").collect() if is_done else None
    except BadRun:
        return []
    if fields is None:
        return [{"plate": plate, "recipe": facts.recipe} for plate in facts.plates]
    by_plate = fields.partition_by("Metadata_Plate", maintain_order=True)
    return [_counts(part) | _statistics(out, facts, part["Metadata_Plate"][0]) for part in by_plate]


def _counts(fields: pl.DataFrame) -> dict[str, Any]:
    status = fields["Metadata_QC_Status"]
    ok, empty = int((status == "ok").sum()), int((status == "no_cells").sum())
    return {
        "plate": fields["Metadata_Plate"][0],
        "wells": fields["Metadata_Well"].n_unique(),
        "fields": fields.height,
        "fields_ok": ok,
        "fields_empty": empty,
        "fields_failed": fields.height - ok - empty,
        "cells": int(fields["Metadata_Object_Count"].sum()),
    }


def _statistics(out: Path, facts: RunFacts, plate: str) -> dict[str, Any]:
    """Statistics of the readout that wells were ranked by; null without a plate map."""
    readout = facts.summary.get("readout")
    found = {"recipe": facts.recipe, "readout": readout}
    if readout is None or not (out / "statistics.parquet").is_file():
        return found
    is_ours = (pl.col("Metadata_Plate") == plate) & (pl.col("readout") == readout)
    rows = scan_table(out / "statistics.parquet").filter(is_ours).select(STATISTICS).collect()
    return found | (rows.row(0, named=True) if rows.height else {})
