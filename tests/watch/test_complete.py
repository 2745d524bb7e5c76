"""When a plate is complete: manifests, the microscope's word, quiet."""

from pathlib import Path

import pytest

from plates.readers import cellvoyager as reader
from profiler.watch.complete import Verdict, judge

MRF = (
    '<bts:MeasurementDetail xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0" '
    'bts:BeginTime="2026-11-21T01:00:00"{end} bts:RowCount="8" bts:ColumnCount="12"/>'
)
MLF = (
    '<bts:MeasurementData xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0" '
    'bts:Version="1.0">{records}</bts:MeasurementData>'
)
RECORD = (
    '<bts:MeasurementRecord bts:Time="2026-11-21T01:0{n}:00" bts:Type="IMG" bts:Column="{n}" '
    'bts:Row="1" bts:FieldIndex="1" bts:TimePoint="1" bts:ZIndex="1" bts:X="0" bts:Y="0" '
    'bts:Z="0" bts:Ch="1">image{n}.tif</bts:MeasurementRecord>'
)


def at_once(plate: Path, manifest: str | None = None) -> Verdict:
    return judge(plate, manifest=manifest, quiet_s=0.0, least_s=600.0)


def listing(plate: Path, *lines: str, name: str = "manifest.csv") -> None:
    (plate / name).write_text("\n".join(("path,bytes", *lines)) + "\n")


def test_without_a_manifest_quiet_tells(tmp_path):
    assert not at_once(tmp_path).is_complete
    assert judge(tmp_path, manifest=None, quiet_s=600.0, least_s=600.0) == Verdict(
        True, "nothing was added for 10 min"
    )


@pytest.mark.parametrize("content", ["", "done at 03:12\n"])
def test_a_marker_tells_by_being_there(tmp_path, content):
    (tmp_path / ".complete").write_text(content)
    assert at_once(tmp_path) == Verdict(True, ".complete is there")


def test_a_listing_tells_when_each_file_is_there_and_as_long_as_it_says(tmp_path):
    listing(tmp_path, "a.tif,6", "deep/b.tif,6")
    (tmp_path / "a.tif").write_bytes(b"pixels")
    assert at_once(tmp_path).because == "1 of 2 files in manifest.csv are to come, as deep/b.tif"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.tif").write_bytes(b"pix")  # half copied
    assert not at_once(tmp_path).is_complete
    (tmp_path / "deep" / "b.tif").write_bytes(b"pixels")
    assert at_once(tmp_path) == Verdict(True, "all 2 files in manifest.csv are there")


def test_a_plate_whose_manifest_lacks_files_is_not_taken_however_quiet(tmp_path):
    listing(tmp_path, "a.tif,6")
    assert not judge(tmp_path, manifest=None, quiet_s=1e6, least_s=600.0).is_complete


def test_windows_paths_are_read(tmp_path):
    listing(tmp_path, r"deep\b.tif,6")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.tif").write_bytes(b"pixels")
    assert at_once(tmp_path).is_complete


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("../../etc/passwd,9", "outside the plate's folder"),
        ("a.tif,many", "expected a path and its bytes"),
        ("a.tif", "line 2 is 'a.tif'"),
    ],
)
def test_a_manifest_that_is_wrong_is_not_trusted(tmp_path, line, complaint):
    listing(tmp_path, line)
    assert not at_once(tmp_path).is_complete
    assert complaint in at_once(tmp_path).because


BOM = "\ufeff"  # what PowerShell's `Export-Csv -Encoding UTF8` and spreadsheets begin with


@pytest.mark.parametrize("name", ["manifest.csv", ".complete"])
def test_a_listing_with_a_byte_order_mark_is_a_listing(tmp_path, name):
    (tmp_path / name).write_bytes(f'{BOM}"path","bytes"\r\n"a.tif","6"\r\n'.encode())
    assert at_once(tmp_path) == Verdict(False, f"1 of 1 files in {name} are to come, as a.tif")
    (tmp_path / "a.tif").write_bytes(b"pixels")
    assert at_once(tmp_path) == Verdict(True, f"all 1 files in {name} are there")


@pytest.mark.parametrize("content", ["", "path;bytes\na.tif;6\n", "path,byt", "a.tif,6\n"])
def test_a_manifest_csv_that_is_no_listing_is_not_trusted(tmp_path, content):
    (tmp_path / "manifest.csv").write_text(content)
    told = Verdict(False, "manifest.csv cannot be read: its first line is not path,bytes")
    assert at_once(tmp_path) == told
    assert at_once(tmp_path, "manifest.csv") == told
    (tmp_path / ".complete").touch()
    assert at_once(tmp_path).is_complete


def test_a_stated_name_is_the_only_one_that_counts(tmp_path):
    (tmp_path / ".complete").touch()
    quiet = judge(tmp_path, manifest="DONE.txt", quiet_s=1e6, least_s=600.0)
    assert quiet == Verdict(False, "there is no DONE.txt yet")
    (tmp_path / "DONE.txt").touch()
    assert at_once(tmp_path, "DONE.txt") == Verdict(True, "DONE.txt is there")


def cellvoyager(plate: Path, *, end: str = "") -> None:
    (plate / "MeasurementDetail.mrf").write_text(MRF.format(end=end))
    records = "".join(RECORD.format(n=n) for n in (1, 2))
    (plate / "MeasurementData.mlf").write_text(MLF.format(records=records))


def test_cellvoyager_says_itself_when_a_measurement_has_ended(tmp_path):
    cellvoyager(tmp_path)
    (tmp_path / "image1.tif").write_bytes(b"pixels")
    assert not at_once(tmp_path).is_complete
    cellvoyager(tmp_path, end=' bts:EndTime="2026-11-21T02:00:00"')
    assert not at_once(tmp_path).is_complete  # one image is not copied yet
    (tmp_path / "image2.tif").write_bytes(b"pixels")
    assert at_once(tmp_path) == Verdict(
        True, "the measurement has ended, and its 2 images are there"
    )


def test_a_real_cellvoyager_plate_has_ended(data_folder):
    (index,) = (data_folder / "vendor" / "CV8000").rglob("MeasurementData.mlf")
    assert "has ended" in at_once(index.parent).because


def test_an_index_that_is_odd_is_left_to_the_run(tmp_path, monkeypatch):
    def overflows(_):
        raise OverflowError("FieldIndex 9999999999")

    cellvoyager(tmp_path, end=' bts:EndTime="2026-11-21T02:00:00"')
    monkeypatch.setattr(reader, "scan", overflows)
    assert not at_once(tmp_path).is_complete
    assert judge(tmp_path, manifest=None, quiet_s=600.0, least_s=600.0).is_complete


def test_an_index_that_is_half_copied_is_not_trusted(tmp_path):
    cellvoyager(tmp_path, end=' bts:EndTime="2026-11-21T02:00:00"')
    index = tmp_path / "MeasurementData.mlf"
    index.write_text(index.read_text()[:200])
    assert not at_once(tmp_path).is_complete
