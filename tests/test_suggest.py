"""Suggestions: the doubtful fields first, files that training reads, nothing overwritten."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from typer.testing import CliRunner

from plates.errors import BadImage, BadModel, BadPlate
from profiler.cli import app
from profiler.segment.training.labelled import read_labelled
from profiler.store.screen import open as open_screen
from profiler.suggest import Fewer, Looked, Wanted, suggest

pytestmark = pytest.mark.usefixtures("networks_loaded_once")
ONE = Wanted(fields=1)
SHAPE = (80, 80)


def nuclei(*, blurred: bool) -> np.ndarray:
    """Four discs; blurred and in noise they are hard to tell apart."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(rows % 40 - 20, columns % 40 - 20)
    bright = np.exp(-((distance / 16) ** 4)) if blurred else (distance < 12)
    noise = np.random.default_rng(0).normal(0, 120 if blurred else 10, rows.shape)
    return np.clip(300 + 400 * bright + noise, 0, None).astype(np.uint16)


@pytest.fixture
def folder(tmp_path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for name, blurred in (("clear", False), ("murky", True)):
        tifffile.imwrite(images / f"{name}.tif", nuclei(blurred=blurred))
    return images


def test_the_field_of_most_doubt_is_written_with_labels_that_training_reads(folder, tmp_path):
    out = tmp_path / "out"
    looks = {look.name: look.doubt for look in suggest(folder, out, wanted=ONE)}
    assert (looks["murky"] or 0) > (looks["clear"] or 0)
    listed = pl.read_csv(out / "suggestions.csv")
    assert listed["image"].to_list() == ["murky"]
    (one,) = read_labelled(out, ignore=None, trained_px=28.0)
    np.testing.assert_array_equal(one.image, nuclei(blurred=True))
    named = str(listed["look_at"].item()).split()
    assert set(map(int, named)) <= set(np.unique(one.labels).tolist()) - {0}


def test_a_second_round_adds_others_and_leaves_corrections_alone(folder, tmp_path):
    out = tmp_path / "out"
    list(suggest(folder, out, wanted=ONE))
    tifffile.imwrite(out / "labels" / "murky.tif", np.ones(SHAPE, np.uint16))
    list(suggest(folder, out, wanted=ONE))
    assert pl.read_csv(out / "suggestions.csv")["image"].to_list() == ["murky", "clear"]
    assert tifffile.imread(out / "labels" / "murky.tif").all()
    with pytest.raises(BadPlate, match="All 2 fields of .* are in .* already. Train on them"):
        list(suggest(folder, out, wanted=ONE))


def test_fields_without_doubt_are_left_out_and_told(folder, tmp_path):
    for name in ("dark", "saturated"):
        level = 65535 * (name == "saturated")
        tifffile.imwrite(folder / f"{name}.tif", np.full(SHAPE, level, np.uint16))
    *looks, fewer = suggest(folder, tmp_path / "out", wanted=Wanted(fields=4))
    doubtful = {look.name for look in looks if isinstance(look, Looked) and look.doubt}
    assert "murky" in doubtful
    assert not doubtful & {"dark", "saturated"}
    assert fewer == Fewer(len(doubtful), 4, 4 - len(doubtful), 0)
    assert {path.stem for path in (tmp_path / "out").rglob("*.tif")} == doubtful
    assert set(pl.read_csv(tmp_path / "out" / "suggestions.csv")["image"]) == doubtful
    assert len(read_labelled(tmp_path / "out", ignore=None, trained_px=28.0)) == len(doubtful)


def test_where_nothing_is_doubtful_nothing_is_written(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / "in" / f"{name}.tif")
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", np.zeros(SHAPE, np.uint16))
    with pytest.raises(BadPlate, match="nothing doubtful in any of the 2 fields looked at"):
        list(suggest(tmp_path / "in", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command_tells_that_fewer_are_written(folder, tmp_path):
    tifffile.imwrite(folder / "dark.tif", np.zeros(SHAPE, np.uint16))
    (folder / "clear.tif").unlink()
    words = ["suggest", str(folder), "--out", str(tmp_path / "out"), "--fields", "2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "1 field is written, not 2" in done.stderr
    assert "1 show nothing doubtful" in done.stderr


def test_a_sample_looks_at_no_more_fields_and_is_the_seeds(folder, tmp_path):
    def looks(seed: int, name: str):
        return suggest(folder, tmp_path / name, wanted=Wanted(fields=1, sample=1, seed=seed))

    (one,), (again,) = looks(0, "a"), looks(0, "b")
    assert one == again
    others = {next(looks(seed, "c")).name for seed in (1, 2, 3)}
    assert {one.name, *others} == {"clear", "murky"}


def test_a_run_suggests_its_own_fields_from_the_images_it_read(small_run, tmp_path):
    (look,) = suggest(small_run, tmp_path / "out", wanted=Wanted(fields=1, sample=1))
    image = tifffile.imread(tmp_path / "out" / "images" / f"{look.name}.tif")
    keys = open_screen(small_run).fields.collect().select("Metadata_Well", "Metadata_Site").rows()
    assert look.name.split("_")[-2:] in [[well, str(site)] for well, site in keys]
    assert image.dtype == np.uint16


def test_unreadable_fields_are_told_and_passed_over_until_none_is_left(folder, tmp_path):
    (folder / "clear.tif").write_bytes(b"II*\0broken")
    looks = list(suggest(folder, tmp_path / "out", wanted=ONE))
    assert [look.name for look in looks if look.doubt is not None] == ["murky"]
    assert "clear.tif" in "".join(look.problem or "" for look in looks)
    (folder / "murky.tif").write_bytes(b"II*\0broken")
    with pytest.raises(BadImage, match="None of the 2 fields looked at can be read"):
        list(suggest(folder, tmp_path / "other", wanted=ONE))


def test_whole_cells_are_suggested_from_images_of_their_stain_not_from_a_run(
    folder, small_run, tmp_path
):
    with pytest.raises(BadModel, match="'cells' finds whole cells, and .* folder with images"):
        list(suggest(small_run, tmp_path / "none", wanted=Wanted(fields=1, model="cells")))
    looks = list(suggest(folder, tmp_path / "out", wanted=Wanted(fields=1, model="cells")))
    assert {look.name for look in looks} == {"clear", "murky"}


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"made by hand")
    return path


def test_labels_made_by_hand_are_left_alone(folder, tmp_path):
    mine = put(tmp_path / "out" / "labels" / "murky.png")
    list(suggest(folder, tmp_path / "out", wanted=Wanted(fields=2)))
    assert mine.read_bytes() == b"made by hand"
    assert {path.stem for path in (tmp_path / "out").rglob("*.tif")} == {"clear"}


@pytest.mark.parametrize("ending", ["tif", "png", "tiff", "TIF"])
def test_images_and_labels_of_any_ending_are_there_already(folder, tmp_path, ending):
    put(tmp_path / "out" / "images" / f"clear.{ending}")
    put(tmp_path / "out" / "labels" / f"murky.{ending}")
    with pytest.raises(BadPlate, match="All 2 fields of .* are in .* already"):
        next(suggest(folder, tmp_path / "out", wanted=ONE))


AS_A_SPREADSHEET = "image;objects;doubt;look_at;mine\nold;3;1,25;2 1;redo, twice\nolder;1;0;;\n"


def test_a_list_that_a_spreadsheet_saved_is_gone_on_with(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "suggestions.csv").write_text("\ufeff" + AS_A_SPREADSHEET, encoding="utf-8")
    list(suggest(folder, out, wanted=ONE))
    rows = pl.read_csv(out / "suggestions.csv")
    assert rows.columns == ["image", "objects", "doubt", "look_at", "mine"]
    assert rows["image"].to_list() == ["old", "older", "murky"]
    assert rows["doubt"].to_list()[:2] == [1.25, 0.0]
    assert rows["mine"].to_list() == ["redo, twice", None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,objects\nold,3\n", "no list of suggestions any more.*columns are image, objects"),
        ("image,objects,doubt,look_at\nold,three,1,2\n", "no list of suggestions any more"),
        ("image,objects,doubt,look_at\nold,3\n", "line 2 has 2 cells, but the header has 4"),
        ("", "suggestions.csv is empty"),
    ],
)
def test_a_list_that_is_none_is_refused_before_any_work(folder, tmp_path, text, message):
    out = tmp_path / "out"
    out.mkdir()
    (out / "suggestions.csv").write_text(text)
    with pytest.raises(BadPlate, match=message):
        next(suggest(folder, out, wanted=ONE))
    assert [path.name for path in out.iterdir()] == ["suggestions.csv"]
    assert (out / "suggestions.csv").read_text() == text


@pytest.mark.parametrize("under", ["", "deeper"])
def test_a_file_in_place_of_the_folder_is_told_before_any_work(folder, under):
    with pytest.raises(BadPlate, match=r"clear\.tif is a file, not a folder. Choose another --out"):
        next(suggest(folder, folder / "clear.tif" / under, wanted=ONE))
