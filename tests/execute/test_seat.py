"""A worker's place: its share of the cores, and what is said where there is no Ray."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from profiler.compute.devices import available_cores
from profiler.execute.executor import NoCluster
from profiler.execute.seat import Seat, Worker, _enter, versions
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Cluster, Request
from profiler.store.lock import LOCK

QUICK = Path(__file__).parents[1] / "quick.toml"

THREADS = """
from pathlib import Path
import jax.numpy as jnp
jnp.ones(3).block_until_ready()
names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
print(names.count("tf_XLAEigen"))
"""


def test_a_worker_keeps_to_its_share_of_the_cores(monkeypatch):
    for name in ("NPROC", "POLARS_MAX_THREADS"):
        monkeypatch.setenv(name, "64")  # so that they are put back
    Worker(1)
    assert available_cores() == 1
    Worker(10_000)
    assert available_cores() <= (os.cpu_count() or 1)


def test_a_machine_with_other_versions_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / LOCK).write_text("this run")
    ours = Seat(1, tmp_path, tmp_path, "this run", versions=versions())
    assert "none" not in ours.versions.values()
    _enter(ours)
    others = {**ours.versions, "jax": "0.0.1", "no-such-package": "2"}
    named = rf"has jax {ours.versions['jax']} and not 0\.0\.1, no-such-package none and not 2, so"
    with pytest.raises(NoCluster, match=named + r".*Install the same versions"):
        _enter(replace(ours, versions=others))


@pytest.mark.parametrize("cores", [1, 3])
def test_xla_starts_as_many_threads_as_it_is_told(cores):
    environment = {**os.environ, "NPROC": str(cores)}
    command = [sys.executable, "-c", THREADS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout) == cores


def test_without_ray_a_cluster_is_refused(small_plate, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "profiler.execute.cluster", None)
    request = Request((small_plate,), tmp_path / "run", load_recipe(QUICK), cluster=Cluster())
    with pytest.raises(NoCluster, match=r"pip install 'plate-profiler\[ray\]'; nothing was"):
        list(run(request))
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
