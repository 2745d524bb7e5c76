"""Scanning a plate in a store: outages, listings without sizes, and how much is fetched for it."""

import re
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

import plates.readers.mirror as mirror
import plates.remote as remote
from plates.errors import BadPlate
from plates.pieces import Shelf
from plates.readers import ome_tiff, scan
from plates.remote import PIECE
from tests.plates.conftest import pixels

fsspec = pytest.importorskip("fsspec")
MEMORY = type(fsspec.filesystem("memory"))


@pytest.fixture
def asked(monkeypatch):
    """Path, start and end of each request; from the number `asked.working` on they fail.

    All of them, or as often as it is asked again only the first of those, if `asked.passes`.
    """
    whole = MEMORY.cat_file

    class Asked(list):
        working = 1 << 30
        passes = False

        def ranges(self) -> list[tuple[str, int, int]]:
            return [request for request in self if request[1] is not None]

    asked = Asked()

    def counted(self, path, start=None, end=None, **options):
        asked.append((path, start, end))
        is_down = len(asked) > asked.working
        first = asked[asked.working][:2] if is_down else None
        failed = sum(request[:2] == first for request in asked[asked.working :])
        if is_down and not (asked.passes and ((path, start) != first or failed > remote.TRIES)):
            raise TimeoutError("no route")
        return whole(self, path, start=start, end=end, **options)

    monkeypatch.setattr(MEMORY, "cat_file", counted)
    return asked


def two_files(home: Path, kind: str) -> Path:
    """A plate of two files that hold their index, each of some requests."""
    home.mkdir(parents=True)
    for number in (1, 2):
        if kind == "ome-tiff":
            path = home / f"screen_B0{number}.ome.tif"
            tifffile.imwrite(path, pixels(number)[None], metadata={"axes": "CYX"})
        elif kind == "imagexpress":
            path = home / f"TimePoint_1/x_B0{number}_s1_w1.TIF"
            path.parent.mkdir(exist_ok=True)
            said = (
                '<MetaData><prop id="spatial-calibration-x" value="0.65"/>'
                '<prop id="spatial-calibration-units" value="um"/></MetaData>'
            )
            with tifffile.TiffWriter(path) as file:  # whose header lies behind its pixels
                file.write(np.zeros((128, 128), np.uint16), description=said, metadata=None)
            (home / "x.HTD").touch()
        else:
            with h5py.File(home / f"p{number}.{'ch5' if kind == 'cellh5' else 'h5'}", "w") as store:
                write_wells(store, kind, number=number)
    return home


def write_wells(store: h5py.File, kind: str, *, number: int) -> None:
    for column in range(1, 13):
        if kind == "cellh5":
            where = f"/sample/0/plate/H{number}/experiment/B{column}/position/1/image/channel"
            store[where] = np.zeros((2, 1, 1, 32, 32), np.uint16)
        else:
            store.attrs.update({"format": "plate-profiler", "version": 2, "channels": ["a", "b"]})
            store.attrs["plate"] = f"P{number}"
            store[f"B{column:02d}/1/images"] = np.zeros((1, 2, 1, 32, 32), np.uint16)
            store[f"B{column:02d}/1/has_plane"] = np.ones((1, 2, 1), bool)


SELF_TOLD = ["ome-tiff", "imagexpress", "hdf5", "cellh5"]


@pytest.mark.parametrize("passes", [False, True])
@pytest.mark.parametrize("kind", SELF_TOLD)
def test_a_store_that_goes_down_at_any_request_of_a_scan(tmp_path, store, asked, kind, passes):
    """It is no damaged plate, nor one of fewer files or without pixel sizes."""
    asked.passes = passes
    home = two_files(tmp_path / "plate", kind)
    address = store(home)
    whole = scan(address)
    assert whole.drop("path").equals(scan(home).drop("path"))
    requests = len(asked)
    assert len(asked.ranges()) >= (2 if kind in ("ome-tiff", "imagexpress") else 6)
    for number in range(requests):
        asked.clear()
        asked.working = number
        with pytest.raises(BadPlate, match=r"cannot be read: .*failed 6 times: no r") as caught:
            scan(address)
        assert "Copy it again" not in str(caught.value), number
        assert "damaged" not in str(caught.value), number
        assert "/tmp" not in str(caught.value), number
    asked.clear()
    asked.working = 1 << 30
    assert scan(address).equals(whole)


@pytest.fixture
def sizeless(monkeypatch):
    """Let listings of the store tell no sizes, as those of web servers."""
    find = MEMORY.find

    def without(self, path, *, detail=False, **options):
        found = find(self, path, detail=detail, **options)
        return {name: info | {"size": None} for name, info in found.items()} if detail else found

    return lambda: monkeypatch.setattr(MEMORY, "find", without)


@pytest.mark.parametrize("kind", [*SELF_TOLD, "harmony", "ome-tiff, companion", "pattern"])
def test_a_plate_whose_listing_tells_no_sizes(trees, tmp_path, store, sizeless, monkeypatch, kind):
    home = tmp_path / "plate"
    home = two_files(home, kind) if kind in SELF_TOLD else trees[kind](home)
    address = store(home)
    sizeless()
    assert scan(address).drop("path").equals(scan(home).drop("path"))
    info = MEMORY.info  # nor does it tell them when it is asked for one file
    monkeypatch.setattr(MEMORY, "info", lambda self, path: info(self, path) | {"size": None})
    assert scan(address).drop("path").equals(scan(home).drop("path"))


def test_an_index_is_as_large_without_a_size_in_the_listing(
    trees, tmp_path, store, sizeless, asked, monkeypatch
):
    address = store(trees["harmony"](tmp_path / "plate"))
    sizeless()
    monkeypatch.setattr(mirror, "LARGEST", 1000)
    with pytest.raises(BadPlate, match="Index"):
        scan(address)
    assert not [path for path, _, _ in asked if path.endswith(".xml")]


@pytest.mark.parametrize("kind", SELF_TOLD)
def test_no_piece_is_fetched_twice_for_a_scan(tmp_path, store, asked, monkeypatch, kind):
    """And of headers that are read once nothing is kept: of a large plate they would fill it."""
    kept, of = [], Shelf.of
    monkeypatch.setattr(Shelf, "of", lambda self, state: (kept.append(state), of(self, state))[1])
    address = store(two_files(tmp_path / "plate", kind))
    scan(address)
    times = Counter((path, start) for path, start, _ in asked.ranges())
    assert set(times.values()) == {1}, times
    names = {path.name for path in kept}
    assert names == {"hdf5": {"p1.h5", "p2.h5"}, "cellh5": {"p1.ch5", "p2.ch5"}}.get(kind, set())


def of_one_uuid(home: Path, planes: list[np.ndarray]) -> int:
    """Fields of one well in files of one UUID; returns how many bytes each has."""
    home.mkdir(exist_ok=True)
    for site, plane in enumerate(planes, 1):
        path = home / f"screen_B03_s{site}.ome.tif"
        tifffile.imwrite(path, plane[None], metadata={"axes": "CYX"})
        with tifffile.TiffFile(path) as file:
            said = file.ome_metadata
        tifffile.tiffcomment(path, re.sub('UUID="[^"]*"', 'UUID="urn:uuid:1"', str(said)).encode())
    (size,) = {path.stat().st_size for path in home.iterdir()}
    return size


def test_files_of_one_uuid_are_told_apart_by_little_of_each(tmp_path, store, fetched):
    planes = [np.random.default_rng(n).integers(0, 9999, (512, 512), np.uint16) for n in range(9)]
    of_one_uuid(tmp_path / "plate", planes)
    address = store(tmp_path / "plate")
    fetched.clear()
    assert len(scan(address)) == 9
    headers, middles = 2 * 9, 9  # of the headers one piece lies behind the pixels
    assert len(fetched) == headers + middles
    assert sum(fetched) <= (headers + middles) * PIECE


@pytest.mark.parametrize("row", [0, 511])
def test_files_of_one_uuid_that_differ_in_one_pixel(tmp_path, store, fetched, row):
    planes = [np.zeros((512, 512), np.uint16) for _ in range(6)]
    for number, plane in enumerate(planes):
        plane[row, row] = number
    size = of_one_uuid(tmp_path / "plate", planes)
    address = store(tmp_path / "plate")
    fetched.clear()
    assert len(scan(address)) == len(scan(tmp_path / "plate")) == 6
    assert sum(fetched) <= 6 * (size + 3 * PIECE), "none is fetched twice"
    planes[4][:] = planes[1]
    of_one_uuid(tmp_path / "plate", planes)
    for place in (tmp_path / "plate", store(tmp_path / "plate")):
        with pytest.raises(BadPlate, match=r"s2.ome.tif and .*s5.ome.tif are copies of one file"):
            scan(place)


def test_copies_of_one_file_in_a_store_are_told_from_files_of_one_uuid(tmp_path, store):
    home = tmp_path / "plate"
    home.mkdir()
    for site, level in enumerate((7, 9), 1):
        path = home / f"screen_B03_s{site}.ome.tif"
        tifffile.imwrite(path, np.full((1, 8, 8), level, np.uint16), metadata={"axes": "CYX"})
        with tifffile.TiffFile(path) as file:
            said = file.ome_metadata
        tifffile.tiffcomment(path, re.sub('UUID="[^"]*"', 'UUID="urn:uuid:1"', str(said)).encode())
    assert len(scan(store(home))) == len(scan(home)) == 2
    (home / "screen_B03_s2.ome.tif").write_bytes((home / "screen_B03_s1.ome.tif").read_bytes())
    for place in (home, store(home)):
        with pytest.raises(BadPlate, match="are copies of one file, which would be two fields"):
            scan(place)


def test_headers_of_many_files_are_looked_at_in_their_turn(tmp_path, monkeypatch):
    """And the list of those that wait is not made anew for every sixteen."""

    class Named(set):
        looked = 0

        def __contains__(self, path):
            self.looked += 1
            return super().__contains__(path)

    files, named = [tmp_path / f"p_{number:04d}.ome.tif" for number in range(640)], Named()
    monkeypatch.setattr(ome_tiff, "indexes", lambda source, *patterns: files)
    monkeypatch.setattr(ome_tiff, "_header", lambda image, path: path.name.encode())
    found = []
    for path, header in ome_tiff._headers(tmp_path, named):
        assert header == path.name.encode()
        found.append(path)
        if path is files[100]:
            named |= set(files[101:200])  # some of which have been read ahead
    assert found == files[:101] + files[200:]
    assert named.looked <= 2 * len(files)
