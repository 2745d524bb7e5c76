"""A Ray of the tests' own, and runs to compare."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

NO_RAY = "needs Ray, which is not installed: pip install 'plate-profiler[ray]'"
FORKS = pytest.mark.filterwarnings("ignore:os.fork")  # JAX's warning; Ray starts programs only


@pytest.fixture(scope="package")
def cluster():
    """Two machines of one core each, as Ray sees it."""
    ray = pytest.importorskip("ray", reason=NO_RAY)
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    small = {"object_store_memory": 80_000_000}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **small})
    made.add_node(num_cpus=1, **small)
    ray.init(made.address, log_to_driver=False, logging_level=50)
    yield made
    ray.shutdown()
    made.shutdown()


def workers(doing: str = "ray::Worker") -> list[int]:
    """Process ids of the workers under this process; Ray names a process after what it does."""
    return [pid for pid in _descendants(os.getpid()) if _command(pid).startswith(doing)]


def kill(pid: int) -> None:
    """End a process as a power cut would."""
    os.kill(pid, signal.SIGKILL)


def _descendants(parent: int) -> Iterator[int]:
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, _read(path).split()):
            yield child
            yield from _descendants(child)


def _command(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/cmdline"))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def tables(out: Path) -> dict[Path, pl.DataFrame]:
    """Every Parquet file of a run, but for its age, its length and what befell it."""
    found = {path.relative_to(out): pl.read_parquet(path) for path in out.rglob("*.parquet")}
    del found[Path("index.parquet")], found[Path("incidents.parquet")]
    return {
        path: table.drop(c for c in table.columns if c.startswith("Metadata_Seconds"))
        for path, table in found.items()
    }


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Check that two runs hold the same tables and pictures, bit for bit."""
    one, other = tables(ours), tables(theirs)
    assert one.keys() == other.keys()
    assert len(one) > 24  # cells and images of twelve wells, and what follows from them
    for path, table in one.items():
        assert_frame_equal(table, other[path], check_exact=True)
    for picture in [*ours.rglob("*.png"), *ours.rglob("*.tif")]:
        assert picture.read_bytes() == (theirs / picture.relative_to(ours)).read_bytes()
