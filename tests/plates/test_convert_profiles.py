"""The microscope's shading profiles of a converted plate are those of the original, bit for bit."""

import json
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile

from plates.convert import FORMATS, FieldConverted, ProfileLost, convert
from plates.errors import BadPlate
from plates.illumination import read_vendor, vendor_addresses
from plates.imageset import image_sets
from plates.loader import expected_format
from plates.readers import scan
from plates.readers.flatfield import read_flat_field
from profiler.illuminate.fit import FitSettings
from profiler.illuminate.plate import Wanted, make_functions

pytest.importorskip("zarr")
CHANNELS = {
    "harmony": {"DNA": "ch1", "Mito": "ch2"},
    "cellvoyager": {"DNA": "C01", "Mito": "C02"},
}
KINDS = tuple(CHANNELS)
PROFILE = {
    "Background": {"Mean": 90.0, "Profile": {
        "Coefficients": [[1.0], [0.0, 0.2]], "Dims": [6, 4], "Origin": [2.5, 1.5],
        "Scale": [0.25, 0.5]}},
    "Foreground": {"Profile": {
        "Coefficients": [[1.0], [0.1, -0.2], [0.01, 0.02, -0.03]], "Dims": [6, 4],
        "Origin": [2.5, 1.5], "Scale": [0.25, 0.5]}},
}  # fmt: skip
SHADING = np.linspace(500, 1500, 24).round().astype(np.uint16).reshape(4, 6)


@pytest.fixture
def lit(trees, tmp_path):
    """Plates of which one of two channels has a profile."""

    def lit(kind: str):
        home = tmp_path / "before"
        if kind == "harmony":
            trees[kind](home, version=6)
            index = home / "Images/Index.idx.xml"
            said = f"<FlatfieldProfile>{json.dumps(PROFILE)}</FlatfieldProfile>"
            entry = "<Entry ChannelID='1'>"
            index.write_text(index.read_text().replace(entry, entry + said))
        else:
            trees[kind](home)
            tifffile.imwrite(home / "SC_1.tif", SHADING)
            (home / "MeasurementDetail.mrf").write_text(
                '<a><MeasurementChannel Ch="1" ShadingCorrectionSource="SC_1.tif"/></a>'
            )
        return home

    return lit


def vendor(home, kind: str):
    """What a run finds: image sets, and the address of each stain's profile."""
    planes = scan(home)
    sets = image_sets(planes, channels=CHANNELS[kind])
    return sets, vendor_addresses(planes, sets, stains=tuple(CHANNELS[kind]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", FORMATS)
def test_profiles_come_along(lit, tmp_path, kind, to):
    home = lit(kind)
    events = list(convert(home, tmp_path / "out", to=to))
    assert all(isinstance(event, FieldConverted) for event in events)
    (old_sets, old), (new_sets, new) = vendor(home, kind), vendor(tmp_path / "out", kind)
    assert [stain for _, stain in old] == [stain for _, stain in new] == ["DNA"]
    pixel_format = expected_format(new_sets, channels=["DNA"])
    assert pixel_format == expected_format(old_sets, channels=["DNA"])
    ((_, before),), ((_, after),) = old.items(), new.items()
    lights = [read_vendor(address, pixel_format=pixel_format) for address in (before, after)]
    for first, second in zip(*lights, strict=True):
        assert first.dtype == second.dtype == np.float32
        np.testing.assert_array_equal(first, second)
    assert len(np.unique(lights[0].flat)) > 9
    assert lights[0].dark.any() == (kind == "harmony")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", FORMATS)
def test_a_run_of_the_converted_plate_has_the_same_functions(lit, tmp_path, kind, to):
    home = lit(kind)
    list(convert(home, tmp_path / "out", to=to))
    fit = FitSettings("vendor", degree=2, smoothness=1.0, has_dark=False, dark_level=0.0)
    wanted = Wanted("vendor", ("DNA", "Mito"), "max", sample=9, seed=0, fit=fit, vendor={})
    for name, place in (("old", home), ("new", tmp_path / "out")):
        sets, said = vendor(place, kind)
        (note,) = make_functions(tmp_path / name, sets, wanted=replace(wanted, vendor=said))
        assert "gives no flat-field profile of Mito, which stay as they are" in note
    written = [
        {path.relative_to(tmp_path / name): path.read_bytes()
         for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("old", "new")
    ]  # fmt: skip
    assert len(written[0]) == (4 if kind == "harmony" else 3)  # two flats, a dark, what is said
    assert written[0] == written[1]


@pytest.mark.parametrize("to", FORMATS)
def test_a_run_says_the_same_of_a_background_alone(lit, tmp_path, to):
    home = lit("harmony")
    index = home / "Images/Index.idx.xml"
    alone = json.dumps({"Background": PROFILE["Background"]})
    index.write_text(index.read_text().replace(json.dumps(PROFILE), alone))
    list(convert(home, tmp_path / "out", to=to))
    fit = FitSettings("vendor", degree=2, smoothness=1.0, has_dark=False, dark_level=0.0)
    wanted = Wanted("vendor", ("DNA",), "max", sample=9, seed=0, fit=fit, vendor={})
    notes, lights = [], []
    for name, place in (("old", home), ("new", tmp_path / "out")):
        sets, said = vendor(place, "harmony")
        notes += make_functions(tmp_path / name, sets, wanted=replace(wanted, vendor=said))
        (address,) = said.values()
        lights.append(read_vendor(address, pixel_format=expected_format(sets, channels=["DNA"])))
    assert notes[0] == notes[1]
    assert "BR7: the microscope's profile of DNA is of the background alone, which is" in notes[0]
    assert len(notes) == 2
    for light in lights:
        assert (light.flat == 1).all()
        rows = 90 * 0.2 * (np.arange(4) - 1.5) * 0.5 / 65535  # Mean * (background - 1), by hand
        np.testing.assert_allclose(light.dark, np.repeat(rows[:, None], 6, axis=1), rtol=1e-5)


def test_profiles_survive_a_second_conversion(lit, tmp_path):
    home = lit("harmony")
    list(convert(home, tmp_path / "zarr", to="ome-zarr"))
    list(convert(tmp_path / "zarr", tmp_path / "h5", to="hdf5"))
    (first,), (last,) = (
        scan(p)["flat_field"].drop_nulls().unique() for p in (home, tmp_path / "h5")
    )
    for one, other in zip(
        read_flat_field(first, shape=(4, 6)), read_flat_field(last, shape=(4, 6)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("to", FORMATS)
def test_fields_of_two_sizes_have_a_profile_each(lit, tmp_path, to):
    home = lit("harmony")
    for path in home.glob("Images/*f01*.tiff"):
        tifffile.imwrite(path, np.ones((2, 3), np.uint16), metadata=None)
    (old,) = scan(home)["flat_field"].drop_nulls().unique()
    assert not any(isinstance(e, ProfileLost) for e in convert(home, tmp_path / "out", to=to))
    (new,) = scan(tmp_path / "out")["flat_field"].drop_nulls().unique()
    for shape in ((2, 3), (4, 6)):
        old_light, new_light = (read_flat_field(a, shape=shape) for a in (old, new))
        np.testing.assert_array_equal(old_light.foreground, new_light.foreground)
        np.testing.assert_array_equal(old_light.background, new_light.background)
    with pytest.raises(BadPlate, match=r"no shading profile .*for images of 8 x 12: it could not"):
        read_flat_field(new, shape=(8, 12))


def test_an_odd_field_does_not_cost_a_shading_image(lit, tmp_path):
    home = lit("cellvoyager")
    text = (home / "MeasurementData.mlf").read_text()
    record = re.search(r"<bts:MeasurementRecord bts:Type=\"IMG\".*?</bts:MeasurementRecord>", text)
    assert record is not None
    name = "p_A02_T0001F002L01A01Z01C01.tif"
    odd = record[0].replace('FieldIndex="1"', 'FieldIndex="2"')
    odd = odd.replace("p_A02_T0001F001L01A01Z01C01.tif", name)
    (home / "MeasurementData.mlf").write_text(text.replace(record[0], record[0] + odd))
    tifffile.imwrite(home / name, np.ones((2, 3), np.uint16), metadata=None)
    events = list(convert(home, tmp_path / "out", to="hdf5"))
    assert [type(event) for event in events] == [FieldConverted] * 2


@pytest.mark.parametrize("to", FORMATS)
def test_a_profile_that_cannot_be_read_is_told_and_not_replaced(lit, tmp_path, to):
    home = lit("cellvoyager")
    tifffile.imwrite(home / "SC_1.tif", np.zeros((4, 6), np.uint16))
    *_, last = convert(home, tmp_path / "out", to=to)
    assert isinstance(last, ProfileLost)
    assert (last.channel, last.plate) == ("C01", next((tmp_path / "out").iterdir()))
    assert "SC_1.tif is 4 x 6 with a mean of 0; expected 4 x 6 and light" in last.message
    _, said = vendor(tmp_path / "out", "cellvoyager")
    with pytest.raises(BadPlate, match=r"could not be read when the plate was converted, or was"):
        read_flat_field(said[next(iter(said))], shape=(4, 6))


def test_how_a_plate_keeps_them(lit, tmp_path):
    zarr = pytest.importorskip("zarr")
    home = lit("harmony")
    (address,) = scan(home)["flat_field"].drop_nulls().unique()
    light = np.stack(read_flat_field(address, shape=(4, 6)))
    for to in FORMATS:
        list(convert(home, tmp_path / to, to=to))
    for to in ("ome-zarr", "ome-zarr-0.4"):
        plate = zarr.open_group(tmp_path / to / "BR7.zarr", mode="r")
        np.testing.assert_array_equal(plate["illumination/1/4x6"][:], light)
        field = plate["B/03/1"].attrs
        said = field.get("ome", field)["plate_profiler_metadata"]
        assert said["flat_field"] == ["illumination/1", None]
    with h5py.File(tmp_path / "hdf5/BR7.h5") as store:
        np.testing.assert_array_equal(store["illumination/1/4x6"][()], light)
        assert list(store["B03/1/images"].attrs["flat_field"]) == ["illumination/1", ""]


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "illumination/../../x", ""])
def test_a_plate_does_not_lead_elsewhere_for_them(lit, tmp_path, name):
    home = lit("harmony")
    for to in ("ome-zarr-0.4", "hdf5"):
        list(convert(home, tmp_path / to, to=to))
    attributes = tmp_path / "ome-zarr-0.4/BR7.zarr/B/03/1/.zattrs"
    attributes.write_text(attributes.read_text().replace("illumination/1", name))
    with pytest.raises(BadPlate, match=r"which is not below its folder\. It was not opened"):
        scan(tmp_path / "ome-zarr-0.4")
    with h5py.File(tmp_path / "hdf5/BR7.h5", "r+") as store:
        store["B03/1/images"].attrs["flat_field"] = [name, ""]
    if name:
        with pytest.raises(BadPlate, match=r"which is not below its folder\. It was not opened"):
            scan(tmp_path / "hdf5")
    else:
        assert scan(tmp_path / "hdf5").filter(site=1)["flat_field"].null_count() == 4


def test_a_profile_in_a_store(lit, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    list(convert(lit("harmony"), tmp_path / "out", to="ome-zarr"))
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "out/BR7.zarr"), "/bucket/lit.zarr", recursive=True)
    try:
        (here,), (there,) = (
            scan(p)["flat_field"].drop_nulls().unique()
            for p in (tmp_path / "out", "memory://bucket/lit.zarr")
        )
        assert there == "memory://bucket/lit.zarr/illumination/1#surfaces"
        local, far = (read_flat_field(a, shape=(4, 6)) for a in (here, there))
        np.testing.assert_array_equal(local.foreground, far.foreground)
        np.testing.assert_array_equal(local.background, far.background)
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_plate_with_profiles_is_as_the_specification_says(lit, tmp_path):
    models = pytest.importorskip("ome_zarr_models")
    zarr = pytest.importorskip("zarr")
    list(convert(lit("harmony"), tmp_path / "out", to="ome-zarr"))
    plate = zarr.open_group(tmp_path / "out/BR7.zarr", mode="r")
    assert "illumination" in plate
    assert type(models.open_ome_zarr(plate)).__name__ == "HCS"
