"""Files of many planes in a store: what is fetched, what is kept, and what is told of outages."""

import gc
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

import plates.pieces as pieces
import plates.remote as remote
from plates.errors import BadImage
from plates.pieces import BLOCK, Shelf
from plates.pixels import read_plane

fsspec = pytest.importorskip("fsspec")
MEMORY = type(fsspec.filesystem("memory"))
KINDS = [("many.tif", "#page={}"), ("many.h5", "#dataset=/images&index={}")]


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(remote, "_headers", Shelf())


def many_planes(path: Path, *, seed: int = 0) -> np.ndarray:
    """Twenty planes of 128 kB each, one file."""
    planes = np.random.default_rng(seed).integers(0, 60_000, (20, 256, 256), np.uint16)
    if path.suffix == ".tif":
        tifffile.imwrite(path, planes, photometric="minisblack")
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=planes, chunks=(1, 256, 256), compression="gzip")
    return planes


@pytest.mark.parametrize(("name", "place"), KINDS)
def test_of_many_planes_in_one_file_of_a_store_only_what_is_asked_for_is_fetched(
    tmp_path, store, fetched, name, place
):
    planes = many_planes(tmp_path / name)
    address = store(tmp_path / name, name)
    plane = planes[0].nbytes
    for number in (13, 4, 19):
        fetched.clear()
        found = read_plane(address + place.format(number))
        np.testing.assert_array_equal(found.pixels, planes[number])
        assert found.stamp.bytes == (tmp_path / name).stat().st_size
        assert sum(fetched) < 4 * plane
    fetched.clear()
    read_plane(address + place.format(7))
    assert len(fetched) <= 2, fetched  # the headers are known
    other = many_planes(tmp_path / name, seed=1)
    store(tmp_path / name, name)
    np.testing.assert_array_equal(read_plane(address + place.format(7)).pixels, other[7])


def scattered(path: Path, *, seed: int = 0, size: int = 64, count: int = 12) -> np.ndarray:
    """Planes that lie each behind a header of its own, one file; of any seed as many bytes."""
    planes = np.random.default_rng(seed).integers(0, 60_000, (count, size, size), np.uint16)
    if path.suffix == ".tif":
        with tifffile.TiffWriter(path) as file:
            for plane in planes:
                file.write(plane, contiguous=False, photometric="minisblack", metadata=None)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=planes, chunks=(1, size, size))
    return planes


@pytest.fixture
def outage(monkeypatch):
    """Let the store go down after some requests; returns how many there were."""
    whole, asked = MEMORY.cat_file, []

    def from_request(number: int) -> list[str]:
        asked.clear()

        def down(self, path, **options):
            asked.append(path)
            if len(asked) > number:
                raise TimeoutError("no route")
            return whole(self, path, **options)

        monkeypatch.setattr(MEMORY, "cat_file", down)
        return asked

    return from_request


@pytest.mark.parametrize(("name", "place"), KINDS)
def test_a_store_that_goes_down_at_any_request_of_a_plane(
    tmp_path, store, monkeypatch, outage, name, place
):
    """tifffile takes a header that cannot be fetched for the end of a file of fewer pages."""
    planes = scattered(tmp_path / name, size=256)
    if name == "many.h5":
        with h5py.File(tmp_path / name, "a") as file:  # so that the way to the plane is long
            for well in range(40):
                file[f"A{well:02d}/1/images"] = np.zeros((20, 20))
            file.move("images", "A33/2/images")
            file["images"] = file["A33/2/images"]
    address = store(tmp_path / name, name) + place.format(9)
    asked = outage(1000)
    np.testing.assert_array_equal(read_plane(address).pixels, planes[9])
    requests = len(asked)
    assert requests >= (11 if name == "many.tif" else 4)
    for number in range(requests):
        monkeypatch.setattr(remote, "_headers", Shelf())
        asked = outage(number)
        with pytest.raises(BadImage, match=r"cannot be read: .*failed 6 times: no rou") as caught:
            read_plane(address)
        assert caught.value.code == "unreadable", number
        assert len(asked) == number + remote.TRIES
    outage(1000)  # and what was kept of it is right
    np.testing.assert_array_equal(read_plane(address).pixels, planes[9])


@pytest.mark.parametrize(("name", "place"), KINDS)
def test_a_file_that_could_not_be_read_is_freed(tmp_path, store, outage, name, place):
    """Held by HDF5 until the process ends, it made that end with a segmentation fault."""
    scattered(tmp_path / name)
    address = store(tmp_path / name, name) + place.format(9)
    outage(0)
    with pytest.raises(BadImage, match="no route"):
        read_plane(address)
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) is remote.RemoteFile]


def test_a_file_that_has_fewer_pages_is_still_told(tmp_path, store):
    scattered(tmp_path / "many.tif")
    address = store(tmp_path / "many.tif", "many.tif")
    with pytest.raises(BadImage, match="has 12 pages, fewer than its index says") as caught:
        read_plane(f"{address}#page=12")
    assert caught.value.code == "missing_page"


def test_what_h5py_says_names_the_address(tmp_path, store):
    scattered(tmp_path / "many.h5")
    with h5py.File(tmp_path / "many.h5", "a") as file:
        layout = h5py.VirtualLayout((1, 4, 6), np.uint16)
        layout[:] = h5py.VirtualSource("other.h5", "images", (1, 4, 6))
        file.create_virtual_dataset("led", layout)
    address = store(tmp_path / "many.h5", "many.h5")
    with pytest.raises(BadImage, match=r"memory://bucket/many\.h5: the pixels of /led lie in anot"):
        read_plane(f"{address}#dataset=/led&index=0")


@pytest.fixture
def said(monkeypatch):
    """Let the store say other things of its files than when they were made."""
    info = MEMORY.info

    def saying(**more):
        def other(self, path, **options):
            found = info(self, path, **options)
            return {name: found[name] for name in ("name", "size", "type")} | more

        monkeypatch.setattr(MEMORY, "info", other)

    return saying


@pytest.mark.parametrize(("name", "place"), KINDS)
@pytest.mark.parametrize(
    "silent", [{}, {"url": "x", "mimetype": "image/tiff", "ETag": None}, {"mode": 33188}]
)
def test_of_a_store_that_knows_no_changes_nothing_is_kept(
    tmp_path, store, said, name, place, silent
):
    said(**silent)
    first, then = (scattered(tmp_path / f"{seed}/{name}", seed=seed) for seed in made(tmp_path))
    address = store(tmp_path / f"0/{name}", name) + place.format(5)
    np.testing.assert_array_equal(read_plane(address).pixels, first[5])
    before = read_plane(address).stamp
    store(tmp_path / f"1/{name}", name)
    now = read_plane(address)
    np.testing.assert_array_equal(now.pixels, then[5])
    assert (now.stamp.bytes, now.stamp.digest != before.digest) == (before.bytes, True)


def made(home: Path) -> tuple[int, int]:
    for seed in (0, 1):
        (home / str(seed)).mkdir()
    return 0, 1


@pytest.mark.parametrize(("name", "place"), KINDS)
@pytest.mark.parametrize(
    "clock",  # of fsspec's webhdfs, ftp and http; of gcsfs, adlfs and s3fs
    ["modificationTime", "modify", "Last-Modified", "md5Hash", "last_modified", "LastModified"],
)
def test_headers_are_kept_until_any_clock_of_a_store_moves(
    tmp_path, store, said, fetched, name, place, clock
):
    first, then = (scattered(tmp_path / f"{seed}/{name}", seed=seed) for seed in made(tmp_path))
    address = store(tmp_path / f"0/{name}", name) + place.format(5)
    said(**{clock: "yesterday"})
    for _ in range(2):
        fetched.clear()
        np.testing.assert_array_equal(read_plane(address).pixels, first[5])
    assert fetched == []  # planes as small as these are kept as headers are
    store(tmp_path / f"1/{name}", name)
    said(**{clock: "today"})
    np.testing.assert_array_equal(read_plane(address).pixels, then[5])


def test_a_listing_from_before_says_nothing_of_a_file_now(tmp_path, store, monkeypatch):
    """s3fs answers `info` from what it listed, until it is told to forget that."""
    first, then = (scattered(tmp_path / f"{x}/many.h5", seed=x) for x in made(tmp_path))
    address = store(tmp_path / "0/many.h5", "many.h5") + "#dataset=/images&index=5"
    info, listed = MEMORY.info, {}

    def from_the_listing(self, path, **options):
        return listed.setdefault(path, info(self, path, **options))

    monkeypatch.setattr(MEMORY, "info", from_the_listing)
    monkeypatch.setattr(MEMORY, "invalidate_cache", lambda self, path=None: listed.clear())
    np.testing.assert_array_equal(read_plane(address).pixels, first[5])
    assert listed
    store(tmp_path / "1/many.h5", "many.h5")
    np.testing.assert_array_equal(read_plane(address).pixels, then[5])


def test_of_a_plane_only_its_header_is_kept(tmp_path, store):
    """And not the sixteen kilobytes that came with it."""
    count = 150
    scattered(tmp_path / "many.tif", size=96, count=count)
    address = store(tmp_path / "many.tif", "many.tif")
    read_plane(f"{address}#page={count - 1}")
    with remote.open_remote(address) as file:
        ahead = file.pieces.count() - len(file.pieces._read)
        assert len(file.pieces._read) <= 2 * count + 32
        assert ahead <= pieces.MOST_AHEAD


def test_small_planes_are_kept_within_bounds(tmp_path, store, monkeypatch):
    monkeypatch.setattr(pieces, "MOST_READ", 40)
    monkeypatch.setattr(pieces, "MOST_AHEAD", 20)
    planes = scattered(tmp_path / "many.h5", count=60)
    address = store(tmp_path / "many.h5", "many.h5")
    for number in (*range(60), *range(60)):
        found = read_plane(f"{address}#dataset=/images&index={number}")
        np.testing.assert_array_equal(found.pixels, planes[number])
    with remote.open_remote(address) as file:
        assert 0 < file.pieces.count() * BLOCK <= 60 * BLOCK < planes.nbytes / 7


def test_a_file_whose_size_no_store_tells_is_fetched_whole(tmp_path, store, fetched, monkeypatch):
    planes = many_planes(tmp_path / "many.tif")
    address = store(tmp_path / "many.tif", "many.tif")
    system = MEMORY
    info = system.info

    def sizeless(self, path, **options):
        return info(self, path, **options) | {"size": None}

    monkeypatch.setattr(system, "info", sizeless)
    np.testing.assert_array_equal(read_plane(f"{address}#page=3").pixels, planes[3])
    assert fetched == [(tmp_path / "many.tif").stat().st_size]
