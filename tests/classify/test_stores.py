"""Runs in a store, here fsspec's store in memory: the same classes as in a folder, and no less."""

import shutil
import uuid
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from plates.errors import BadModel, BadRun
from profiler import cli
from profiler.classify.model import read_model
from profiler.classify.tables import classify_run
from profiler.store import lease
from profiler.store.home import at_home
from profiler.store.objects import Objects
from profiler.store.screen import open as open_screen

pytest.importorskip("fsspec")
RUNNER = CliRunner()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A function: be another machine from now on, one that has no cache yet."""

    def move() -> None:
        monkeypatch.setenv("PROFILER_WORK", str(tmp_path / uuid.uuid4().hex))

    monkeypatch.setattr(lease, "SETTLE_S", 0)
    move()
    return move


@pytest.fixture
def address(one_plate, elsewhere) -> str:
    """A run of one plate with pictures, in a store."""
    return put(one_plate.out)


def put(run: Path) -> str:
    address = f"memory://{uuid.uuid4().hex}/runs/next"
    with at_home(Path(address)) as home:
        shutil.copytree(run, home.folder, dirs_exist_ok=True)
        home.push()
    return address


def call(*words: str | Path):
    return RUNNER.invoke(cli.app, [str(word) for word in words])


def test_classes_in_a_store_are_those_in_a_folder(address, one_plate, trained, tmp_path, elsewhere):
    here = shutil.copytree(one_plate.out, tmp_path / "here")
    list(classify_run(here, read_model(trained)))
    elsewhere()
    done = call("classify", address, "--model", trained)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Metadata_Compound,")
    there = Objects(address).find()
    assert sum(name.startswith("classes/N7/") for name in there) == 24
    assert {"classes.parquet", "class_hits.parquet"} <= there.keys()
    elsewhere()
    one, other = open_screen(here), open_screen(address)
    for table in ("cell_classes", "classes", "class_hits"):
        assert_frame_equal(one.table(table).collect(), other.table(table).collect())
    assert other.facts.summary["classes"] == one.facts.summary["classes"]


def test_wells_classified_on_another_machine_are_not_done_again(address, trained, elsewhere):
    assert call("classify", address, "--model", trained).exit_code == 0
    before = {n: f for n, f in Objects(address).find().items() if n.startswith("classes/")}
    elsewhere()
    assert call("classify", address, "--model", trained).exit_code == 0
    after = {n: f for n, f in Objects(address).find().items() if n.startswith("classes/")}
    assert after == before


def test_what_a_store_holds_in_part_is_told_by_its_address(address, trained, elsewhere):
    with pytest.raises(BadRun, match=f"{address} has no cell_classes yet.*classify {address} "):
        open_screen(address).cell_classes  # noqa: B018
    assert call("classify", address, "--model", trained).exit_code == 0
    Objects(address).remove(["classes/N7/B02.parquet"])
    elsewhere()
    message = f"1 of 24 wells of {address} have no classes, such as N7 B02.*classify {address} "
    with pytest.raises(BadRun, match=message):
        open_screen(address).cell_classes  # noqa: B018


def test_cells_that_do_not_fit_are_told_by_the_address(plant_run, trained, elsewhere):
    address = put(plant_run(lacks=("Cells_Planted_F3",)).out)
    before = Objects(address).find()
    done = call("classify", address, "--model", trained)
    assert isinstance(done.exception, BadModel)
    assert str(done.exception).startswith(f"{address}/cells/P1/A01.parquet lacks 1 of the 12")
    assert Objects(address).find() == before


def test_labels_may_be_of_a_run_in_a_store(planted, tmp_path, elsewhere):
    address, table = put(planted.out), tmp_path / "labels.csv"
    planted.labels(every=6).write_csv(table)
    elsewhere()
    paths = [tmp_path / f"{name}.safetensors" for name in ("here", "there")]
    for run, path in zip((planted.out, address), paths, strict=True):
        done = call("train", "classifier", table, "--run", run, "--out", path)
        assert done.exit_code == 0, done.output
    one, other = (read_model(path) for path in paths)
    assert one.card == other.card


def test_cells_to_label_have_their_pictures(address, one_plate, trained, tmp_path, elsewhere):
    elsewhere()
    for run, out in ((one_plate.out, "here"), (address, "there")):
        words = ("suggest-cells", run, "--out", tmp_path / out, "--model", trained, "--cells", 6)
        done = call(*words)
        assert done.exit_code == 0, done.output
    one, other = (pl.read_csv(tmp_path / name / "cells.csv") for name in ("here", "there"))
    assert_frame_equal(one, other)
    sheets = [(tmp_path / name / "cells.png").read_bytes() for name in ("here", "there")]
    assert sheets[0] == sheets[1]
