"""Killed at any moment and started again: the same tables, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import profiler
from benchmarks.faults import differences, words
from profiler import cli

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


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "profiler.cli", *command],
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
    """A run killed before its first well, between wells and after the last, then finished."""
    out = tmp_path_factory.mktemp("battered") / "run"
    command = words(small_plate, out, layout=small_plate / "platemap.csv")

    def wells() -> int:
        return len(list((out / "cells").rglob("*.parquet")))

    kill_when(start(command), lambda: (out / "run.json").exists())
    kill_when(start(command), lambda: wells() >= 3)
    assert 3 <= wells() < 12
    kill_when(start(command), lambda: (out / "fields.parquet").exists())
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    assert "up to date" in done.output
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
