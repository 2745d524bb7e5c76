"""Every reader on every plate: found by itself, no other's, and its pixels are the right ones."""

import numpy as np
import polars as pl
import pytest

from plates.errors import BadPlate
from plates.imageset import image_sets
from plates.loader import batches, expected_format
from plates.pixels import read_plane
from plates.readers import READERS, scan, unused_images
from plates.readers.reader import METADATA, PLANES, PlaneRow, checked, table

KINDS = (
    "loaddata", "samplesheet", "gallery", "cellvoyager", "harmony", "incell", "scanr", "ome-zarr",
    "hdf5", "cellh5", "ome-tiff", "imagexpress", "pattern", "ome-tiff, companion",
    "imagexpress, exported",
)  # fmt: skip
LAST = "pattern"  # names are looked at only where no index is


def test_every_reader_has_a_plate(trees):
    assert set(KINDS) == set(trees)
    assert {kind.partition(",")[0] for kind in KINDS} == set(READERS)


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_one_reader_knows_a_plate(trees, kind, tmp_path):
    home = trees[kind](tmp_path / "plate")
    knowing = [name for name, r in READERS.items() if name != LAST and r.matches(home)]
    knowing = knowing or [LAST] * READERS[LAST].matches(home)
    assert knowing == [kind.partition(",")[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_scan_finds_it_and_every_plane_can_be_read(trees, kind, tmp_path):
    home = trees[kind](tmp_path / "plate")
    planes = scan(home)
    assert planes.schema == pl.Schema({**PLANES, **METADATA})
    assert planes.equals(scan(str(home), reader=kind.partition(",")[0]))
    read = [read_plane(path) for path in planes["path"]]
    assert len({plane.stamp.digest for plane in read}) == len(planes)  # no plane twice
    assert {plane.pixels.shape for plane in read} == {(4, 6)}
    assert planes.select(pl.col("site", "z", "timepoint").min() >= 1).row(0) == (True,) * 3


@pytest.mark.parametrize("kind", ["ome-tiff", "ome-zarr", "hdf5", "cellh5", "harmony"])
def test_places_in_files_reach_the_loader(trees, kind, tmp_path):
    planes = scan(trees[kind](tmp_path / "plate"))
    channel = planes["channel"][0]
    sets = image_sets(planes, channels={"A": channel}, timepoint=1)
    shape = expected_format(sets, channels=["A"])
    (batch,) = batches(sets, channels=["A"], pixel_format=shape, size=len(sets))
    assert not batch.failures
    wanted = planes.filter((pl.col("channel") == channel) & (pl.col("timepoint") == 1))
    for key, image in zip(batch.keys, batch.images, strict=True):
        paths = wanted.filter((pl.col("well") == key.well) & (pl.col("site") == key.site))["path"]
        expected = np.max([read_plane(path).pixels for path in paths], axis=0)
        np.testing.assert_array_equal(image[..., 0], expected)


def test_what_is_missing_is_a_coded_row(trees, tmp_path):
    home = trees["harmony"](tmp_path / "plate")
    index = home / "Images/Index.idx.xml"
    url = "<URL>r02c03f02p0{}-ch2sk1fk1fl1.tiff</URL>"
    text = index.read_text()
    for plane in (1, 2):  # of field 2, channel 2 was not taken
        text = text.replace(url.format(plane), "<URL />")
    index.write_text(text)
    (home / "Images/r02c03f01p02-ch1sk1fk1fl1.tiff").unlink()
    sets = image_sets(scan(home), channels={"DNA": "DAPI", "Mito": "Mito"})
    shape = expected_format(sets, channels=["DNA", "Mito"])
    (batch,) = batches(sets, channels=["DNA", "Mito"], pixel_format=shape, size=2)
    assert [(f.key.site, f.code) for f in batch.failures] == [
        (1, "missing_file"), (2, "missing_channel")]  # fmt: skip


def test_files_with_planes_inside_are_not_unused(trees, tmp_path):
    home = trees["ome-tiff"](tmp_path / "plate")
    assert unused_images(home, scan(home)) == []


def row(**changes) -> PlaneRow:
    plane = PlaneRow("P", "A01", 1, "w1", 1, 1, "a.tif", pixel_size_um=0.5)
    return plane._replace(**changes)


def test_mixed_magnifications(tmp_path):
    mixed = table([row(), row(well="B02", path="b.tif", pixel_size_um=1.0)])
    message = (
        r"Plate P, channel w1 mixes magnifications: pixels of 0.5 um \(well A01, a.tif\) and of "
        r"1 um \(well B02, b.tif\)\. Give the folder of one measurement"
    )
    with pytest.raises(BadPlate, match=message):
        checked(mixed, source=tmp_path)
    nearly = table([row(), row(well="B02", pixel_size_um=0.501), row(site=2, pixel_size_um=None)])
    assert len(checked(nearly, source=tmp_path)) == 3
    other = table([row(), row(channel="w2", pixel_size_um=1.0)])  # the loader judges shapes
    assert len(checked(other, source=tmp_path)) == 2


def test_two_objectives_where_pixel_sizes_are_not_known(tmp_path):
    bare = row(pixel_size_um=None, magnification=10.0)
    mixed = table([bare, bare._replace(well="B02", path="b.tif", magnification=20.0)])
    message = (
        r"channel w1 mixes magnifications: an objective of 10x \(well A01, a.tif\) and of 20x "
        r"\(well B02, b.tif\)\. Give"
    )
    with pytest.raises(BadPlate, match=message):
        checked(mixed, source=tmp_path)
    partly = table([row(magnification=10.0), bare._replace(well="B02", magnification=20.0)])
    with pytest.raises(BadPlate, match="an objective of 10x"):
        checked(partly, source=tmp_path)
    binned = table([row(magnification=10.0), row(well="B02", magnification=20.0)])
    assert len(checked(binned, source=tmp_path)) == 2


def test_what_says_nothing_is_null(tmp_path):
    facts = ["channel_name", "objective", "wavelength_nm", "pixel_size_um", "magnification"]
    for blank, number in (("", 0.0), (" ", -1.0), ("\n", float("nan")), (" ", float("inf"))):
        rows = table([row(**dict(zip(facts, (blank, blank, number, number, number), strict=True)))])
        assert checked(rows, source=tmp_path).select(facts).row(0) == (None,) * 5
    rows = table([row(channel_name=" DAPI", objective="20x/1", wavelength_nm=456.0)])
    assert checked(rows, source=tmp_path).select(facts).row(0) == (" DAPI", "20x/1", 456, 0.5, None)


def test_duplicates_name_both_files(tmp_path):
    with pytest.raises(BadPlate, match=r"has two files: a\.tif and copy of a\.tif \(2 files"):
        checked(table([row(), row(path="copy of a.tif")]), source=tmp_path)


def test_numbers_start_at_one():
    planes = table([row(site=0, timepoint=0), row(site=1, timepoint=5)])
    assert planes.select("site", "z", "timepoint").rows() == [(1, 1, 1), (2, 1, 6)]


def test_a_plate_that_counts_sites_from_zero_moves_no_other():
    """Else wells that are finished would be other fields once such a plate comes beside them."""
    alone = table([row(site=1), row(site=2)])
    zero = [row(plate="Q", site=site, path=f"{site}.tif") for site in (0, 1)]
    both = table([row(site=1), row(site=2), *zero])
    assert both.filter(plate="P").equals(alone)
    assert both.filter(plate="Q")["site"].to_list() == [1, 2]


def test_z_and_time_mean_the_same_on_all_plates():
    """A recipe's one number for them is taken of every plate."""
    planes = table([row(z=0, timepoint=0), row(plate="Q", z=1, timepoint=1)])
    assert planes.select("z", "timepoint").rows() == [(1, 1), (2, 2)]
    assert table([]).is_empty()
