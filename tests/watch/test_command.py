"""`profiler watch` as a user has it: what is printed where, exit codes, signals, a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from benchmarks.faults import differences
from profiler import cli

QUICK = Path(__file__).parents[1] / "quick.toml"


def words(inbox: Path, out: Path, *more: str) -> list[str]:
    return ["watch", str(inbox), "--out", str(out), "--recipe", str(QUICK), *more]


def call(*arguments: str | Path):
    return CliRunner().invoke(cli.app, [str(word) for word in arguments])


def started(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "profiler.cli", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_night_that_is_killed_and_started_again(small_plate, small_run, tmp_path):
    inbox, out = tmp_path / "inbox", tmp_path / "runs"
    shutil.copytree(small_plate, inbox / "mini")
    (inbox / "notes").mkdir()
    (inbox / "notes" / "readme.txt").write_text("not a plate")
    settings = ("--layout", str(small_plate / "platemap.csv"), "--quiet", "0", "--json")

    killed = started(*words(inbox, out, "--poll", "0.1", *settings))
    deadline = time.monotonic() + 240
    while not list(out.glob("mini/cells/mini/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert json.loads((out / "status.json").read_text())["running"]["plate"] == "mini"

    done = call(*words(inbox, out, "--once", *settings))
    assert done.exit_code == 3, done.output
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in events if e.get("plate") == "mini"][:2] == ["failed", "began"]
    finished = next(event for event in events if event["event"] == "done")
    assert (finished["plate"], finished["fields"], finished["fields_failed"]) == ("mini", 12, 0)
    assert differences(out / "mini", small_run) == {}

    asked = call("query", out, "SELECT plate, status, z_prime FROM runs ORDER BY plate")
    table = pl.read_csv(asked.stdout.encode())
    assert table["status"].to_list() == ["done", "failed"]
    assert table["z_prime"][0] > 0.5
    cells = call("query", out, "SELECT count(*) AS n FROM cells").stdout
    assert int(cells.splitlines()[1]) > 100
    page = (out / "index.html").read_text()
    assert 'href="mini/report.html"' in page
    assert "No reader fits" in page

    again = call(*words(inbox, out, "--once", *settings))
    told = [json.loads(line)["event"] for line in again.stdout.splitlines()]
    assert told == ["watching", "skipped", "began", "failed", "ended"]


def test_a_name_that_comes_again_gets_a_run_folder_of_its_own(small_plate, small_run, tmp_path):
    inbox, out = tmp_path / "inbox", tmp_path / "runs"
    shutil.copytree(small_run, out / "mini")
    (inbox / "mini").mkdir(parents=True)
    for path in small_plate.glob("mini_A0[12]_*.tif"):  # two wells of twelve, of other images
        well, other = ("A01", "A02") if "A01" in path.name else ("A02", "A01")
        shutil.copy(path, inbox / "mini" / path.name.replace(well, other))
    settings = ("--once", "--quiet", "0", "--json")
    done = call(*words(inbox, out, *settings))
    assert done.exit_code == 0, done.output
    events = {e["event"]: e for e in map(json.loads, done.stdout.splitlines())}
    assert events["placed"]["run"] == events["done"]["run"] == "mini~2"
    assert events["ended"]["done"] == 1
    assert differences(out / "mini", small_run) == {}
    wells = pl.read_parquet(out / "mini~2" / "wells.parquet")["Metadata_Well"]
    assert wells.to_list() == ["A01", "A02"]
    assert "no longer on the plates" not in done.stdout

    again = call(*words(inbox, out, *settings))
    told = [json.loads(line) for line in again.stdout.splitlines()]
    assert [line["event"] for line in told] == ["watching", "skipped", "ended"]
    assert told[1]["run"] == "mini~2"

    shutil.rmtree(inbox / "mini")
    shutil.copytree(small_plate, inbox / "mini")  # the first comes back: to what was made of it
    last = call(*words(inbox, out, *settings))
    told = {e["event"]: e for e in map(json.loads, last.stdout.splitlines())}
    assert told["done"]["run"] == "mini"
    asked = call("query", out, "SELECT run FROM runs ORDER BY run", "--repeated-plates")
    assert asked.stdout == "run\nmini\nmini~2\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_is_clean(number, code, tmp_path):
    (tmp_path / "inbox").mkdir()
    process = started(*words(tmp_path / "inbox", tmp_path / "runs"))
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs" / "status.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert stdout == ""
    assert "Stopped: 0 plates done" in stderr
    assert json.loads((tmp_path / "runs" / "status.json").read_text())["state"] == "stopped"


def test_nothing_to_do_is_exit_code_zero(tmp_path):
    (tmp_path / "inbox").mkdir()
    done = call(*words(tmp_path / "inbox", tmp_path / "runs", "--once"))
    assert done.exit_code == 0
    assert done.stdout == ""


def test_an_inbox_that_is_not_there_is_a_message(tmp_path):
    done = call(*words(tmp_path / "inbox", tmp_path / "runs", "--once"))
    assert done.exit_code == 1
    assert "cannot be read" in str(done.exception)


def test_the_index_of_runs_without_a_done_plate_is_a_message(tmp_path):
    (tmp_path / "inbox" / "P1").mkdir(parents=True)
    (tmp_path / "inbox" / "P1" / "readme.txt").write_text("not a plate")
    call(*words(tmp_path / "inbox", tmp_path / "runs", "--once", "--quiet", "0"))
    asked = call("query", tmp_path / "runs", "SELECT * FROM runs")
    assert "No plate of" in str(asked.exception)
