"""Plates that are damaged or oddly kept: one sentence that names the file, never a traceback."""

import os
import re
from pathlib import Path

import polars as pl
import pytest

from plates.errors import BadPlate
from plates.readers import READERS, scan, unused_images
from plates.readers.reader import Reader

NUMBERS = {  # a count in the index of a plate of each kind
    "cellvoyager": ("MeasurementData.mlf", r'(?<=FieldIndex=")1'),
    "harmony": ("Images/Index.idx.xml", r"(?<=<FieldID>)1"),
    "incell": ("plate.xdce", r'(?<=field_index=")0'),
    "samplesheet": ("samplesheet.csv", r"(?<=B03,)2"),
    "ome-tiff, companion": ("plate.companion.ome", r'(?<=PlaneCount=")2'),
}


@pytest.mark.parametrize("number", ["9999999999", "1" * 30, "1" * 5000, "-5", "1e999", "\u00b2"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_that_no_count_has(trees, tmp_path, kind, number):
    home = trees[kind](tmp_path / "p")
    name, place = NUMBERS[kind]
    text, n = re.subn(place, number, (home / name).read_text(), count=1)
    assert n == 1
    (home / name).write_text(text)
    with pytest.raises(
        BadPlate, match=rf"{name}\b.* is '.{{1,30}}', expected a whole number"
    ) as told:
        scan(home)
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize(
    ("kind", "name", "old", "new"),
    [
        ("cellvoyager", "MeasurementData.mlf", ':Column="2"', ':Column="49"'),
        ("harmony", "Images/Index.idx.xml", "<Row>2</Row><Col>3", "<Row>2</Row><Col>49"),
        ("incell", "plate.xdce", '<Column number="3"', '<Column number="49"'),
        ("ome-tiff, companion", "plate.companion.ome", 'Column="11"', 'Column="48"'),
        ("ome-zarr", ".zattrs", "B/3", "B/49"),
    ],
)
def test_a_well_on_no_plate_is_told_with_its_index(trees, tmp_path, kind, name, old, new):
    home = trees[kind](tmp_path / "p")
    text = (home / name).read_text()
    assert old in text
    (home / name).write_text(text.replace(old, new))
    index = home if kind == "ome-zarr" else home / name
    with pytest.raises(BadPlate, match=rf"^{index}: .*column 49 is on no plate"):
        scan(home)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("imagexpress, exported", "TimePoint_1/9987_B03_s9999999999_w1.TIF"),
        ("imagexpress, exported", "TimePoint_1/9987_B03_s1_w9999999999.TIF"),
        ("imagexpress, exported", "TimePoint_9999999999/9987_B03_s1_w1.TIF"),
        ("imagexpress, exported", "TimePoint_1/ZStep_9999999999/9987_B03_s1_w1.TIF"),
        ("scanr", "data/A2--W00002--P9999999999--Z00000--T00000--DAPI.tif"),
        ("scanr", "data/A2--W00002--P00001--Z9999999999--T00000--DAPI.tif"),
        ("scanr", "data/A2--W00002--P00001--Z00000--T9999999999--DAPI.tif"),
        ("scanr", "data/--W9999999999--P00001--Z00000--T00000--DAPI.tif"),
    ],
)
def test_numbers_in_names_that_no_count_has(trees, tmp_path, kind, name):
    home = trees[kind](tmp_path / "p")
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).touch()
    with pytest.raises(BadPlate, match=r"has the number '9999999999', and no site, channel, plane"):
        scan(home)


@pytest.mark.parametrize("kind", ["pattern", "imagexpress, exported", "scanr"])
def test_a_name_that_is_not_utf_8(trees, tmp_path, kind):
    home = trees[kind](tmp_path / "p")
    path = next(path for path in sorted(home.rglob("*.tif")) + sorted(home.rglob("*.TIF")))
    try:
        path.rename(path.with_name(os.fsdecode(b"\xe4") + path.name))
    except OSError:
        pytest.skip("this disk holds no such names")
    with pytest.raises(
        BadPlate, match=r"The name '/.*\\udce4.*' is not UTF-8, so no table"
    ) as told:
        scan(home)
    str(told.value).encode()  # as the command line prints it


def test_a_stray_name_that_is_not_utf_8_can_be_told(trees, tmp_path):
    home = trees["pattern"](tmp_path / "p")
    try:
        (home / os.fsdecode(b"k\xe4.tif")).touch()
    except OSError:
        pytest.skip("this disk holds no such names")
    assert [path.name for path in unused_images(home, scan(home))] == [r"k\xe4.tif"]


@pytest.mark.parametrize(
    ("kind", "name", "old"),
    [
        ("loaddata", "load.csv", "a.tif"),
        ("samplesheet", "samplesheet.csv", "i1.tif"),
        ("gallery", "workspace/load_data_csv/2021_Batch1/BR1/load_data.csv", "r02c03f01p01"),
    ],
)
def test_names_longer_than_a_disk_can_hold(trees, tmp_path, kind, name, old):
    home = trees[kind](tmp_path / "p")
    text = (home / name).read_text()
    assert old in text
    (home / name).write_text(text.replace(old, "x" * 400))
    if kind == "samplesheet":  # the sheet's other file is there: the field gets its reason later
        assert len(scan(home)) == 2
        return
    with pytest.raises(BadPlate, match=r"none of the .* such as|None of the 1 files .* is there"):
        scan(home)


def test_settings_with_a_name_longer_than_a_disk_can_hold(trees, tmp_path):
    home = trees["cellvoyager"](tmp_path / "p")
    (home / "MeasurementDetail.mrf").write_text(
        f'<a MeasurementSettingFileName="{"x" * 400}"><MeasurementChannel Ch="1" '
        f'HorizontalPixelDimension="0.5" ShadingCorrectionSource="{"y" * 400}"/></a>'
    )
    planes = scan(home).filter(channel="C01")
    assert planes.select("pixel_size_um", "flat_field").rows() == [(0.5, None)]


@pytest.mark.parametrize("site", ["-3", "9999999999", "1.5", ""])
def test_sites_of_a_loaddata_csv(trees, tmp_path, site):
    home = trees["loaddata"](tmp_path / "p")
    (home / "load.csv").write_text(
        f"FileName_OrigDNA,Metadata_Well,Metadata_Site\na.tif,A1,{site}\n"
    )
    with pytest.raises(BadPlate, match=r"Metadata_Site is .*, expected a whole number from 0 to 9"):
        scan(home)


def boom(_: Path) -> pl.DataFrame:
    raise RecursionError("x" * 1000)


@pytest.mark.parametrize(("matches", "asked"), [(lambda _: True, "own"), (boom, "auto")])
def test_what_no_reader_foresaw_is_told_as_damage(tmp_path, monkeypatch, matches, asked):
    (tmp_path / "a.txt").touch()
    monkeypatch.setitem(READERS, "own", Reader("own", "anything", matches, boom))
    message = rf"{tmp_path}: the index is damaged: RecursionError: .{{1,40}}\. Copy it again"
    with pytest.raises(BadPlate, match=message) as told:
        scan(tmp_path, reader=asked)
    assert isinstance(told.value.__cause__, RecursionError)


def test_a_drive_that_goes_away_is_no_damage(tmp_path, monkeypatch):
    def gone(_: Path) -> pl.DataFrame:
        raise OSError(5, "Input/output error", "/mnt/x/Index.xml")

    (tmp_path / "a.txt").touch()
    monkeypatch.setitem(READERS, "own", Reader("own", "anything", lambda _: True, gone))
    with pytest.raises(BadPlate, match=r"^/mnt/x/Index\.xml cannot be read: Input/output error"):
        scan(tmp_path, reader="own")


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", b"{" * 2000, b"\x89HDF\r\n\x1a\n" + bytes(99)]
)
def test_matching_never_raises(tmp_path, data):
    names = ("load.csv", "Index.xml", "MeasurementData.mlf", "a.xdce", "x.h5", "y.ch5",
             ".zattrs", "zarr.json", "experiment_descriptor.xml", "a.companion.ome", "b.ome.tif",
             "x.HTD", "images/a.tif", "workspace/load_data_csv/a/b/load_data.csv")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for source in (tmp_path, *map(tmp_path.joinpath, names), tmp_path / "nowhere"):
        assert {type(reader.matches(source)) for reader in READERS.values()} == {bool}


def test_folders_that_are_links(trees, tmp_path):
    home = tmp_path / "q"
    home.mkdir()
    (home / "images").symlink_to(trees["pattern"](tmp_path / "elsewhere/p"))
    planes = scan(home)
    assert planes["path"].to_list() == [f"{home}/images/demo_A01_s1_DNA.tif"]
    assert unused_images(home, planes) == []


def test_links_that_lead_back_or_twice_to_one_folder(trees, tmp_path):
    home = trees["harmony"](tmp_path / "screen/P1")
    trees["harmony"](tmp_path / "screen/P2")
    usual = scan(home)
    for name, target in {"Again": home / "Images", "up": home.parent, "self": home}.items():
        (home / name).symlink_to(target)
    assert scan(home).equals(usual)
    assert scan(home, pattern="phenix")["path"].sort().equals(usual["path"].sort())


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize(("kind", "name"), [("loaddata", "load"), ("samplesheet", "samplesheet")])
def test_tables_with_other_delimiters(trees, tmp_path, kind, name, delimiter):
    home = trees[kind](tmp_path / "p")
    usual = scan(home)
    path = home / f"{name}.csv"
    lines = [line.split(",")[::-1] for line in path.read_text().splitlines()]
    path.write_text("\n".join(map(delimiter.join, lines)))
    assert scan(home).equals(usual)


@pytest.mark.parametrize("kind", ["hdf5", "cellh5"])
def test_one_of_several_files_cut_short(trees, tmp_path, kind):
    home = trees[kind](tmp_path / "p")
    (path,) = home.iterdir()
    short = home / f"other{path.suffix}"
    short.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = (
        rf"{short.name} cannot be opened as HDF5, so it is damaged or cut short: .* Copy it again"
    )
    with pytest.raises(BadPlate, match=message):
        scan(home)
    path.unlink()
    with pytest.raises(BadPlate, match=message):
        scan(home)
