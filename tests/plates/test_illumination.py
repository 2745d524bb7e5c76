"""Illumination functions as files: CellProfiler's and ours, and those that cannot be used."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plates.errors import BadPlate
from plates.illumination import (
    corner_to_centre,
    even,
    find_flats,
    read_dark,
    read_flat,
    read_vendor,
    to_npy,
    vendor_addresses,
)
from plates.loader import PixelFormat

FORMAT = PixelFormat(6, 8, np.dtype(np.uint16))
NAME = r"Index\.idx\.xml#channel=1"


def saved(path: Path, function) -> Path:
    np.save(path, function)
    return path


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_function_of_cellprofiler_is_read_as_it_is(tmp_path, dtype):
    function = np.linspace(1, 2, 48).reshape(6, 8).astype(dtype)
    read = read_flat(saved(tmp_path / "a.npy", function), pixel_format=FORMAT)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, function.astype(np.float32))


def test_what_is_written_is_read_back(tmp_path):
    function = np.random.default_rng(0).random((6, 8), np.float32) + 0.5
    (tmp_path / "a.npy").write_bytes(to_npy(function))
    np.testing.assert_array_equal(read_flat(tmp_path / "a.npy", pixel_format=FORMAT), function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (np.ones((8, 6)), r"shape \(8, 6\), and the plate's images are \(6, 8\)"),
        (np.ones((6, 8), complex), "complex128"),
        (np.where(np.eye(6, 8) > 0, 0, 1.0), "is 0 at row 0, column 0"),
        (np.where(np.eye(6, 8) > 0, -1, 1.0), "is -1 at row 0"),
        (np.where(np.eye(6, 8) > 0, np.nan, 1.0), "6 pixels that are no number"),
        (np.where(np.eye(6, 8) > 0, np.inf, 1.0), "6 pixels that are no number"),
    ],
)
def test_a_function_that_cannot_divide_is_refused(tmp_path, function, message):
    with pytest.raises(BadPlate, match=message):
        read_flat(saved(tmp_path / "a.npy", function), pixel_format=FORMAT)


def test_a_file_that_is_no_function_is_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"CellProfiler")
    with pytest.raises(BadPlate, match="is no illumination function"):
        read_flat(tmp_path / "a.npy", pixel_format=FORMAT)
    with pytest.raises(BadPlate, match="b.npy is not there"):
        read_flat(tmp_path / "b.npy", pixel_format=FORMAT)


def test_pickled_objects_are_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadPlate, match="is no illumination function"):
        read_flat(tmp_path / "a.npy", pixel_format=FORMAT)


def test_no_dark_field_is_darkness(tmp_path):
    assert not read_dark(tmp_path / "a_dark.npy", pixel_format=FORMAT).any()
    saved(tmp_path / "a_dark.npy", np.zeros((6, 8)))
    assert not read_dark(tmp_path / "a_dark.npy", pixel_format=FORMAT).any()


@pytest.mark.parametrize(
    "name", ["P1/DNA.npy", "P1/P1_IllumDNA.npy", "P1_IllumDNA.npy", "IllumDNA.npy", "DNA.npy"]
)
def test_functions_are_found_by_the_names_in_use(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    saved(path, np.ones((6, 8)))
    assert find_flats(tmp_path, plate="P1", stains=["DNA"]) == {"DNA": path}


def test_a_lacking_function_is_named_with_what_was_tried(tmp_path):
    saved(tmp_path / "DNA.npy", np.ones((6, 8)))
    with pytest.raises(BadPlate, match=r"no illumination function of GFP for plate P1.*IllumGFP"):
        find_flats(tmp_path, plate="P1", stains=["DNA", "GFP"])
    with pytest.raises(BadPlate, match="'.*meen', which is no folder and none of none, mean"):
        find_flats(tmp_path / "meen", plate="P1", stains=["DNA"])


def test_corners_and_centre_by_hand():
    flat = np.ones((20, 40), np.float32)
    flat[:2, :4] = 0.6  # one of four corners
    assert corner_to_centre(flat) == pytest.approx(0.9)
    assert corner_to_centre(even(FORMAT).flat) == 1


def test_a_cellvoyager_profile_is_scaled_and_found_by_its_plane(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "shading.tif", np.full((6, 8), 500, np.uint16))
    planes = pl.DataFrame(
        {
            "path": ["a.tif", "b.tif", "c.tif"],
            "flat_field": [str(tmp_path / "shading.tif"), None, "z"],
        }
    )
    sets = pl.DataFrame(
        {"plate": ["P1", "P2"], "path_DNA": [["a.tif"], ["b.tif"]], "path_GFP": [None, ["c.tif"]]},
        schema_overrides={"path_GFP": pl.List(pl.String)},
    )
    found = vendor_addresses(planes, sets, stains=["DNA", "GFP"])
    assert found == {("P1", "DNA"): str(tmp_path / "shading.tif"), ("P2", "GFP"): "z"}
    light = read_vendor(found["P1", "DNA"], pixel_format=FORMAT)
    np.testing.assert_allclose(light.flat, 1)
    assert not light.dark.any()
    assert vendor_addresses(planes.drop("flat_field"), sets, stains=["DNA"]) == {}


def harmony(flat: list, *, dark: float = 1.0, mean: float = 0.0) -> str:
    def part(coefficients):
        return {"Coefficients": coefficients, "Dims": [8, 6], "Origin": [0, 0], "Scale": [1, 1]}

    background = {"Mean": mean, "Profile": part([[dark]])}
    return json.dumps({"Foreground": {"Profile": part(flat)}, "Background": background})


def index(tmp_path: Path, profile: str) -> str:
    entry = f'<Entry ChannelID="1"><FlatfieldProfile>{profile}</FlatfieldProfile></Entry>'
    path = tmp_path / "Index.idx.xml"
    path.write_text(f"<EvaluationInputData><Maps><Map>{entry}</Map></Maps></EvaluationInputData>")
    return f"{path}#channel=1"


def test_harmonys_background_is_in_units_of_scaled_images(tmp_path):
    light = read_vendor(
        index(tmp_path, harmony([[2.0]], dark=3.0, mean=655.35)), pixel_format=FORMAT
    )
    np.testing.assert_allclose(light.flat, 2)
    np.testing.assert_allclose(light.dark, 0.01, rtol=1e-6)  # 655.35 of 65535, times 3 - 2


def test_measurements_with_different_profiles_are_not_mixed(tmp_path):
    addresses = {}
    for name, level in (("a", 2.0), ("b", 2.0), ("c", 3.0)):
        (tmp_path / name).mkdir()
        addresses[name] = index(tmp_path / name, harmony([[level]]))
    sets = pl.DataFrame({"plate": ["P"] * 3, "path_DNA": [["a.tif"], ["b.tif"], ["c.tif"]]})

    def found(**said):
        known = {"path": [f"{n}.tif" for n in "abc"], "flat_field": [said.get(n) for n in "abc"]}
        planes = pl.DataFrame(known, schema={"path": pl.String, "flat_field": pl.String})
        return vendor_addresses(planes, sets, stains=["DNA"])

    assert found() == {}
    same = found(a=addresses["a"], b=addresses["b"], c=addresses["a"])
    np.testing.assert_allclose(read_vendor(same["P", "DNA"], pixel_format=FORMAT).flat, 2)
    for said, second in (
        (addresses, rf"a/{NAME} and .*c/{NAME}"),
        ({"a": addresses["a"]}, rf"a/{NAME} and none"),
        ({"c": addresses["c"]}, rf"none and .*c/{NAME}"),
    ):
        with pytest.raises(BadPlate, match=rf"measurements with different .*{second}\. Give one"):
            read_vendor(found(**said)["P", "DNA"], pixel_format=FORMAT)


def test_a_profile_that_reaches_0_is_refused(tmp_path):
    with pytest.raises(BadPlate, match="is not above 0 everywhere"):
        read_vendor(index(tmp_path, harmony([[0.0], [1.0, 0.0]])), pixel_format=FORMAT)
