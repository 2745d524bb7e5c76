"""OME-Zarr plates: both versions, written by hand as specified, here and in a store."""

import json
import shutil

import numpy as np
import pytest

from plates.address import parse_address
from plates.errors import BadImage, BadPlate
from plates.pixels import is_unchanged, read_plane
from plates.readers import ome_zarr, scan
from tests.plates.conftest import edit_ome

zarr = pytest.importorskip("zarr")


@pytest.fixture(params=["0.4", "0.5"])
def plate(request, trees, tmp_path):
    return trees["ome-zarr"](tmp_path / "z.zarr", version=request.param)


def test_planes(plate):
    planes = scan(plate)
    found = set(planes.select("plate", "well", "site", "channel", "z", "timepoint").iter_rows())
    assert found == {("Z1", "B03", 1, c, z, 1) for c in ("DNA", "ER") for z in (1, 2)}
    said = set(planes.select("z", "z_um", "pixel_size_um").iter_rows())
    assert said == {(1, 0.0, 0.65), (2, 3.0, 0.65)}
    whole = zarr.open_array(plate / "B/3/0/0", mode="r")[:]
    for row in planes.iter_rows(named=True):
        c = ["DNA", "ER"].index(row["channel"])
        assert parse_address(row["path"]).index == (c, row["z"] - 1)
        np.testing.assert_array_equal(read_plane(row["path"]).pixels, whole[c, row["z"] - 1])


def test_plate_below_the_folder(plate):
    assert scan(plate.parent).equals(scan(plate))


def test_stamps_notice_a_changed_pixel(plate):
    path = scan(plate)["path"][0]
    stamp = read_plane(path).stamp
    assert stamp.bytes == 4 * 6 * 2
    assert is_unchanged(stamp, path)
    array = zarr.open_array(plate / "B/3/0/0", mode="r+")
    array[0, 0, 1, 1] ^= 1
    assert not is_unchanged(stamp, path)
    assert is_unchanged(read_plane(path).stamp, path)


def test_in_a_store(plate):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(plate), "/bucket/z.zarr", recursive=True)
    try:
        planes = scan("memory://bucket/z.zarr")
        here = scan(plate)
        assert planes.drop("path").equals(here.drop("path"))
        assert planes["path"][0].startswith("memory://bucket/z.zarr/B/3/0/0#index=")
        for there, local in zip(planes["path"], here["path"], strict=True):
            assert read_plane(there).stamp.digest == read_plane(local).stamp.digest
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("version", ["0.3", "0.6", "1.0", 5])
def test_unknown_versions(plate, version):
    edit_ome(plate, lambda said: said["plate"].update(version=version))
    with pytest.raises(BadPlate, match=rf"plate of version '?{version}'?\. Known: 0\.4, 0\.5"):
        scan(plate)


@pytest.mark.parametrize("path", ["../../x", "/etc", r"..\x", "", None])
def test_paths_that_lead_elsewhere(plate, path):
    edit_ome(plate, lambda said: said["plate"]["wells"][0].update(path=path))
    with pytest.raises(BadPlate, match="which is not below its folder"):
        scan(plate)


def test_datasets_that_lead_elsewhere(plate):
    edit_ome(plate / "B/3/0", lambda s: s["multiscales"][0]["datasets"][0].update(path="../../0"))
    with pytest.raises(BadPlate, match="which is not below its folder"):
        scan(plate)


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        ("", lambda said: said["plate"].pop("wells"), "'wells' is None, expected a list"),
        (
            "B/3",
            lambda said: said.pop("well"),
            "'images' is None|B/3, which is not there or has no att",
        ),
        ("B/3/0", lambda said: said.pop("multiscales"), "'multiscales' is None"),
        ("B/3/0", lambda s: s["multiscales"][0]["axes"].pop(), r"the axes c, z, y; expected any"),
        ("B/3/0", lambda s: s["multiscales"][0]["axes"][0].update(name="q"), r"axes q, z, y, x"),
    ],
)
def test_damaged_metadata(plate, where, change, message):
    edit_ome(plate / where, change)
    with pytest.raises(BadPlate, match=message):
        scan(plate)


def scales(said):
    return said["multiscales"][0]


def transforms(steps):
    return lambda said: scales(said).update(coordinateTransformations=steps)


def scaled(by):
    return transforms([{"type": "scale", "scale": by}])


def noted(name, value):
    return lambda said: said.update({name: value})


def kept(**columns):
    return noted("plate_profiler_metadata", columns)


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        ("B/3", noted("well", None), "'well' is None, expected an object"),
        ("B/3/0", noted("omero", None), "'omero' is None, expected an object"),
        ("B/3/0", noted("omero", {"channels": None}), "'channels' is None, expected a list of"),
        ("B/3/0", noted("omero", {"channels": [{"label": []}]}), r"'label' is \[\], expected a"),
        ("B/3/0", noted("multiscales", []), r"'multiscales' is \[\], expected a list"),
        ("B/3/0", lambda s: scales(s).update(axes=["c", "y", "x"]), "'axes' is .* expected a list"),
        ("B/3/0", transforms(None), "'coordinateTransformations' is None, expected a list of"),
        ("B/3/0", transforms([5]), r"'coordinateTransformations' is \[5\], expected a list of"),
        ("B/3/0", scaled(5), "'scale' is 5, expected 4 numbers"),
        ("B/3/0", scaled([1, 1]), r"'scale' is \[1, 1\], expected 4 numbers"),
        ("B/3/0", scaled(["a", 1, 1, 1]), r"'scale' is \['a', 1, 1, 1\], expected 4 numbers"),
        ("B/3/0", scaled([1, 1, 1, float("nan")]), "'scale' is .*nan.*, expected 4 numbers"),
        ("B/3/0", scaled([1, 1, 1, 10**400]), "'scale' is .*, expected 4 numbers"),
        ("B/3/0", noted("plate_profiler_missing", 5), "'plate_profiler_missing' is 5, expected a"),
        (
            "B/3/0",
            noted("plate_profiler_missing", [[0]]),
            r"'plate_profiler_missing' is \[\[0\]\], expected a list",
        ),
        ("B/3/0", noted("plate_profiler_metadata", 5), "'plate_profiler_metadata' is 5, expected"),
        ("B/3/0", kept(channel_name="DAPI"), "'channel_name' is DAPI, expected 2 names, or null"),
        (
            "B/3/0",
            kept(channel_name=["a"]),
            r"'channel_name' is \['a'\], expected 2 names, or null",
        ),
        ("B/3/0", kept(z_um=[1, "b"]), r"'z_um' is \[1, 'b'\], expected 2 numbers, or null"),
        ("B/3/0", kept(time_s=[1, 2]), r"'time_s' is \[1, 2\], expected 1 numbers, or null"),
    ],
)
def test_entries_of_another_kind(plate, where, change, message):
    edit_ome(plate / where, change)
    with pytest.raises(BadPlate, match=rf"B/3.*(\.zattrs|zarr\.json): {message}"):
        scan(plate)


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ({"attributes": []}, r"'attributes' is \[\], expected an object"),
        ({"attributes": None}, r"'attributes' is None, expected an object"),
        ({"attributes": {"ome": None}}, r"'ome' is None, expected an object"),
        ({"attributes": {"ome": [1]}}, r"'ome' is \[1\], expected an object"),
    ],
)
def test_attributes_of_another_kind(trees, tmp_path, whole, message):
    home = trees["ome-zarr"](tmp_path / "z.zarr", version="0.5")
    (home / "zarr.json").write_text(json.dumps(whole))
    for place in (home, home.parent):
        assert ome_zarr.matches(place)
        with pytest.raises(BadPlate, match=rf"z\.zarr/zarr\.json: {message}\. Write it again"):
            scan(place)


def test_metadata_nested_without_end(plate):
    path = next(p for p in (plate / "zarr.json", plate / ".zattrs") if p.exists())
    path.write_text('{"plate":' + "[" * 100_000 + "]" * 100_000 + "}")
    assert ome_zarr.matches(plate)
    with pytest.raises(BadPlate, match="nested too deeply to be metadata"):
        scan(plate)


def test_one_damaged_plate_among_several_is_told(trees, tmp_path):
    for name in ("a.zarr", "b.zarr"):
        trees["ome-zarr"](tmp_path / name)
    (tmp_path / "b.zarr/.zattrs").write_text("{")
    with pytest.raises(BadPlate, match=r"b\.zarr/\.zattrs is not JSON"):
        scan(tmp_path)


def test_a_field_without_a_scale_has_no_size(plate):
    edit_ome(plate / "B/3/0", lambda s: scales(s)["datasets"][0].pop("coordinateTransformations"))
    planes = scan(plate)
    assert planes["pixel_size_um"].to_list() == planes["z_um"].to_list() == [None] * 4


def test_scales_of_level_and_image_are_multiplied(plate):
    edit_ome(plate / "B/3/0", scaled([1, 2, 0.5, 0.5]))
    planes = scan(plate)
    assert set(planes["pixel_size_um"]) == {0.325}
    assert set(planes["z_um"]) == {0, 6}


def test_axes_that_are_named_twice(plate):
    edit_ome(plate / "B/3/0", lambda s: scales(s)["axes"][1].update(name="c"))
    with pytest.raises(BadPlate, match="the axes c, c, y, x; expected any of"):
        scan(plate)


def test_the_number_of_a_field_that_no_table_holds(plate):
    long = "9" * 12
    (plate / "B/3/0").rename(plate / "B/3" / long)
    edit_ome(plate / "B/3", lambda said: said["well"]["images"][0].update(path=long))
    assert scan(plate)["site"].unique().to_list() == [1]


def test_what_was_noted_beside_is_read(plate):
    noted = kept(
        channel_name=["DAPI", None], magnification=[20, 40], z_um=[12.5, 13], time_s=[7], unheard=0
    )
    edit_ome(plate / "B/3/0", noted)
    said = ("channel", "z", "channel_name", "magnification", "z_um", "time_s")
    assert scan(plate).select(said).rows() == [
        ("DNA", 1, "DAPI", 20, 12.5, 7), ("DNA", 2, "DAPI", 20, 13, 7),
        ("ER", 1, None, 40, 12.5, 7), ("ER", 2, None, 40, 13, 7),
    ]  # fmt: skip


def test_metadata_that_is_no_json(plate):
    for name in ("zarr.json", ".zattrs"):
        if (plate / name).exists():
            (plate / name).write_text("{")
    with pytest.raises(BadPlate, match="is not JSON: .* Copy it again"):
        scan(plate)


@pytest.mark.parametrize("lost", ["B/3", "B/3/0"])
def test_what_is_listed_but_not_there(plate, lost):
    shutil.rmtree(plate / lost)
    (plate / "labels.csv").touch()
    with pytest.raises(BadPlate, match=rf"metadata lists {plate}/{lost}, which is not there or"):
        scan(plate)


def test_lost_array(plate):
    for name in ("zarr.json", ".zarray"):
        (plate / "B/3/0/0" / name).unlink(missing_ok=True)
    with pytest.raises(BadPlate, match=r"has the shape \[\] .* Is the plate complete\?"):
        scan(plate)


def test_array_lost_after_the_scan(plate):
    path = scan(plate)["path"][0]
    for name in ("zarr.json", ".zarray"):
        (plate / "B/3/0/0" / name).unlink(missing_ok=True)
    with pytest.raises(BadImage, match="is not there") as caught:
        read_plane(path)
    assert caught.value.code == "missing_file"


def test_array_that_shrank_after_the_scan(plate):
    path = scan(plate)["path"][0].replace("index=0.0", "index=0.7")
    with pytest.raises(BadImage, match="has no such plane") as caught:
        read_plane(path)
    assert caught.value.code == "missing_plane"


def test_cycles_are_channels_of_their_own(plate):
    edit_ome(plate / "B/3", lambda said: said["well"].update(
        images=[{"path": "0", "acquisition": 1}, {"path": "0", "acquisition": 2}]))  # fmt: skip
    planes = scan(plate)
    assert planes["site"].unique().to_list() == [1]
    assert planes["channel"].unique().sort().to_list() == ["a1_DNA", "a1_ER", "a2_DNA", "a2_ER"]


def test_channels_without_labels(plate):
    edit_ome(plate / "B/3/0", lambda said: said.pop("omero"))
    assert scan(plate)["channel"].unique().sort().to_list() == ["C0", "C1"]


def test_numbers_of_fields_are_kept(plate):
    (plate / "B/3/0").rename(plate / "B/3/7")
    edit_ome(plate / "B/3", lambda said: said["well"]["images"][0].update(path="7"))
    assert scan(plate)["site"].unique().to_list() == [7]


def chunks(plate):
    """Files that hold pixels: all that are not metadata."""
    array = plate / "B/3/0/0"
    return sorted(p for p in array.rglob("*") if p.is_file() and p.suffix != ".json"
                  and not p.name.startswith(".z"))  # fmt: skip


def test_a_lost_chunk_is_not_zeros(plate):
    planes = scan(plate)
    assert len(chunks(plate)) == len(planes) == 4
    chunks(plate)[0].unlink()  # of channel 0, z 0
    with pytest.raises(BadImage, match="is not there") as caught:
        read_plane(planes["path"][0])
    assert caught.value.code == "missing_file"
    assert read_plane(planes["path"][1]).pixels.any()


def test_zeros_that_are_stored_are_zeros(plate):
    with zarr.config.set({"array.write_empty_chunks": True}):
        zarr.open_array(plate / "B/3/0/0", mode="r+")[0, 0] = 0
    assert not read_plane(scan(plate)["path"][0]).pixels.any()


def test_a_damaged_chunk(plate):
    path = scan(plate)["path"][0]
    chunks(plate)[0].write_bytes(b"rubbish")
    with pytest.raises(BadImage, match=r"is damaged: .* Copy the plate again") as caught:
        read_plane(path)
    assert caught.value.code == "unreadable"


def test_more_planes_than_there_can_be(plate):
    for name in ("zarr.json", ".zarray"):
        path = plate / "B/3/0/0" / name
        if path.exists():
            path.write_text(path.read_text().replace("[\n    2,", "[\n    2000000000,", 1))
            assert "2000000000" in path.read_text()
    with pytest.raises(BadPlate, match=r"one field has 4,000,000,000 planes; more than 1,000,000"):
        scan(plate)
