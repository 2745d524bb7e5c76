"""Killed at any moment and started again: the same tables, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

import profiler
from benchmarks.faults import differences

QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features

TABLES = (
    "cells",
    "images",
    "fields",
    "wells",
    "profiles",
    "statistics",
    "curves",
    "hits",
    "compounds",
)
PATIENCE = 240  # seconds


def start(plate: Path, out: Path) -> subprocess.Popen:
    command = ["run", str(plate), "--out", str(out), "--recipe", str(QUICK)]
    layout = ["--layout", str(plate / "platemap.csv")]
    return subprocess.Popen(
        [sys.executable, "-m", "profiler.cli", *command, *layout],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill_when(process: subprocess.Popen, reached) -> None:
    """Wait for a moment of the run, then end it as a power cut would."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def battered(small_plate, tmp_path_factory) -> Path:
    """A run killed four times on its way, then finished."""
    out = tmp_path_factory.mktemp("battered") / "run"

    def wells() -> int:
        return len(list((out / "cells").rglob("*.parquet")))

    kill_when(start(small_plate, out), lambda: (out / "run.json").exists())
    kill_when(start(small_plate, out), lambda: wells() >= 1)
    assert 1 <= wells() < 12
    kill_when(start(small_plate, out), lambda: wells() >= 7)
    kill_when(start(small_plate, out), lambda: (out / "fields.parquet").exists())
    process = start(small_plate, out)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output.decode()
    assert b"up to date" in output
    return out


@pytest.mark.parametrize("name", TABLES)
def test_tables_equal_those_of_a_run_that_was_not_killed(battered, small_run, name):
    ours, theirs = (getattr(profiler.open(out), name).collect() for out in (battered, small_run))
    measured = [column for column in ours.columns if column.startswith("Metadata_Seconds")]
    assert_frame_equal(ours.drop(measured), theirs.drop(measured), check_exact=True)


def test_no_row_of_any_file_is_lost_or_doubled(battered, small_run):
    assert differences(battered, small_run) == {}


def test_nothing_unfinished_is_left_behind(battered):
    assert not list(battered.rglob("*.unfinished"))
    assert (battered / "report.html").read_text().rstrip().endswith("</html>")


def test_pictures_equal_those_of_a_run_that_was_not_killed(battered, small_run):
    names = sorted(path.name for path in (small_run / "thumbnails").rglob("*.png"))
    assert len(names) == 12
    for name in names:
        ours, theirs = (next(out.rglob(name)).read_bytes() for out in (battered, small_run))
        assert ours == theirs
