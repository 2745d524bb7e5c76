"""Plates in a store: every index format through its mirror, stores that fail, and none at all."""

from pathlib import Path

import numpy as np
import pytest

from plates.errors import BadImage, BadPlate
from plates.imageset import image_sets
from plates.loader import batches, expected_format
from plates.pixels import UNKNOWN, is_unchanged, read_plane
from plates.readers import scan, unused_images
from plates.readers.flatfield import read_flat_field
from plates.remote import asked_again
from tests.plates.conftest import edit_ome

fsspec = pytest.importorskip("fsspec")


@pytest.mark.parametrize(
    "kind",
    ["harmony", "cellvoyager", "incell", "scanr", "imagexpress", "imagexpress, exported", "pattern",
     "loaddata", "samplesheet", "ome-tiff, companion", "ome-tiff", "hdf5", "cellh5"],
)  # fmt: skip
def test_a_plate_in_a_store_is_the_plate(trees, tmp_path, store, kind):
    home = trees[kind](tmp_path / "plate")
    address = store(home)
    here, there = scan(home), scan(address)
    places = ["path", "flat_field"]
    assert there.drop(places).equals(here.drop(places))
    assert [p.removeprefix(address) for p in there["path"]] == [
        p.removeprefix(str(home)) for p in here["path"]
    ]
    for local, far in zip(here["path"], there["path"], strict=True):
        np.testing.assert_array_equal(read_plane(far).pixels, read_plane(local).pixels)
    assert there["flat_field"].equals(here["flat_field"].str.replace(str(home), address))
    assert unused_images(address, there) == []


def test_profiles_in_a_store(trees, tmp_path, store):
    home = trees["harmony"](tmp_path / "plate", version=6, index="Index.xml")
    index = home / "Images/Index.xml"
    profile = "<FlatfieldProfile>{Foreground: {Character: Flat}}</FlatfieldProfile><ChannelName>"
    index.write_text(index.read_text().replace("<ChannelName>", profile))
    address = store(home)
    (first, _) = scan(address)["flat_field"].unique().sort()
    assert first == f"{address}/Images/Index.xml#channel=1"
    assert (read_flat_field(first, shape=(2, 3)).foreground == 1).all()


@pytest.mark.parametrize("kind", ["harmony", "pattern"])
def test_an_address_of_this_disk_leaves_the_plate_as_it_is(trees, tmp_path, kind):
    """The mirror of `file:///plate` was once written over the plate."""
    home = trees[kind](tmp_path / "plate")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for address in (f"file://{home}", Path(f"file://{home}")):
        planes = scan(address)
        assert {path: path.read_bytes() for path in before} == before
        assert planes["path"].to_list() == [f"file://{path}" for path in scan(home)["path"]]
        for far in planes["path"]:
            here = read_plane(far.removeprefix("file://"))
            np.testing.assert_array_equal(read_plane(far).pixels, here.pixels)


def test_an_address_with_a_slash_too_many_is_mirrored_in_no_other_place(trees, tmp_path, store):
    home = trees["pattern"](tmp_path / "plate")
    lying = tmp_path / "bucket"
    memory = fsspec.filesystem("memory")
    memory.put(str(home), f"/{lying}", recursive=True)
    try:
        assert len(scan(f"memory:///{lying}")) == len(scan(home))
    finally:
        memory.rm(f"/{lying}", recursive=True)
    assert not lying.exists()


@pytest.fixture
def at_the_root(trees, tmp_path, monkeypatch):
    """Put a plate where a store begins: one of its own, since the process has one for all."""
    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(type(memory), "store", {})
    monkeypatch.setattr(type(memory), "pseudo_dirs", [""])

    def put(kind):
        home = trees[kind](tmp_path / "plate")
        for path in home.rglob("*"):
            if path.is_file():
                memory.pipe_file(f"/{path.relative_to(home)}", path.read_bytes())
        return home

    return put


@pytest.mark.parametrize("kind", ["harmony", "samplesheet", "pattern", "ome-zarr"])
@pytest.mark.parametrize("address", ["memory://", "memory:///"])
def test_a_plate_at_the_root_of_a_store(at_the_root, kind, address):
    home = at_the_root(kind)
    here, there = scan(home), scan(address)
    assert there.drop("path").equals(here.drop("path"))
    for local, far in zip(here["path"], there["path"], strict=True):
        assert far.removeprefix("memory://") == local.removeprefix(f"{home}/")
        np.testing.assert_array_equal(read_plane(far).pixels, read_plane(local).pixels)


def test_what_says_no_name_at_the_root_has_the_store_s(at_the_root):
    home = at_the_root("ome-zarr")
    edit_ome(home, lambda said: said["plate"].pop("name"))
    fsspec.filesystem("memory").pipe_file("/.zattrs", (home / ".zattrs").read_bytes())
    assert scan("memory://")["plate"].unique().to_list() == ["memory"]


def test_an_index_at_the_root_of_a_store(at_the_root):
    at_the_root("samplesheet")
    assert scan("memory://samplesheet.csv")["path"][0] == "memory://i1.tif"


def test_a_store_without_anything_and_a_whole_disk(at_the_root):
    with pytest.raises(BadPlate, match="There is no memory:/"):
        scan("memory://")
    for disk in ("file:///", "local:///"):
        with pytest.raises(BadPlate, match=rf"^{disk} is the whole disk\. Give the folder of a"):
            scan(disk)


def test_zarr_plates_of_a_folder_in_a_store_are_asked_for_one_by_one(trees, tmp_path, store):
    address = store(trees["ome-zarr"](tmp_path / "in" / "p.zarr").parent, "many")
    with pytest.raises(BadPlate, match=r"many is a folder in a store .* one, such as memory://bu"):
        scan(address)


def test_an_index_in_a_store(trees, tmp_path, store):
    address = store(trees["samplesheet"](tmp_path / "plate"))
    planes = scan(f"{address}/samplesheet.csv")
    assert planes["path"][0] == f"{address}/i1.tif"


def test_pages_in_a_store(trees, tmp_path, store):
    home = trees["ome-tiff"](tmp_path / "plate")
    address = store(home)
    local = scan(home)["path"][4]
    far = local.replace(str(home), address)
    assert read_plane(far).stamp.digest == read_plane(local).stamp.digest


def test_a_damaged_header_in_a_store(trees, tmp_path, store):
    home = trees["ome-tiff"](tmp_path / "plate")
    (home / "screen_b03.ome.tif").write_bytes(b"II*\0cut short")
    address = store(home)
    with pytest.raises(BadPlate, match=rf"The header of {address}/screen_b03.ome.tif cannot be"):
        scan(address)
    home = trees["hdf5"](tmp_path / "other")
    (file,) = home.rglob("*.h5")
    file.write_bytes(file.read_bytes()[:500])
    address = store(home, "other")
    with pytest.raises(BadPlate, match=rf"{address}/.*h5 cannot be opened as HDF5, so it is dam"):
        scan(address)


def test_a_store_that_fails_now_and_then(trees, tmp_path, store, monkeypatch):
    home = trees["pattern"](tmp_path / "plate")
    address = store(home)
    whole = type(fsspec.filesystem("memory")).cat_file
    calls = []

    def flaky(self, path, **options):
        calls.append(path)
        if calls.count(path) % 3:
            raise TimeoutError("slow down")
        return whole(self, path, **options)

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", flaky)
    path = scan(address)["path"][0]
    local = read_plane(home / "demo_A01_s1_DNA.tif").stamp
    assert read_plane(path).stamp == local._replace(path=path, mtime_ns=UNKNOWN)
    assert calls.count("/bucket/plate/demo_A01_s1_DNA.tif") == 3
    assert is_unchanged(local, path)


def test_batches_tell_what_was_asked_again(trees, tmp_path, store, monkeypatch):
    address = store(trees["pattern"](tmp_path / "plate"))
    sets = image_sets(scan(address), channels={"DNA": "DNA"})
    pixel_format = expected_format(sets, channels=["DNA"])
    whole, calls = type(fsspec.filesystem("memory")).cat_file, []

    def flaky(self, path, **options):
        calls.append(path)
        if calls.count(path) == 1:
            raise TimeoutError("slow down")
        return whole(self, path, **options)

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", flaky)
    (batch,) = batches(sets, channels=["DNA"], pixel_format=pixel_format, size=sets.height)
    assert (len(batch.keys), batch.failures) == (sets.height, ())
    assert sorted(batch.faltered) == sorted(f"{paths[0]}: slow down" for paths in sets["path_DNA"])
    assert asked_again(["no answer"]) == (
        "Requests to a store failed once and were made again, the last: no answer."
    )


def test_a_store_that_is_down(trees, tmp_path, store, monkeypatch):
    def down(self, path, **options):
        raise TimeoutError("no route")

    address = store(trees["pattern"](tmp_path / "plate"))
    path = scan(address)["path"][0]
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", down)
    with pytest.raises(BadImage, match=r"failed 6 times: no route\. Check the network") as caught:
        read_plane(path)
    assert caught.value.code == "unreadable"


def test_what_is_not_there(store):
    with pytest.raises(BadPlate, match="There is no memory://bucket/nowhere"):
        scan("memory://bucket/nowhere")
    with pytest.raises(BadImage, match="is not there") as caught:
        read_plane("memory://bucket/a.tif")
    assert caught.value.code == "missing_file"


def test_protocols_that_nobody_speaks():
    with pytest.raises(BadPlate, match="gopher://x/plate cannot be read: .*gopher"):
        scan("gopher://x/plate")


def test_pathlib_takes_a_slash(trees, tmp_path, store):
    from pathlib import Path

    address = store(trees["pattern"](tmp_path / "plate"))
    assert scan(Path(address)).equals(scan(address))
