"""Plates on an S3 server of our own: read as from a disk, through faults, or refused in words.

Needs `pip install s3fs "moto[server]"`.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import fsspec.asyn
import numpy as np
import pytest
import tifffile

import plates.remote as remote
from plates.errors import BadImage, BadPlate
from plates.imageset import image_sets
from plates.loader import batches, expected_format
from plates.pixels import is_unchanged, read_plane
from plates.readers import scan

needs = "needs s3fs and moto[server], an S3 server to test with"
s3fs = pytest.importorskip("s3fs", reason=needs)
moto = pytest.importorskip("moto.server", reason=needs)
zarr_loop = pytest.importorskip("zarr.core.sync", reason=needs).loop
serving = pytest.importorskip("werkzeug.serving", reason=needs)

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
REFUSED = ("403 Forbidden", "AccessDenied", "Access Denied")
BROKEN = ("503 Service Unavailable", "InternalError", "We encountered an internal error")


class Server:
    """An S3 server that can be told to fail.

    Attributes:
        asked: How often each path was asked for.
        fault: Given a path and the number of the request, the error to answer with, or None.
    """

    def __init__(self) -> None:
        self.inner = moto.DomainDispatcherApplication(moto.create_backend_app)
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.fault: Callable[[str, int], tuple[str, str, str] | None] = lambda path, n: None

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.asked[path] += 1
        error = self.fault(path, self.asked.total())
        if error is None:
            return self.inner(environ, start)
        status, code, message = error
        start(status, [("Content-Type", "application/xml")])
        if environ["REQUEST_METHOD"] == "HEAD":  # as S3 does; clients break off at a body
            return []
        return [f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()]


@pytest.fixture(scope="module")
def server():
    app = Server()
    http = serving.make_server("127.0.0.1", 0, app, threaded=True)
    app.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield app
    http.shutdown()
    thread.join(5)


@pytest.fixture
def store(server, monkeypatch):
    """Put a folder into a bucket, and forget the faults of the test before."""
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",  # the tries that count are ours
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "PAUSE_S", 0)
    server.fault = lambda path, n: None
    forget()

    def store(home, name="plate"):
        system = s3fs.S3FileSystem()
        if not system.exists("bucket"):
            system.mkdir("bucket")
        if system.exists(f"bucket/{name}"):
            system.rm(f"bucket/{name}", recursive=True)
        system.put(str(home), f"bucket/{name}", recursive=True)
        server.asked.clear()
        return f"s3://bucket/{name}"

    yield store
    forget()


def forget():
    """Start as a new process would."""
    for system in list(s3fs.S3FileSystem._cache.values()):
        if system._s3 is not None:  # else it warns when Python ends
            loop = zarr_loop[0] if system.asynchronous else system.loop
            fsspec.asyn.sync(loop, system._s3.__aexit__, None, None, None)
            system._s3 = None
    s3fs.S3FileSystem.clear_instance_cache()
    remote._open_remote_array.cache_clear()


@pytest.fixture
def tiffs(tmp_path):
    """Six wells of one plane each, no two alike."""
    home = tmp_path / "plate"
    home.mkdir()
    for column in range(1, 7):
        pixels = np.full((4, 6), column, np.uint16)
        tifffile.imwrite(home / f"demo_A{column:02d}_s1_DNA.tif", pixels)
    return home


def loaded(planes, *, channels):
    sets = image_sets(planes, channels=channels, timepoint=1)
    shape = expected_format(sets, channels=channels)
    return list(batches(sets, channels=channels, pixel_format=shape, size=2))


@pytest.mark.parametrize("kind", ["pattern", "harmony", "imagexpress, exported", "ome-zarr"])
def test_a_plate_in_a_bucket_is_the_plate(trees, tmp_path, store, kind):
    home = trees[kind](tmp_path / "plate")
    address = store(home)
    here, there = scan(home), scan(address)
    assert there.drop("path", "flat_field").equals(here.drop("path", "flat_field"))
    channels = {"A": here["channel"][0]}
    for ours, theirs in zip(
        loaded(there, channels=channels), loaded(here, channels=channels), strict=True
    ):
        assert ours.keys == theirs.keys
        assert not ours.failures
        np.testing.assert_array_equal(ours.images, theirs.images)


@pytest.mark.parametrize("kind", ["tiff", "ome-zarr"])
def test_one_request_in_ten_fails_and_nothing_is_lost(trees, tmp_path, tiffs, store, server, kind):
    home = tiffs if kind == "tiff" else trees[kind](tmp_path / "zarr")
    address = store(home)
    failed = []

    def fault(path, n):
        if n % 10 == 3:
            failed.append(path)
            return BROKEN
        return None

    server.fault = fault
    here = scan(home)
    for trial in range(3):  # so that every kind of request meets a fault
        forget()
        there = scan(address)
        assert there.drop("path", "flat_field").equals(here.drop("path", "flat_field")), trial
        for local, far in zip(here["path"], there["path"], strict=True):
            np.testing.assert_array_equal(read_plane(far).pixels, read_plane(local).pixels)
    assert len(failed) >= 3


def test_files_are_asked_for_ahead_and_several_at_a_time(tiffs, store, server):
    planes = scan(store(tiffs))
    sets = image_sets(planes, channels={"A": "DNA"})
    shape = expected_format(sets, channels=["A"])
    now, most = set(), [0]

    def slow(path, n):
        now.add(n)
        most[0] = max(most[0], len(now))
        time.sleep(0.1)
        now.discard(n)

    server.fault = slow
    server.asked.clear()
    coming = batches(sets, channels=["A"], pixel_format=shape, size=1, ahead=2)
    next(coming)
    deadline = time.monotonic() + 30
    while len(server.asked) < 3:  # of the first batch, and of two that nobody has asked for yet
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(list(coming)) == 5
    assert most[0] > 1


def test_what_stays_broken_is_a_coded_row_until_it_is_mended(tiffs, store, server):
    address = store(tiffs)
    planes = scan(address)
    broken = planes["path"][0]
    server.fault = lambda path, n: BROKEN if path.endswith(broken.rpartition("/")[2]) else None
    done = loaded(planes, channels={"A": planes["channel"][0]})
    (failure,) = (failure for batch in done for failure in batch.failures)
    assert (failure.key.well, failure.code) == (planes["well"][0], "unreadable")
    assert "failed 6 times" in failure.message
    assert sum(len(batch.keys) for batch in done) == planes["well"].n_unique() - 1
    (stamp,) = (batch.inputs[failure.key][0] for batch in done if failure.key in batch.inputs)
    server.fault = lambda path, n: None
    assert not is_unchanged(stamp, broken)


def test_credentials_that_are_refused_are_told_at_once(tiffs, store, server, monkeypatch):
    address = store(tiffs)
    path = scan(address)["path"][0]
    server.fault = lambda path, n: REFUSED
    waits = []
    monkeypatch.setattr(remote.time, "sleep", waits.append)
    with pytest.raises(BadPlate, match=r"refuses access: .* AWS_ACCESS_KEY_ID .*FSSPEC_S3_ANON"):
        scan(address)
    with pytest.raises(BadImage, match=r"refuses access: .*credentials") as caught:
        read_plane(path)
    assert caught.value.code == "unreadable"
    assert not waits  # no use in asking again


def test_no_credentials_at_all(trees, tmp_path, store, monkeypatch):
    address = store(trees["ome-zarr"](tmp_path / "plate"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    forget()
    with pytest.raises(BadPlate, match=r"refuses access: .*[Cc]redentials.*AWS_ACCESS_KEY_ID"):
        scan(address)


def test_a_lost_chunk_is_a_missing_file(trees, tmp_path, store):
    address = store(trees["ome-zarr"](tmp_path / "plate"))
    path = scan(address)["path"][0]
    array, index = path.split("#index=")
    system = s3fs.S3FileSystem()
    chunks = [name for name in system.find(array) if name.rpartition("/")[2][0] != "."]
    (lost,) = (name for name in chunks if name.rpartition("/")[2].startswith(f"{index}."))
    system.rm(lost)
    with pytest.raises(BadImage, match="is not there") as caught:
        read_plane(path)
    assert caught.value.code == "missing_file"


def test_a_plane_of_an_array_costs_few_requests(trees, tmp_path, store, server):
    address = store(trees["ome-zarr"](tmp_path / "plate"))
    paths = scan(address)["path"]
    read_plane(paths[0])
    server.asked.clear()
    for path in paths[:4]:
        read_plane(path)
    assert server.asked.total() <= 4 * 2, server.asked
