"""Runs that live in a store: on an S3 server of our own the same tables, through faults and kills.

Needs `pip install s3fs "moto[server]"`.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import plates.remote as remote
import profiler
from benchmarks.faults import differences
from plates.errors import BadRun
from profiler.cli import app
from profiler.events import WellSaved
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request
from profiler.store import lease
from profiler.store.home import at_home
from profiler.store.lock import LEASE
from profiler.store.mirror import working_folder
from profiler.store.objects import Objects
from tests.conftest import QUICK
from tests.plates.test_s3 import BROKEN, REFUSED, Server, forget, s3fs, server

__all__ = ["server"]  # a fixture

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ADDRESS = "s3://bucket/runs/mini"
SHORT_LEASE = """
import profiler.store.lease as lease
lease.EXPIRES_S, lease.RENEW_S, lease.SETTLE_S = 4.0, 1.0, 0.1
from profiler.cli import main
main()
"""


@pytest.fixture
def bucket(server: Server, monkeypatch, tmp_path) -> Server:
    """The server, with an empty bucket, and a cache of this test's own."""
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",  # the tries that count are ours
        "PROFILER_WORK": str(tmp_path / "work"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "PAUSE_S", 0)
    monkeypatch.setattr(lease, "SETTLE_S", 0.05)
    server.fault = lambda path, n: None
    forget()
    system = s3fs.S3FileSystem()
    if system.exists("bucket"):
        system.rm("bucket", recursive=True)
    system.mkdir("bucket")
    yield server
    server.fault = lambda path, n: None
    forget()


@pytest.fixture
def request_(small_plate) -> Request:
    return Request(
        plates=(small_plate,),
        out=Path(ADDRESS),
        recipe=load_recipe(QUICK),
        layout=small_plate / "platemap.csv",
        save_labels=True,
    )


def uploaded(run_folder: Path) -> str:
    """Put a run into the bucket as it is."""
    with at_home(Path(ADDRESS)) as home:
        shutil.copytree(run_folder, home.folder, dirs_exist_ok=True, ignore=lambda *_: {".lock"})
        home.push()
    return ADDRESS


def downloaded(folder: Path) -> Path:
    s3fs.S3FileSystem().get(ADDRESS, str(folder), recursive=True)
    return folder


def elsewhere(monkeypatch, folder: Path) -> None:
    """Be another machine from now on: one that has no cache yet."""
    monkeypatch.setenv("PROFILER_WORK", str(folder))


def test_the_same_tables_though_one_request_in_ten_fails(
    bucket, request_, small_run, tmp_path, monkeypatch
):
    failed, saved = [], []

    def fault(path, n):
        if n % 10 == 3:
            failed.append(path)
            return BROKEN
        return None

    bucket.fault = fault
    for event in run(request_):
        if isinstance(event, WellSaved):  # by now the store has it
            saved.append(event.well)
            there = Objects(ADDRESS).find(f"cells/{event.plate}")
            assert f"cells/{event.plate}/{event.well}.parquet" in there
    bucket.fault = lambda path, n: None
    assert len(failed) > 5
    assert len(set(saved)) == len(saved) == 12
    there = downloaded(tmp_path / "there")
    assert differences(there, small_run) == {}
    pictures = sorted(path.relative_to(there) for path in there.rglob("*.[pt][ni][gf]"))
    assert len(pictures) == 12 + 2 * 12
    for path in pictures:
        assert (there / path).read_bytes() == (small_run / path).read_bytes()
    assert (there / "report.html").read_text().rstrip().endswith("</html>")
    assert not [path for path in there.rglob(".*") if path.is_file()]

    elsewhere(monkeypatch, tmp_path / "elsewhere")
    again = [event for event in run(request_) if isinstance(event, WellSaved)]
    assert again == []  # all are up to date, label images too


def start(plate: Path) -> subprocess.Popen:
    options = ["--out", ADDRESS, "--recipe", str(QUICK), "--layout", str(plate / "platemap.csv")]
    return subprocess.Popen(
        [sys.executable, "-c", SHORT_LEASE, "run", str(plate), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wells() -> int:
    return len(Objects(ADDRESS).find("cells"))


def test_killed_and_gone_on_with_on_another_machine(
    bucket, small_plate, small_run, tmp_path, monkeypatch
):
    process, least = start(small_plate), random.randint(1, 9)
    deadline = time.monotonic() + 200
    while wells() < least:
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = wells()
    assert least <= done <= 12

    elsewhere(monkeypatch, tmp_path / "elsewhere")
    arguments = ["run", str(small_plate), "--out", ADDRESS, "--recipe", str(QUICK)]
    arguments += ["--layout", str(small_plate / "platemap.csv")]
    assert Objects(ADDRESS).read(LEASE)
    while (gone_on := CliRunner().invoke(app, arguments)).exit_code:
        assert re.search(r"in use by process .* try again in \d s", str(gone_on.exception))
        assert time.monotonic() < deadline
        time.sleep(1)
    assert f"{done} of 12 wells are up to date" in gone_on.output.replace("\n", " ")
    assert "has not been heard of for" in gone_on.output
    assert f"Results are in {ADDRESS}." in gone_on.output
    assert differences(downloaded(tmp_path / "there"), small_run) == {}
    assert Objects(ADDRESS).read(LEASE) is None


def test_all_commands_on_a_run_in_the_store(bucket, small_run, tmp_path, monkeypatch):
    address = uploaded(small_run)
    before = pl.read_parquet(small_run / "hits.parquet")
    elsewhere(monkeypatch, tmp_path / "elsewhere")
    screen = profiler.open(address)
    assert screen.runs[0].name == "mini"
    assert not (screen.runs[0].folder / "cells").exists()  # not asked for yet
    assert_frame_equal(screen.hits.collect(), before)
    assert screen.cells.collect().height == profiler.open(small_run).cells.collect().height

    lacking = CliRunner().invoke(app, ["query", address, "SELECT * FROM map"])
    assert "has no map yet" in str(lacking.exception)
    assert f"profiler phenotype {address}" in str(lacking.exception)
    asked = CliRunner().invoke(app, ["query", address, "SELECT count(*) AS n FROM wells"])
    assert asked.stdout == "n\n12\n"

    elsewhere(monkeypatch, tmp_path / "another")
    readout = before["readout"][0] if "readout" in before.columns else None
    options = ["--rank-by", "readout", *(["--readout", readout] if readout else [])]
    for command in (["profile"], ["hits", *options], ["phenotype"], ["report"]):
        forget()
        done = CliRunner().invoke(app, [command[0], address, *command[1:]])
        assert done.exit_code == 0, (command, done.output, done.exception)
    there = downloaded(tmp_path / "there")
    again = profiler.open(there)
    assert again.facts.summary["hits"]
    assert_frame_equal(again.wells.collect(), profiler.open(small_run).wells.collect())


def test_fields_of_a_run_in_the_store_are_suggested(bucket, small_run, tmp_path, monkeypatch):
    address = uploaded(small_run)
    elsewhere(monkeypatch, tmp_path / "elsewhere")
    for where, name in ((address, "there"), (str(small_run), "here")):
        words = ["suggest", where, "--out", str(tmp_path / name), "--sample", "2", "--fields", "1"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (done.output, done.exception)
    lists = [(tmp_path / name / "suggestions.csv").read_text() for name in ("there", "here")]
    assert lists[0] == lists[1]
    assert len(lists[0].splitlines()) == 2


def test_classes_of_a_run_in_the_store(bucket, small_run, tmp_path, monkeypatch):
    address, here = uploaded(small_run), shutil.copytree(small_run, tmp_path / "here")
    cells = profiler.open(small_run).cells.collect()
    area = pl.col("Nuclei_AreaShape_Area")
    label = pl.when(area > area.median()).then(pl.lit("large")).otherwise(pl.lit("small"))
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
    cells.select(*keys, label.alias("Label")).write_csv(tmp_path / "labels.csv")
    model = str(tmp_path / "size.safetensors")
    train = ["train", "classifier", str(tmp_path / "labels.csv"), "--run", address, "--out", model]
    classify = [["classify", str(run), "--model", model] for run in (address, here)]
    for words in ([*train, "--mixed-plates"], *classify):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.output, done.exception)
    elsewhere(monkeypatch, tmp_path / "elsewhere")
    forget()
    for table in ("cell_classes", "classes", "class_hits"):
        one, other = (profiler.open(run).table(table).collect() for run in (here, address))
        assert_frame_equal(one, other)


def test_replacing_a_run(bucket, request_, small_run, tmp_path):
    uploaded(small_run)
    s3fs.S3FileSystem().pipe("bucket/runs/other/run.json", b"another run")
    afresh = ["--replace", "--wells", "A01,A02"]
    plate = str(request_.plates[0])
    done = CliRunner().invoke(app, ["run", plate, "--out", ADDRESS, "-r", str(QUICK), *afresh])
    assert done.exit_code == 0, (done.output, done.exception)
    there = downloaded(tmp_path / "there")
    assert sorted(path.stem for path in (there / "cells").rglob("*.parquet")) == ["A01", "A02"]
    assert not (there / "labels").exists()
    assert not (there / "hits.parquet").exists()
    assert s3fs.S3FileSystem().cat("bucket/runs/other/run.json") == b"another run"


def nothing_computed(request: Request, message: str) -> None:
    with pytest.raises(BadRun, match=message):
        list(run(request))
    assert not list(working_folder(ADDRESS).glob("cells/*"))


def test_a_store_that_may_not_be_written_to_is_told_before_the_night(bucket, request_):
    bucket.fault = lambda path, n: REFUSED
    nothing_computed(request_, r"refuses access: .*AWS_ACCESS_KEY_ID")


def test_a_store_that_may_only_be_read(bucket, request_, small_run):
    uploaded(small_run)
    system = s3fs.S3FileSystem()
    real = bucket.inner

    def only_read(environ, start):
        if environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        return real(environ, start)

    bucket.inner = only_read
    try:
        with pytest.raises(BadRun, match=r"refuses access"):
            list(run(request_))
        assert profiler.open(ADDRESS).hits.collect().height == 12  # looking needs no more
    finally:
        bucket.inner = real
    assert not system.exists(f"{ADDRESS}/{LEASE}")


def test_a_bucket_that_is_not_there(bucket, request_):
    s3fs.S3FileSystem().rm("bucket", recursive=True)
    nothing_computed(request_, f"{ADDRESS} cannot be written to: there is no such bucket")


def test_no_credentials_at_all(bucket, request_, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    forget()
    nothing_computed(request_, r"refuses access: .*[Cc]redentials")


def test_a_store_that_goes_in_the_night(bucket, request_, small_run, tmp_path):
    saved = []

    def until_the_fifth() -> None:
        for event in run(request_):
            if isinstance(event, WellSaved):
                saved.append(event.well)
            if len(saved) == 5:
                bucket.fault = lambda path, n: BROKEN

    with pytest.raises(BadRun, match=r"failed 9 times: .*only what is missing is computed"):
        until_the_fifth()
    bucket.fault = lambda path, n: None
    assert len(list(working_folder(ADDRESS).glob("cells/*/*"))) > 5  # what it had computed stays
    again = [event.well for event in run(request_) if isinstance(event, WellSaved)]
    assert not {*saved} & {*again}
    assert len(again) < 7
    assert differences(downloaded(tmp_path / "there"), small_run) == {}


def test_a_run_on_a_disk_knows_no_store():
    code = "import sys, profiler.pipeline, profiler.store.home; print('s3fs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_watcher_writes_to_the_store(bucket, small_plate, small_run, tmp_path, monkeypatch):
    inbox, runs = tmp_path / "inbox", "s3://bucket/runs"
    shutil.copytree(small_plate, inbox / "mini")
    (inbox / "notes").mkdir()
    (inbox / "notes" / "readme.txt").write_text("not a plate")
    words = ["watch", str(inbox), "--out", runs, "--recipe", str(QUICK), "--once", "--quiet", "0"]
    words += ["--layout", str(small_plate / "platemap.csv"), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3, (done.output, done.exception)
    system = s3fs.S3FileSystem()
    assert differences(downloaded(tmp_path / "there"), small_run) == {}
    status = json.loads(system.cat(f"{runs}/status.json"))
    assert (status["state"], status["plates"]["mini"]["state"]) == ("ended", "done")
    assert b'href="mini/report.html"' in system.cat(f"{runs}/index.html")
    assert not system.exists(f"{runs}/{LEASE}")
    asked = CliRunner().invoke(app, ["query", runs, "SELECT run, status FROM runs ORDER BY run"])
    assert asked.stdout == "run,status\nmini,done\nnotes,failed\n"

    elsewhere(monkeypatch, tmp_path / "elsewhere")  # a machine that has no cache goes on
    again = CliRunner().invoke(app, words)
    told = [json.loads(line) for line in again.stdout.splitlines()]
    assert [line["event"] for line in told] == ["watching", "skipped", "began", "failed", "ended"]
    assert f"{runs}/mini has its results" in told[1]["text"]
