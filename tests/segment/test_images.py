"""Images of a folder, segmented: labels that are there already, and places that are no folder."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from plates.errors import BadPlate
from profiler.cli import app
from profiler.images import segment_folder

pytestmark = pytest.mark.usefixtures("networks_loaded_once")
BY_HAND = np.full((64, 64), 7, np.uint16)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", np.zeros((64, 64), np.uint8))
    return tmp_path / "in"


@pytest.fixture
def held(tmp_path) -> Path:
    (tmp_path / "out").mkdir()
    tifffile.imwrite(tmp_path / "out" / "b.tif", BY_HAND)
    return tmp_path / "out"


def test_corrected_labels_are_not_overwritten(folder, held):
    with pytest.raises(BadPlate, match=r"label images of 1 of the 2 .*: b\.tif\..* use --replace"):
        list(segment_folder(folder, held))
    assert [path.name for path in held.iterdir()] == ["b.tif"]
    assert (tifffile.imread(held / "b.tif") == BY_HAND).all()


def test_labels_of_other_images_may_be_there(folder, held):
    (held / "b.tif").rename(held / "c.tif")
    assert {done.name for done in segment_folder(folder, held)} == {"a.tif", "b.tif"}
    assert (tifffile.imread(held / "c.tif") == BY_HAND).all()


def test_labels_are_made_anew_when_asked(folder, held):
    done = CliRunner().invoke(app, ["segment", str(folder), "--out", str(held), "--replace"])
    assert done.exit_code == 0
    assert not tifffile.imread(held / "b.tif").any()


def test_files_that_are_no_images_are_told(folder, tmp_path):
    words = ["segment", str(folder), "--out", str(tmp_path / "out")]
    assert "left out" not in CliRunner().invoke(app, words).stderr
    for name in ("pic.jpg", ".hidden", "notes.txt"):
        (folder / name).touch()
    done = CliRunner().invoke(app, [*words, "--replace"])
    assert done.exit_code == 0
    told = "2 files that are no TIFF or PNG by the ending: left out (notes.txt, pic.jpg)."
    assert told in done.stderr


@pytest.mark.parametrize("replace", [False, True])
def test_labels_of_the_same_name_and_another_ending_are_never_doubled(folder, held, replace):
    (held / "b.tif").rename(held / "b.png")
    with pytest.raises(BadPlate, match=r"holds b\.png, and label images are told apart by name"):
        list(segment_folder(folder, held, replace=replace))
    assert [path.name for path in held.iterdir()] == ["b.png"]


@pytest.mark.parametrize("under", ["", "deeper/still"])
def test_a_file_in_place_of_the_folder_is_told(folder, held, under):
    out = held / "b.tif" / under
    with pytest.raises(BadPlate, match=r"b\.tif is a file, not a folder. Choose another --out"):
        list(segment_folder(folder, out))


def test_nuclear_stains_are_not_overwritten_whatever_is_asked(folder, tmp_path):
    (tmp_path / "dna").mkdir()
    tifffile.imwrite(tmp_path / "dna" / "a.tif", BY_HAND)
    before = (tmp_path / "dna" / "a.tif").read_bytes()
    run = segment_folder(folder, tmp_path / "dna", nuclei=tmp_path / "dna", replace=True)
    with pytest.raises(BadPlate, match=r"label image of a\.tif would overwrite an image in .*dna"):
        list(run)
    assert (tmp_path / "dna" / "a.tif").read_bytes() == before


def test_labels_do_not_go_among_images_that_they_would_be_taken_for(tmp_path):
    Image.fromarray(BY_HAND).save(tmp_path / "a.png")
    with pytest.raises(BadPlate, match=r"holds the images themselves \(a\.png\).*another --out"):
        list(segment_folder(tmp_path, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_hidden_files_are_no_images(folder, tmp_path):
    (folder / "._a.tif").write_bytes(b"\0\5\x16\7 of macOS")
    assert {done.name for done in segment_folder(folder, tmp_path / "out")} == {"a.tif", "b.tif"}


def test_images_without_a_nuclear_stain_are_told(folder, tmp_path):
    (tmp_path / "dna").mkdir()
    tifffile.imwrite(tmp_path / "dna" / "b.tif", BY_HAND)
    words = ["segment", str(folder), "--out", str(tmp_path / "out"), "--model", "cells"]
    done = CliRunner().invoke(app, [*words, "--nuclei", str(tmp_path / "dna")])
    assert done.exit_code == 0
    told = f"1 image has no nuclear stain in {tmp_path / 'dna'}: found by the cell stain alone (a)."
    assert told in done.stderr
