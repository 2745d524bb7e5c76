"""Plates written anew: same pixels and metadata, absent planes absent, and nothing half done."""

import json

import numpy as np
import polars as pl
import pytest
import tifffile

from plates.convert import FORMATS, convert
from plates.errors import BadPlate, UnknownName
from plates.imageset import image_sets
from plates.pixels import read_plane
from plates.readers import scan
from plates.readers.reader import PLANE

pytest.importorskip("zarr")
KEPT = ("pixel_size_um", "magnification", "objective", "channel_name", "wavelength_nm", "z_um")
OF_DAPI = "456</MainEmissionWavelength><ObjectiveMagnification Unit=''>"
KINDS = ("harmony", "cellvoyager", "incell", "ome-tiff", "ome-tiff, companion", "cellh5", "pattern")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", FORMATS)
def test_round_trip(trees, tmp_path, kind, to):
    before = scan(trees[kind](tmp_path / "before"))
    events = list(convert(tmp_path / "before", tmp_path / "out", to=to))
    assert sum(event.planes for event in events) == len(before)
    assert not any(event.unread for event in events)
    (path,) = (tmp_path / "out").iterdir()
    assert {event.plate for event in events} == {path}
    after = scan(path)
    assert after.select(PLANE).equals(before.select(PLANE))
    assert after.select(KEPT).equals(before.select(KEPT))
    for old, new in zip(before["path"], after["path"], strict=True):
        np.testing.assert_array_equal(read_plane(new).pixels, read_plane(old).pixels)


def test_z_and_time_come_along(trees, tmp_path):
    before = scan(trees["harmony"](tmp_path / "before"))
    for to in FORMATS:
        list(convert(tmp_path / "before", tmp_path / to, to=to))
        after = scan(next((tmp_path / to).iterdir()))
        assert after["z_um"].to_list() == before["z_um"].to_list()
        assert after["time_s"].to_list() == before["time_s"].to_list()


@pytest.mark.parametrize("to", FORMATS)
def test_steps_that_differ_come_along(trees, tmp_path, to):
    home = trees["harmony"](tmp_path / "before")
    index = home / "Images/Index.idx.xml"
    index.write_text(index.read_text().replace("'m'>0.0<", "'m'>7e-07<"))
    list(convert(home, tmp_path / "out", to=to))
    assert sorted(set(scan(tmp_path / "out")["z_um"])) == pytest.approx([0.7, 2.0])


@pytest.mark.parametrize("to", FORMATS)
def test_each_channel_has_its_own_objective(trees, tmp_path, to):
    home = trees["harmony"](tmp_path / "before")
    index = home / "Images/Index.idx.xml"
    text = index.read_text().replace(f"{OF_DAPI}20<", f"{OF_DAPI}40<")
    dapi = "<ChannelName>DAPI</ChannelName><ImageResolutionX Unit='m'>"
    index.write_text(text.replace(f"{dapi}5.98E-07", f"{dapi}2.99E-07"))
    before = scan(home)
    assert sorted(set(before["magnification"])) == [20, 40]
    assert sorted(set(before["pixel_size_um"])) == pytest.approx([0.299, 0.598])
    list(convert(home, tmp_path / "out", to=to))
    assert scan(tmp_path / "out").select(KEPT).equals(before.select(KEPT))


@pytest.mark.parametrize("to", FORMATS)
def test_what_only_some_wells_and_steps_say_is_not_said_of_others(trees, tmp_path, to):
    home = trees["harmony"](tmp_path / "before")
    index = home / "Images/Index.idx.xml"
    first, second = index.read_text().split("<FieldID>2<", 1)
    no_position = second.replace("<PositionZ Unit='m'>2e-06</PositionZ>", "")
    other_dye = no_position.replace("<ChannelName>DAPI<", "<ChannelName>Hoechst<")
    index.write_text(f"{first}<FieldID>2<{other_dye.replace('706', '710')}")
    before = scan(home)
    facts = before.select("site", "channel_name", "wavelength_nm", "z_um").unique()
    assert facts.sort(facts.columns).rows() == [
        (1, "DAPI", 456.0, 0.0), (1, "DAPI", 456.0, 2.0), (1, "Mito", 706.0, 0.0),
        (1, "Mito", 706.0, 2.0), (2, "Hoechst", 456.0, None), (2, "Hoechst", 456.0, 0.0),
        (2, "Mito", 710.0, None), (2, "Mito", 710.0, 0.0),
    ]  # fmt: skip
    list(convert(home, tmp_path / "out", to=to))
    assert scan(tmp_path / "out").select(KEPT).equals(before.select(KEPT))


@pytest.mark.parametrize("to", FORMATS)
def test_a_recipe_may_go_on_calling_channels_by_their_dyes(trees, tmp_path, to):
    home = trees["harmony"](tmp_path / "before")
    list(convert(home, tmp_path / "out", to=to))
    assert image_sets(scan(tmp_path / "out"), channels={"DNA": "DAPI"}).height == 2


def test_a_recipe_fits_the_new_plate(trees, tmp_path):
    home = trees["harmony"](tmp_path / "before")
    list(convert(home, tmp_path / "out", to="ome-zarr"))
    options = {"channels": {"DNA": "ch1"}}
    old, new = (image_sets(scan(p), **options) for p in (home, tmp_path / "out"))
    assert new.select("plate", "well", "site").equals(old.select("plate", "well", "site"))


def test_ome_zarr_is_what_the_specification_says(trees, tmp_path):
    zarr = pytest.importorskip("zarr")
    home = trees["ome-tiff"](tmp_path / "before")
    for to, form in (("ome-zarr", 3), ("ome-zarr-0.4", 2)):
        list(convert(home, tmp_path / to, to=to))
        plate = zarr.open_group(tmp_path / to / "before.zarr", mode="r")
        assert plate.metadata.zarr_format == form
        said = plate.attrs["ome"] if form == 3 else plate.attrs
        assert said["plate"]["wells"] == [{"path": "B/03", "rowIndex": 0, "columnIndex": 0}]
        assert said["plate"]["rows"] == [{"name": "B"}]
        assert said["plate"]["columns"] == [{"name": "03"}]
        field = plate["B/03/1"]
        said = field.attrs["ome"] if form == 3 else field.attrs
        (scales,) = said["multiscales"]
        assert [axis["name"] for axis in scales["axes"]] == list("tczyx")
        assert scales["datasets"][0]["coordinateTransformations"] == [
            {"type": "scale", "scale": [1.0, 1.0, 2.0, 0.5, 0.5]}
        ]
        assert [axis.get("unit") for axis in scales["axes"]] == [None, None] + ["micrometer"] * 3
        assert field["0"].shape == (1, 2, 3, 4, 6)
        assert field["0"].chunks == (1, 1, 1, 4, 6)
        stack = tifffile.imread(home / "screen_b03.ome.tif")
        np.testing.assert_array_equal(field["0"][0], stack)


@pytest.mark.parametrize("to", FORMATS)
def test_unreadable_planes_are_told_and_absent(trees, tmp_path, to):
    home = trees["harmony"](tmp_path / "before")
    images = home / "Images"
    (images / "r02c03f01p01-ch1sk1fk1fl1.tiff").write_bytes(b"")
    (images / "r02c03f01p02-ch2sk1fk1fl1.tiff").unlink()
    tifffile.imwrite(images / "r02c03f02p02-ch2sk1fk1fl1.tiff", np.zeros((3, 3), np.uint16))
    first, second = convert(home, tmp_path / "out", to=to)
    assert [(u.channel, u.code) for u in first.unread] == [
        ("ch1", "empty_file"), ("ch2", "missing_file")]  # fmt: skip
    assert [(u.channel, u.code) for u in second.unread] == [("ch2", "wrong_shape")]
    assert "is 3 x 3 uint16, but most planes of its field are 4 x 6" in second.unread[0].message
    after = scan(tmp_path / "out")
    lost = scan(home).join(after, on=PLANE, how="anti").select("site", "channel", "z").rows()
    assert lost == [(1, "ch1", 1), (1, "ch2", 2), (2, "ch2", 2)]
    assert all(read_plane(path).pixels.any() for path in after["path"])


@pytest.mark.parametrize("to", FORMATS)
def test_a_field_without_any_plane_stays_out(trees, tmp_path, to):
    home = trees["harmony"](tmp_path / "before")
    for path in home.glob("Images/*f01*.tiff"):
        path.write_bytes(b"")
    first, second = convert(home, tmp_path / "out", to=to)
    assert (first.planes, len(first.unread)) == (0, 4)
    assert (second.planes, len(second.unread)) == (4, 0)
    assert scan(tmp_path / "out")["site"].unique().to_list() == [2]


@pytest.mark.parametrize("to", FORMATS)
def test_a_plate_without_any_plane_is_an_error_after_the_others(trees, tmp_path, to):
    for name in ("P1", "P2", "P3"):
        home = trees["imagexpress"](tmp_path / "in" / name)
        if name == "P2":
            for path in home.rglob("*.tif"):
                path.write_bytes(b"")
    events = []
    with pytest.raises(BadPlate, match=r"Not one plane of P2 can be read, so no plate was written"):
        events.extend(convert(tmp_path / "in", tmp_path / "out", to=to))
    end = FORMATS[to].suffix
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"P1{end}", f"P3{end}"]


@pytest.mark.parametrize("to", FORMATS)
def test_a_plane_of_zeros_is_a_plane(trees, tmp_path, to):
    home = trees["pattern"](tmp_path / "before")
    tifffile.imwrite(home / "demo_A01_s1_DNA.tif", np.zeros((4, 6), np.uint16))
    list(convert(home, tmp_path / "out", to=to))
    (path,) = scan(tmp_path / "out")["path"]
    assert not read_plane(path).pixels.any()


def test_several_plates(trees, tmp_path):
    for name in ("P1", "P2"):
        trees["imagexpress"](tmp_path / "in" / name)
    list(convert(tmp_path / "in", tmp_path / "out", to="hdf5"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["P1.h5", "P2.h5"]
    assert scan(tmp_path / "out")["plate"].unique().sort().to_list() == ["P1", "P2"]


def test_a_plate_that_is_there_is_kept(trees, tmp_path):
    home = trees["pattern"](tmp_path / "before")
    (tmp_path / "demo.h5").write_text("mine")
    with pytest.raises(BadPlate, match=r"demo\.h5 is there already\. Move it away, or choose"):
        list(convert(home, tmp_path, to="hdf5"))
    assert (tmp_path / "demo.h5").read_text() == "mine"


def test_the_plates_that_lack_after_a_stop_are_written_by_the_same_command(trees, tmp_path):
    for name in ("P1", "P2", "P3"):
        trees["imagexpress"](tmp_path / "in" / name)
    first, *rest = convert(tmp_path / "in", tmp_path / "out", to="hdf5")
    before = first.plate.stat()
    (tmp_path / "out" / "P3.h5").unlink()
    going = convert(tmp_path / "in", tmp_path / "out", to="hdf5")
    events = []
    with pytest.raises(
        BadPlate, match=r"P1\.h5, .*P2\.h5 are there already\. Move them .* written"
    ):
        events.extend(going)
    assert [event.plate.name for event in [*rest, *events]].count("P3.h5") == 2 * len(events)
    assert first.plate.stat() == before
    assert scan(tmp_path / "out")["plate"].unique().sort().to_list() == ["P1", "P2", "P3"]


def test_most_planes_say_what_size_a_field_is(tmp_path):
    for channel, shape in (("A", (4, 4)), ("B", (4, 6)), ("C", (4, 6))):
        path = tmp_path / "P" / f"demo_B03_s1_{channel}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, np.ones(shape, np.uint16), metadata=None)
    (event,) = convert(tmp_path / "P", tmp_path, to="hdf5")
    assert event.planes == 2
    (lost,) = event.unread
    assert lost.channel == "A"
    assert "is 4 x 4 uint16, but most planes of its field are 4 x 6 uint16" in lost.message


def test_a_date_for_a_time_point_is_told_not_a_lack_of_memory(tmp_path):
    home = tmp_path / "P"
    home.mkdir()
    tifffile.imwrite(home / "B03_240101_A.tif", np.ones((4, 6), np.uint16), metadata=None)
    pattern = r"(?P<well>B03)_(?P<timepoint>\d+)_(?P<channel>A).tif"
    said = "well B03, site 1 goes up to timepoint 240101 and z 1, .* of 240,101 planes for 1 that"
    with pytest.raises(BadPlate, match=said):
        list(convert(home, tmp_path, to="hdf5", pattern=pattern))
    assert [path.name for path in tmp_path.iterdir()] == ["P"]


@pytest.mark.parametrize("to", FORMATS)
def test_stopped_half_way(trees, tmp_path, to):
    home = trees["harmony"](tmp_path / "before")
    going = convert(home, tmp_path / "out", to=to)
    next(going)
    going.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_unknown_format(trees, tmp_path):
    with pytest.raises(UnknownName, match=r"no format called 'omezarr'\. Did you mean 'ome-zarr'"):
        list(convert(tmp_path, tmp_path / "out", to="omezarr"))


def test_hdf5_layout_is_what_it_says(trees, tmp_path):
    import h5py

    home = trees["harmony"](tmp_path / "before")
    list(convert(home, tmp_path / "out", to="hdf5"))
    with h5py.File(tmp_path / "out/BR7.h5") as store:
        assert dict(format=store.attrs["format"], version=int(store.attrs["version"])) == {
            "format": "plate-profiler", "version": 2}  # fmt: skip
        assert list(store.attrs["channels"]) == ["ch1", "ch2"]
        images = store["B03/2/images"]
        assert images.shape == (1, 2, 2, 4, 6)
        assert images.chunks == (1, 1, 1, 4, 6)
        assert list(images.attrs["pixel_size_um"]) == pytest.approx([0.598, 0.598])
        assert list(images.attrs["wavelength_nm"]) == [456, 706]
        assert list(images.attrs["channel_name"]) == ["DAPI", "Mito"]
        assert list(images.attrs["objective"]) == ["20x/1", "20x/1"]
        assert list(images.attrs["z_um"]) == [0, 2]
        assert store["B03/2/has_plane"][()].all()
        assert json.dumps(sorted(store)) == '["B03"]'
    assert isinstance(scan(tmp_path / "out"), pl.DataFrame)
