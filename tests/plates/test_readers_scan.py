"""Choosing a reader, and what is said when none fits."""

import os

import polars as pl
import pytest

from plates.errors import BadPlate, BadRecipe, UnknownName
from plates.readers import READERS, scan
from plates.readers.reader import METADATA, PLANES, checked


def test_registry_names():
    assert next(iter(READERS)) == "loaddata"  # what somebody wrote by hand comes first
    assert list(READERS)[-1] == "pattern"  # and what no index tells, last
    assert all(reader.name == name for name, reader in READERS.items())


def test_table_keeps_to_the_contract(tmp_path):
    (tmp_path / "p_A01_s1_DNA.tif").touch()
    for reader in ("auto", "pattern"):
        assert list(scan(str(tmp_path), reader=reader).schema) == [*PLANES, *METADATA]


def test_missing_folder(tmp_path):
    with pytest.raises(BadPlate, match=r"There is no .*nowhere\. Check the path"):
        scan(tmp_path / "nowhere")


def test_empty_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".DS_Store").touch()
    with pytest.raises(BadPlate, match=r"is empty\. Expected a plate's images"):
        scan(tmp_path)


def test_no_reader_fits(tmp_path):
    for name in ("holiday.tif", "notes.txt", "z.csv", "zz.csv"):
        (tmp_path / name).touch()
    message = (
        r"No reader fits .*\. Tried: loaddata needs a CellProfiler LoadData CSV .*; harmony needs "
        r"Harmony's Index\.xml or Index\.idx\.xml; .*; pattern needs "
        r"image names that fit a built-in pattern \(bbbc013, .*\) or one of yours\. "
        r"Files there: 4, first: holiday\.tif, notes\.txt, z\.csv\. Point at the folder of"
    )
    with pytest.raises(BadPlate, match=message):
        scan(tmp_path)


def test_a_file_that_is_no_index(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(BadPlate, match=r"No reader fits .*a\.tif"):
        scan(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["plate.zip", "plate.tar.gz", "PLATE.7Z"])
def test_archives_are_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(BadPlate, match=r"is an archive, and no plate .* Unpack it, and give the"):
        scan(tmp_path / name)


def test_reader_asked_for_does_not_fit(tmp_path):
    (tmp_path / "holiday.tif").touch()
    message = r"fits the pattern 'of any kind'\. Images there: 1, first: holiday\.tif"
    with pytest.raises(BadPlate, match=message):
        scan(tmp_path, reader="pattern")


def test_unknown_reader(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(UnknownName, match=r"no reader called 'patern'\. Did you mean 'pattern'"):
        scan(tmp_path, reader="patern")


def test_pattern_for_another_reader(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(BadRecipe, match="needs reader = 'pattern', not 'loaddata'"):
        scan(tmp_path, reader="loaddata", pattern="phenix")


def test_path_that_the_system_refuses():
    with pytest.raises(BadPlate, match="cannot be read: File name too long"):
        scan("x" * 5000)


def test_unreadable_folder(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    # As root, which tests often run as, no folder is closed.
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadPlate, match=r"The folder .* cannot be read: Permission denied"):
        scan(tmp_path)


def test_reader_that_finds_nothing(tmp_path):
    with pytest.raises(BadPlate, match="holds no image plane that could be read"):
        checked(pl.DataFrame(schema=PLANES), source=tmp_path)


@pytest.mark.parametrize("name", ["", " ", ".", "..", ".hidden", "a/b", "a\\b", "a\0b"])
def test_plate_names_that_lead_elsewhere(tmp_path, name):
    planes = pl.DataFrame([(name, "A01", 1, "c", 1, 1, "x")], schema=PLANES, orient="row")
    message = rf"The plate in {tmp_path} is called .* cannot be the name of a folder of results\. "
    with pytest.raises(
        BadPlate, match=rf"{message}.* Correct it in the index .* reader = \"pattern\""
    ):
        checked(planes, source=tmp_path)


def test_real_folder_that_is_no_plate(data_folder):
    with pytest.raises(BadPlate, match="No reader fits"):
        scan(data_folder / "dsb2018")
