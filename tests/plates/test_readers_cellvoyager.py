"""CellVoyager: a real CV8000 measurement against its own index, and indexes that lie."""

import re
from collections import Counter

import pytest

from plates.errors import BadPlate
from plates.readers import scan


def test_real_measurement_against_its_index(data_folder):
    home = data_folder / "vendor/CV8000"
    (index,) = home.rglob("MeasurementData.mlf")
    said = [
        dict(re.findall(r'bts:(\w+)="([^"]*)"', line)) | {"file": line.partition(">")[2][:-24]}
        for line in index.read_text().splitlines()
        if "MeasurementRecord" in line
    ]
    assert len(said) == 96
    planes = scan(home)
    assert len(planes) == 96
    by_file = {row["path"].rpartition("/")[2]: row for row in planes.iter_rows(named=True)}
    for record in said:
        row = by_file[record["file"].partition("<")[0]]
        assert row["well"] == f"{' ABCDEFGH'[int(record['Row'])]}{int(record['Column']):02d}"
        numbers = row["site"], row["z"], row["timepoint"], row["channel"]
        expected = (*(int(record[n]) for n in ("FieldIndex", "ZIndex", "TimePoint")),)
        assert numbers == (*expected, f"C{int(record['Ch']):02d}")
        assert row["z_um"] == float(record["Z"])


def test_real_measurement_by_hand(data_folder):
    planes = scan(data_folder / "vendor/CV8000")
    assert planes["plate"].unique().to_list() == ["CV8000-Minimal-DataSet-2C-3W-4S-FP2-stack"]
    assert Counter(planes["well"]) == {"D08": 32, "E03": 32, "F08": 32}
    said = planes.select("channel", "channel_name", "wavelength_nm", "pixel_size_um",
                         "magnification", "objective").unique().sort("channel")  # fmt: skip
    assert said.rows() == [
        ("C01", "BP445/45", 445.0, 0.325, 20.0, "20x v2"),
        ("C02", "BP525/50", 525.0, 0.325, 20.0, "20x v2"),
    ]
    profiles = {path.rpartition("/")[2] for path in planes["flat_field"].unique()}
    assert profiles == {"SC_BP445-45_20x v2_M01_CH01.tif", "SC_BP525-50_20x v2_M01_CH02.tif"}
    assert planes["time_s"].min() == 0
    assert planes["time_s"].max() > 1


def test_errors_of_the_microscope_are_no_planes(trees, tmp_path):
    planes = scan(trees["cellvoyager"](tmp_path / "plate5"))
    assert planes.select("plate", "well", "channel", "time_s", "pixel_size_um").rows() == [
        ("plate5", "A02", "C01", 0.0, None), ("plate5", "A02", "C02", 1.0, None)]  # fmt: skip


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", r"..\x.tif", r"C:\x.tif", ""])
def test_files_elsewhere_are_refused(trees, tmp_path, name):
    index = trees["cellvoyager"](tmp_path / "p") / "MeasurementData.mlf"
    index.write_text(index.read_text().replace("p_A02_T0001F001L01A01Z01C02.tif", name))
    with pytest.raises(BadPlate, match=r"which is not below its folder\. It was not opened"):
        scan(tmp_path / "p")


@pytest.mark.parametrize("version", ["2.0", "10.1", ""])
def test_unknown_versions(trees, tmp_path, version):
    index = trees["cellvoyager"](tmp_path / "p") / "MeasurementData.mlf"
    index.write_text(index.read_text().replace('bts:Version="1.0"', f'bts:Version="{version}"'))
    with pytest.raises(BadPlate, match=rf"unknown version '{version}'; known is 1\.0\. Export"):
        scan(tmp_path / "p")


def test_a_number_that_is_none(trees, tmp_path):
    index = trees["cellvoyager"](tmp_path / "p") / "MeasurementData.mlf"
    index.write_text(index.read_text().replace('bts:FieldIndex="1"', 'bts:FieldIndex="x"'))
    with pytest.raises(BadPlate, match=r"FieldIndex is 'x', expected a whole number\. The index"):
        scan(tmp_path / "p")


def test_index_cut_short(trees, tmp_path):
    index = trees["cellvoyager"](tmp_path / "p") / "MeasurementData.mlf"
    index.write_text(index.read_text()[:-30])
    with pytest.raises(BadPlate, match=r"is not the XML it should be: .* Copy it again"):
        scan(tmp_path / "p")
