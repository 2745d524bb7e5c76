"""OME-Zarr whose planes lie in several chunks: those that were lost, and those left out."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import plates.remote as remote
from plates.errors import BadImage
from plates.imageset import image_sets
from plates.irregular import irregularities
from plates.loader import batches, expected_format
from plates.pixels import FileStamp, is_unchanged, read_plane
from plates.readers import scan
from plates.readers.ome_zarr_stored import stored_in_part

zarr = pytest.importorskip("zarr")
fsspec = pytest.importorskip("fsspec")

SHAPE = (2, 2, 8, 12)  # channel, z, y, x; in 2 x 2 chunks a plane
CHUNK = (1, 1, 4, 6)
PLACE = "B/3/0/0"


@pytest.fixture(params=["0.4", "0.5", "0.5, shards"])
def plate(request, trees, tmp_path):
    home = trees["ome-zarr"](tmp_path / "z.zarr", version=request.param[:3])
    return home, request.param


def write(plate, images: np.ndarray, **options) -> list[str]:
    """Store images in place of the plate's, and list the addresses of its planes."""
    home, kind = plate
    shutil.rmtree(home / PLACE)
    cut = {"chunks": CHUNK}
    if "shards" in kind:
        cut = {"chunks": (1, 1, 2, 3), "shards": CHUNK}
    array = zarr.create_array(
        home / PLACE, shape=images.shape, dtype=images.dtype, **(cut | options),
        zarr_format=2 if kind == "0.4" else 3,
    )  # fmt: skip
    array[:] = images
    return scan(home)["path"].to_list()


def camera() -> np.ndarray:
    """Images of a camera, whose dark level is above 0."""
    return np.random.default_rng(3).integers(90, 900, SHAPE).astype(np.uint16)


def chunk(home: Path, channel: int, z: int, y: int, x: int) -> Path:
    place = zarr.open_array(home / PLACE, mode="r").metadata.encode_chunk_key((channel, z, y, x))
    return home / PLACE / place


def lost(path: str) -> str:
    with pytest.raises(BadImage) as caught:
        read_plane(path)
    assert caught.value.code == "missing_file"
    return str(caught.value)


def test_a_lost_part_of_a_plane_is_told_by_its_name_and_the_others_are_read(plate):
    images, (home, _) = camera(), plate
    paths = write(plate, images)
    gone = chunk(home, 1, 0, 0, 1)
    gone.unlink()
    name = gone.relative_to(home / PLACE)
    assert lost(paths[2]) == (
        f"{paths[2]}: {name} is not there, a part of it that the planes next to it have. Copy the "
        "plate again."
    )
    for path, image in zip(paths, images.reshape(-1, 8, 12), strict=True):
        if path != paths[2]:
            np.testing.assert_array_equal(read_plane(path).pixels, image)


def test_of_several_lost_parts_the_first_is_told(plate):
    """Those beside each other are no sign that the image is empty there."""
    paths = write(plate, camera())
    for y in (0, 1):
        chunk(plate[0], 1, 1, y, 0).unlink()
    name = chunk(plate[0], 1, 1, 0, 0).relative_to(plate[0] / PLACE)
    assert f": {name} is not there, a part of it" in lost(paths[3])


def test_its_field_is_a_coded_row_that_is_computed_once_the_file_is_back(plate, tmp_path):
    paths = write(plate, camera())
    gone = chunk(plate[0], 0, 0, 1, 1)
    shutil.move(gone, tmp_path / "kept")
    sets = image_sets(scan(plate[0]), channels={"DNA": "DNA", "ER": "ER"})
    shape = expected_format(sets, channels=["DNA", "ER"])
    (batch,) = batches(sets, channels=["DNA", "ER"], pixel_format=shape, size=1)
    assert [(failure.key.well, failure.code) for failure in batch.failures] == [
        ("B03", "missing_file")
    ]
    (stamp,) = [s for s in batch.inputs[batch.failures[0].key] if s.path == paths[0]]
    assert stamp == FileStamp(paths[0], -1, -1, "")
    assert is_unchanged(stamp, paths[0])
    shutil.move(tmp_path / "kept", gone)
    assert not is_unchanged(stamp, paths[0])


def test_what_a_writer_leaves_out_is_empty(plate):
    """Where an image is empty, it is so on both sides of a chunk's border."""
    images = camera()
    images[1, 0, :4, 5:] = 0
    images[1, 0, 4, 6:] = 0
    paths = write(plate, images)
    assert not chunk(plate[0], 1, 0, 0, 1).exists()
    np.testing.assert_array_equal(read_plane(paths[2]).pixels, images[1, 0])


@pytest.mark.parametrize("planes", [slice(None), (0, 0), (slice(0, 1),)])
def test_a_mosaic_that_lacks_a_tile_is_read(plate, planes):
    """In all planes, in one that is alone, or in every z of one channel."""
    images = camera()[:1, :1] if planes == (0, 0) else camera()
    images[planes][..., :4, :6] = 0
    paths = write(plate, images)
    assert not chunk(plate[0], 0, 0, 0, 0).exists()
    for path, image in zip(paths, images.reshape(-1, 8, 12), strict=True):
        np.testing.assert_array_equal(read_plane(path).pixels, image)


def test_zeros_that_are_stored_are_zeros(plate):
    images = camera()
    images[1, 0, :4, 6:] = 0
    paths = write(plate, images, config={"write_empty_chunks": True})
    assert chunk(plate[0], 1, 0, 0, 1).exists()
    np.testing.assert_array_equal(read_plane(paths[2]).pixels, images[1, 0])


def test_what_is_empty_need_not_be_0(plate):
    images = camera()
    paths = write(plate, images, fill_value=77)
    chunk(plate[0], 0, 1, 1, 0).unlink()
    assert "is not there, a part of it" in lost(paths[1])
    for path in (chunk(plate[0], 1, 1, y, x) for y in (0, 1) for x in (0, 1)):
        path.unlink()
    assert "is not there. Copy it again" in lost(paths[3])


def test_chunks_across_planes_and_over_the_edge(trees, tmp_path):
    """A chunk of all channels; the last ones go beyond the image."""
    plate = trees["ome-zarr"](tmp_path / "z.zarr"), "0.4"
    paths = write(plate, camera(), chunks=(2, 1, 5, 7))
    chunk(plate[0], 0, 1, 1, 1).unlink()
    assert "0.1.1.1 is not there, a part of it that the planes next to it have" in lost(paths[1])
    assert "0.1.1.1 is not there, a part of it that the planes next to it have" in lost(paths[3])
    assert read_plane(paths[0]).pixels.all()
    assert stored_in_part(paths) == {paths[1]: (3, 4), paths[3]: (3, 4)}


@pytest.fixture
def asked(monkeypatch):
    """The names that a store was asked for, whether there is anything."""
    monkeypatch.setattr(remote, "PAUSE_S", 0)
    system = type(fsspec.filesystem("memory"))
    names, info = [], system.info

    def counted(self, path, **options):
        names.append(path)
        if names.count(path) == 1:
            raise TimeoutError("slow down")
        return info(self, path, **options)

    yield lambda: (monkeypatch.setattr(system, "info", counted), names)[1]
    monkeypatch.undo()
    memory = fsspec.filesystem("memory")
    if memory.exists("/chunks"):
        memory.rm("/chunks", recursive=True)


def test_a_store_is_asked_for_what_looks_lost_alone_and_again_if_it_fails(plate, asked):
    images = camera()
    images[0, 0, :4, :6] = 0
    write(plate, images, config={"write_empty_chunks": True})
    gone = chunk(plate[0], 1, 1, 1, 1)
    gone.unlink()
    fsspec.filesystem("memory").put(str(plate[0]), "/chunks/z.zarr", recursive=True)
    paths = scan("memory://chunks/z.zarr")["path"].to_list()
    names = asked()
    np.testing.assert_array_equal(read_plane(paths[1]).pixels, images[0, 1])
    assert names == []
    np.testing.assert_array_equal(read_plane(paths[0]).pixels, images[0, 0])  # it is stored
    own = chunk(plate[0], 0, 0, 0, 0).relative_to(plate[0])
    assert set(names) == {f"/chunks/z.zarr/{own}"}
    names.clear()
    assert f"{gone.relative_to(plate[0] / PLACE)} is not there, a part of it" in lost(paths[3])
    assert len(set(names)) == 3  # itself, the other channel and the other z
    assert stored_in_part(paths) == {}


def said(planes: pl.DataFrame) -> list[str]:
    channels = {"DNA": "DNA", "ER": "ER"}
    return irregularities(image_sets(planes, channels=channels), planes, channels=channels)


def test_planes_that_are_stored_in_part_are_told_before_a_run(plate):
    images = camera()
    paths = write(plate, images)
    planes = scan(plate[0])
    assert said(planes) == []
    images[0, :, :4, :6] = 0
    images[0, 0, :4] = 0
    assert write(plate, images) == paths
    assert said(planes) == [
        f"Z1: planes of which only some chunks are there: {paths[0]} (2 of 4), {paths[1]} (3 of "
        "4). Writers leave out what is empty, and so the others are read; should files have been "
        "lost, copy the plate again."
    ]


def test_arrays_that_cannot_be_told_of_are_left_to_the_reading(plate):
    paths = write(plate, camera())
    (said,) = (p for n in ("zarr.json", ".zarray") if (p := plate[0] / PLACE / n).exists())
    for text in ("{", "[]", "{}", '{"shape": 5, "chunks": [1]}', '{"shape": [4], "chunks": [0]}'):
        said.write_text(text)
        assert stored_in_part([*paths, "a.tif", "a.h5#dataset=/i&index=1", "b.tif#page=1"]) == {}


def test_files_of_other_names_are_no_chunks(plate):
    paths = write(plate, camera())
    gone = chunk(plate[0], 0, 0, 0, 0)
    gone.rename(gone.with_name(f"{gone.name}~"))
    far = chunk(plate[0], 0, 0, 7, 7)
    far.parent.mkdir(parents=True, exist_ok=True)
    far.touch()
    assert stored_in_part(paths) == {paths[0]: (3, 4)}
