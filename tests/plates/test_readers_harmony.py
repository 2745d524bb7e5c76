"""Harmony: every version in use, flat-field profiles, and indexes that lie."""

import json
import re

import numpy as np
import pytest

from plates.errors import BadPlate
from plates.readers import scan
from plates.readers.flatfield import read_flat_field

CHANNELS = {("ch1", "DAPI", 456.0), ("ch2", "Mito", 706.0)}


@pytest.mark.parametrize(
    ("version", "index"),
    [(3, "Index.idx.xml"), (4, "Index.idx.xml"), (5, "Index.idx.xml"), (6, "Index.xml"),
     (7, "Index.xml"), (5, "Index.xml"), (7, "index.XML")],
)  # fmt: skip
def test_versions(trees, tmp_path, version, index):
    home = trees["harmony"](tmp_path / "scan", version=version, index=index)
    planes = scan(home)
    assert len(planes) == 8
    assert set(planes.select("plate", "well").iter_rows()) == {("BR7", "B03")}
    assert set(planes.select("site", "z", "timepoint").iter_rows()) == {
        (1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 1)}  # fmt: skip
    assert set(planes.select("channel", "channel_name", "wavelength_nm").iter_rows()) == CHANNELS
    said = planes.select("pixel_size_um", "magnification", "objective").unique().row(0)
    assert said == (pytest.approx(0.598), 20.0, "20x/1")
    assert set(planes.select("z", "z_um").iter_rows()) == {(1, 0.0), (2, 2.0)}
    assert set(planes.select("site", "time_s").iter_rows()) == {(1, 1.5), (2, 3.0)}
    for path, site, z, channel in planes.select("path", "site", "z", "channel").iter_rows():
        assert path.endswith(f"/Images/r02c03f0{site}p0{z}-{channel}sk1fk1fl1.tiff")


def test_map_among_the_images(trees, tmp_path):
    home = trees["harmony"](tmp_path / "scan", version=7)
    index = home / "Images/Index.idx.xml"
    index.write_text(re.sub("<Maps>(.*)</Maps><Images>", r"<Images>\1", index.read_text()))
    assert (
        set(scan(home).select("channel", "channel_name", "wavelength_nm").iter_rows()) == CHANNELS
    )


@pytest.mark.parametrize("where", ["", "Images", "Images/Index.idx.xml"])
def test_folder_images_or_index(trees, tmp_path, where):
    home = trees["harmony"](tmp_path / "scan")
    assert len(scan(home / where)) == 8


def test_one_index_of_two(trees, tmp_path):
    home = trees["harmony"](tmp_path / "scan")
    trees["harmony"](home, version=6, index="Index.xml")
    assert len(scan(home)) == 8


def edit(home, *changes):
    index = home / "Images/Index.idx.xml"
    text = index.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    index.write_text(text)


def test_planned_images_have_no_plane(trees, tmp_path):
    home = trees["harmony"](tmp_path / "scan")
    edit(home, ("<URL>r02c03f01p01-ch1sk1fk1fl1.tiff</URL>", "<URL />"))
    assert len(scan(home)) == 7


@pytest.mark.parametrize("version", ["HarmonyV8", "HarmonyV99", "SomethingElse", "HarmonyV5x"])
def test_unknown_versions(trees, tmp_path, version):
    home = trees["harmony"](tmp_path / "scan")
    edit(home, ("HarmonyV5", version))
    message = rf"is of an unknown version \(its namespace is '.*{version}'\)\. Known: HarmonyV3, .*"
    with pytest.raises(BadPlate, match=message + "pattern = 'phenix'"):
        scan(home)
    assert len(scan(home, pattern="phenix")) == 8  # as the message says


def test_images_in_an_archive(trees, tmp_path):
    home = trees["harmony"](tmp_path / "scan")
    edit(home, ("<URL>r02", "<URL>http://server/r02"))
    with pytest.raises(BadPlate, match=r"an image in Harmony's own archive\. Export"):
        scan(home)


def test_files_elsewhere(trees, tmp_path):
    home = trees["harmony"](tmp_path / "scan")
    edit(home, ("<URL>r02", "<URL>../../r02"))
    with pytest.raises(BadPlate, match="which is not below its folder"):
        scan(home)


def test_mixed_magnifications(trees, tmp_path):
    home = trees["harmony"](tmp_path / "scan")
    first = "<ImageResolutionX Unit='m'>5.98E-07"
    text = (home / "Images/Index.idx.xml").read_text().replace(first, first.replace("5", "1"), 1)
    (home / "Images/Index.idx.xml").write_text(text)
    with pytest.raises(BadPlate, match=r"mixes magnifications: pixels of 0.198 um .* 0.598 um"):
        scan(home)


def test_missing_number(trees, tmp_path):
    home = trees["harmony"](tmp_path / "scan")
    edit(home, ("<PlaneID>1</PlaneID>", ""))
    with pytest.raises(BadPlate, match=r"PlaneID is None, expected a whole number"):
        scan(home)


PROFILE = {
    "Background": {"Character": "NonFlat", "Mean": 100.0, "Profile": {
        "Coefficients": [[1.0], [0.0, 0.2]], "Dims": [8, 6], "Origin": [3.5, 2.5],
        "Scale": [0.25, 0.5], "Type": "Polynomial"}},
    "Channel": 1,
    "ChannelName": "HOECHST 33342",
    "Foreground": {"Character": "NonFlat", "Profile": {
        "Coefficients": [[1.0], [0.1, -0.2], [0.01, 0.02, -0.03]], "Dims": [8, 6],
        "Origin": [3.5, 2.5], "Scale": [0.25, 0.5], "Type": "Polynomial"}},
}  # fmt: skip


def bare(value) -> str:
    """Harmony's other spelling of the same: no quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {bare(v)}" for key, v in value.items()) + "}"
    return str(value)


@pytest.fixture
def profiled(trees, tmp_path):
    def profiled(text: str):
        home = trees["harmony"](tmp_path / "scan", version=6, index="Index.idx.xml")
        edit(home, ("<Entry ChannelID='1'>", f"<Entry ChannelID='1'><FlatfieldProfile>{text}"
                    "</FlatfieldProfile>"))  # fmt: skip
        return home

    return profiled


@pytest.mark.parametrize("write", [json.dumps, bare], ids=["json", "bare"])
def test_flat_field_term_by_term(profiled, write):
    planes = scan(profiled(write(PROFILE)))
    assert planes.filter(channel="ch2")["flat_field"].unique().to_list() == [None]
    (address,) = planes.filter(channel="ch1")["flat_field"].unique()
    assert address.endswith("Images/Index.idx.xml#channel=1")
    flat = read_flat_field(address, shape=(6, 8))
    for row, column in ((0, 0), (5, 7), (2, 3)):
        x, y = (column - 3.5) * 0.25, (row - 2.5) * 0.5
        lit = 1 + 0.1 * x - 0.2 * y + 0.01 * x**2 + 0.02 * x * y - 0.03 * y**2
        assert flat.foreground[row, column] == pytest.approx(lit, rel=1e-6)
        off = 100 * (1 + 0.2 * y - lit)  # of a background of 100 on average, so it stays at 100
        assert flat.background[row, column] == pytest.approx(off, rel=1e-5)


def test_flat_field_of_binned_images_covers_the_same_area(profiled):
    linear = {"Background": PROFILE["Background"]}  # so means are exact
    (address,) = scan(profiled(bare(linear)))["flat_field"].drop_nulls().unique()
    full = read_flat_field(address, shape=(6, 8)).background
    half = read_flat_field(address, shape=(3, 4)).background
    assert len(np.unique(full)) == 6
    np.testing.assert_allclose(half, full.reshape(3, 2, 4, 2).mean((1, 3)), atol=1e-5)


def test_flat_profiles_are_flat(profiled):
    flat = bare({"Foreground": {"Character": "Flat"}, "Background": {"Character": "Flat"}})
    (address,) = scan(profiled(flat))["flat_field"].drop_nulls().unique()
    found = read_flat_field(address, shape=(2, 3))
    assert (found.foreground == 1).all()
    assert (found.background == 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{Foreground: {Coefficients: [[1]]}}", "it has no Origin"),
     ("{Foreground: {Coefficients: [[1", "the block Foreground does not end")],
)  # fmt: skip
def test_damaged_profiles(profiled, text, message):
    (address,) = scan(profiled(text))["flat_field"].drop_nulls().unique()
    with pytest.raises(BadPlate, match=rf"profile of channel 1 cannot be read \({message}\)"):
        read_flat_field(address, shape=(2, 3))


def test_no_profile(trees, tmp_path):
    home = trees["harmony"](tmp_path / "scan")
    with pytest.raises(BadPlate, match="has no flat-field profile for channel 2"):
        read_flat_field(f"{home}/Images/Index.idx.xml#channel=2", shape=(2, 3))


def test_shading_images(trees, tmp_path, data_folder):
    home = trees["pattern"](tmp_path / "p")
    found = read_flat_field(str(home / "demo_A01_s1_DNA.tif"), shape=(4, 6))
    assert found.foreground.mean() == pytest.approx(1)
    (dark,) = data_folder.glob("vendor/CV8000/*/*/SC_BP445*")  # its pixels are all zero
    with pytest.raises(BadPlate, match=r"with a mean of 0; expected .* and light"):
        read_flat_field(str(dark), shape=(2000, 2000))
