"""Workers of a cluster that share no run folder: each gives its wells to the store by itself."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from benchmarks.faults import differences
from plates.errors import BadRun
from profiler.cells import _begin_apart
from profiler.compute.worker import Task
from profiler.events import WellSaved
from profiler.execute.executor import NoCluster
from profiler.execute.seat import Seat, _enter
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request
from profiler.store.home import at_home, holder
from profiler.store.objects import Objects
from profiler.store.tables import read_footer
from tests.conftest import QUICK
from tests.plates.test_s3 import s3fs
from tests.test_s3_out import ADDRESS, bucket, downloaded, elsewhere, server

__all__ = ["bucket", "server"]  # fixtures

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LIT = '\n[illumination]\nmethod = "mean"\n'


@pytest.fixture
def lit(tmp_path) -> Path:
    """A recipe whose workers need the illumination functions that the command has fitted."""
    recipe = tmp_path / "lit.toml"
    recipe.write_text(QUICK.read_text() + LIT)
    return recipe


@pytest.fixture
def request_(small_plate, lit) -> Request:
    layout = small_plate / "platemap.csv"
    return Request((small_plate,), Path(ADDRESS), load_recipe(lit), layout=layout)


def test_ray_workers_give_their_wells_to_the_store(bucket, request_, lit, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs Ray: pip install 'plate-profiler[ray]'")
    here = tmp_path / "here"
    list(run(replace(request_, out=here)))

    plate = "s3://bucket/plates/mini"  # images and results in the store: no folder is shared
    s3fs.S3FileSystem().put(str(request_.plates[0]), plate, recursive=True)
    options = ["--out", ADDRESS, "--recipe", str(lit), "--layout", str(request_.layout)]
    ray = ["--executor", "ray", "--workers", "2"]
    command = [sys.executable, "-m", "profiler.cli", "run", plate, *options, *ray]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "2 workers" in done.stderr
    there = downloaded(tmp_path / "there")
    assert differences(there, here) == {}
    pictures = sorted(path.relative_to(there) for path in there.rglob("*.png"))
    assert len(pictures) == 12
    assert all((there / each).read_bytes() == (here / each).read_bytes() for each in pictures)

    files = {
        Path(stamps[-1][0])
        for path in there.glob("cells/*/*.parquet")
        for _, _, stamps in read_footer(path).parameters["inputs"]
    }
    assert {path.name for path in files} == {"functions.json"}
    folders = {path.parents[2] for path in files}
    assert len(folders) == 2  # each worker's own
    assert not any(os.environ["PROFILER_WORK"] in str(folder) for folder in folders)
    assert not any(folder.exists() for folder in folders)  # nothing is kept

    elsewhere(monkeypatch, tmp_path / "elsewhere")
    far = replace(request_, plates=(Path(plate),))
    assert not [
        event for event in run(far) if isinstance(event, WellSaved)
    ]  # wherever the functions lie, they are the same


def test_a_worker_takes_its_seat_by_the_lease(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with at_home(Path(ADDRESS)):
        seat = Seat(1, tmp_path / "gone", Path(ADDRESS), holder(Path(ADDRESS)), patience_s=0.2)
        assert '"pid"' in seat.holder
        _enter(seat)  # nothing of this machine is needed
        _enter(replace(seat, folder=tmp_path, seen=(tmp_path,)))
        with pytest.raises(NoCluster, match=r"does not see .*images as this one .*is not there"):
            _enter(replace(seat, folder=tmp_path, seen=(Path("images"),)))
        with pytest.raises(NoCluster, match="does not see .*gone as this one does"):
            _enter(replace(seat, seen=(tmp_path,)))
        with pytest.raises(NoCluster, match=rf"does not see {ADDRESS} as .*another folder, or no"):
            _enter(replace(seat, holder="another run"))


def test_a_machine_that_may_not_read_the_store(bucket, tmp_path):
    bucket.fault = lambda path, n: ("403 Forbidden", "AccessDenied", "Access Denied")
    seat = Seat(1, tmp_path, Path(ADDRESS), "this run", patience_s=0.0)
    with pytest.raises(NoCluster, match=r"does not see s3://.*refuses access.*same credentials"):
        _enter(seat)


def test_a_worker_writes_only_where_a_run_is(bucket, request_, tmp_path):
    Objects(ADDRESS).write("photo.jpg", b"")  # somebody else's place, reached by mistake
    sets = pl.DataFrame({"plate": ["mini"], "well": ["A01"]})
    events = _begin_apart(request_, ADDRESS, lease="").work(Task(sets, sets))
    with pytest.raises(BadRun, match="holds .*photo.jpg and no run.json"):
        next(events)
    assert list(Objects(ADDRESS).find()) == ["photo.jpg"]
