"""objects.csv beside label images: one row for each object in them, whatever befalls a run."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import tifffile
from scipy import ndimage
from skimage.measure import regionprops_table
from typer.testing import CliRunner

from plates.errors import BadImage, BadPlate, BadRun
from profiler import images
from profiler.cli import app
from profiler.compute import object_table
from profiler.compute.object_table import COLUMNS, describe_objects, read_objects
from profiler.images import segment_folder
from profiler.segment.compartments import CellsConfig
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.evaluation.folders import evaluate
from profiler.segment.segmenter import Examined, SegmentConfig, Segmenter
from profiler.segment.training.labelled import read_labelled
from profiler.segment.weights import Card

UNKNOWN = 10  # grey level of objects of unknown confidence


def examine(field) -> Examined:
    """A segmenter that can be read off its images: an object's grey level over 100 is its trust."""
    grey = np.asarray(field)
    labels = np.zeros(grey.shape, np.int32)
    ndimage.label(grey > 0, output=labels)
    count = int(labels.max())
    sure = np.full(grey.size // 25, np.nan, np.float32)
    sure[:count] = [grey[labels == i].max() / 100 for i in range(1, count + 1)]
    sure[sure == UNKNOWN / 100] = np.nan
    nuclei = Nuclei(jnp.asarray(labels), jnp.int32(count), jnp.int32(0))
    return Examined(nuclei, None, jnp.asarray(sure))  # type: ignore[arg-type]


def _none(images):
    raise NotImplementedError


@pytest.fixture(autouse=True)
def readable(monkeypatch):
    """No network: its part is tested where networks are."""
    card = Card("mine", {}, "", {})
    loaded = Segmenter(card, None, _none, examine, None, _none)  # type: ignore[arg-type]
    monkeypatch.setattr(images, "load_segmenter", lambda config: loaded)


def draw(path: Path, *levels: int, shape: tuple[int, int] = (40, 90)) -> None:
    """Write an image with an object of each grey level, of growing width, from left to right."""
    grey = np.zeros(shape, np.uint8)
    for place, level in enumerate(levels):
        grey[5 : 12 + place, 15 * place + 2 : 15 * place + 8 + place] = level
        grey[5, 15 * place + 2] = 0  # no rectangle, so that the centroid is no whole number
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, grey)


def segment(folder: Path, out: Path, *, least: float = 0.0, anew: bool = False) -> list:
    config = SegmentConfig(cells=CellsConfig(min_confidence=least))
    return list(segment_folder(folder, out, config=config, replace=anew))


def table(out: Path) -> pl.DataFrame:
    """As a person's program reads it."""
    return pl.read_csv(out / "objects.csv", schema_overrides={"image": pl.String})


def check(out: Path, names: set[str] | None = None) -> pl.DataFrame:
    """Compare the table with the label images on disk, as scikit-image measures them."""
    rows, labelled = table(out), {path.stem: tifffile.imread(path) for path in out.glob("*.tif")}
    for name, labels in labelled.items():
        own = rows.filter(pl.col("image") == name)
        true = regionprops_table(labels, properties=("label", "area", "centroid"))
        assert own["label"].to_list() == true["label"].tolist() == list(range(1, own.height + 1))
        assert own["area_px"].to_list() == true["area"].tolist()
        np.testing.assert_allclose(own["y_px"], true["centroid-0"], atol=0.0051)
        np.testing.assert_allclose(own["x_px"], true["centroid-1"], atol=0.0051)
    assert set(rows["image"]) == {name for name in labelled if labelled[name].any()}
    return rows


def test_every_object_of_every_image_has_a_row_and_an_empty_image_has_none(tmp_path):
    draw(tmp_path / "in" / "b.tif", 90, 40, 70)
    draw(tmp_path / "in" / "a.tif", 55, shape=(31, 20))
    draw(tmp_path / "in" / "none.tif")
    done = segment(tmp_path / "in", tmp_path / "out")
    assert [(one.name, one.nuclei) for one in done] == [("a.tif", 1), ("b.tif", 3), ("none.tif", 0)]
    rows = check(tmp_path / "out")
    assert rows.columns == ["image", "label", "area_px", "x_px", "y_px", "confidence"]
    assert rows["image"].to_list() == ["a", "b", "b", "b"]
    assert rows["confidence"].to_list() == [0.55, 0.9, 0.4, 0.7]


def test_where_all_images_are_empty_there_is_a_table_without_rows_to_go_on_from(tmp_path):
    draw(tmp_path / "in" / "a.tif")
    segment(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "objects.csv").read_text() == ",".join(COLUMNS) + "\n"
    draw(tmp_path / "more" / "b.tif", 80)
    segment(tmp_path / "more", tmp_path / "out")
    assert check(tmp_path / "out").height == 1


def test_doubtful_objects_are_left_out_the_others_numbered_anew_and_they_are_counted(tmp_path):
    draw(tmp_path / "in" / "a.tif", 90, 40, 70, 69)
    draw(tmp_path / "in" / "b.tif", 30, 20)
    (whole, *_), kept = (segment(tmp_path / "in", tmp_path / f"{p}", least=p) for p in (0.0, 0.7))
    assert [(one.nuclei, one.doubtful) for one in kept] == [(2, 2), (0, 2)]
    assert (whole.nuclei, whole.doubtful) == (4, 0)
    rows = check(tmp_path / "0.7")
    assert rows["confidence"].to_list() == [0.9, 0.7]  # one at the threshold itself stays
    before, after = (tifffile.imread(tmp_path / p / "a.tif") for p in ("0.0", "0.7"))
    np.testing.assert_array_equal(after, np.array([0, 1, 0, 2, 0])[before])


def test_objects_of_unknown_confidence_have_an_empty_cell_and_stay(tmp_path):
    draw(tmp_path / "in" / "a.tif", UNKNOWN, 40)
    segment(tmp_path / "in", tmp_path / "out", least=0.5)
    assert check(tmp_path / "out")["confidence"].to_list() == [None]
    assert (tmp_path / "out" / "objects.csv").read_text().splitlines()[1].endswith(",")


def test_other_images_are_added_and_the_same_made_anew_have_their_new_rows_alone(tmp_path):
    draw(tmp_path / "in" / "b.tif", 90, 40)
    segment(tmp_path / "in", tmp_path / "out")
    draw(tmp_path / "in" / "b.tif", 35)
    draw(tmp_path / "more" / "a.tif", 60)
    segment(tmp_path / "more", tmp_path / "out")
    assert check(tmp_path / "out")["image"].to_list() == ["a", "b", "b"]
    segment(tmp_path / "in", tmp_path / "out", anew=True)
    assert check(tmp_path / "out")["confidence"].to_list() == [0.6, 0.35]


def test_an_image_that_fails_has_no_rows_or_keeps_those_of_the_labels_that_it_keeps(tmp_path):
    for name, level in (("a", 60), ("b", 70)):
        draw(tmp_path / "in" / f"{name}.tif", level)
    segment(tmp_path / "in", tmp_path / "out")
    draw(tmp_path / "in" / "a.tif", 61)
    for name in ("b", "c"):
        (tmp_path / "in" / f"{name}.tif").write_bytes(b"II*\0")
    with pytest.raises(BadImage, match=r"2 of 3 .* no labels in .*out but those of an .* \(b\.tif"):
        segment(tmp_path / "in", tmp_path / "out", anew=True)
    assert check(tmp_path / "out").select("image", "confidence").rows() == [("a", 0.61), ("b", 0.7)]


def test_where_every_image_fails_nothing_is_written(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(BadImage, match="1 of 1 images could not be read, and have no labels in"):
        segment(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("anew", [False, True])
def test_a_run_that_is_stopped_leaves_rows_of_the_labels_that_are_there(tmp_path, anew):
    for name in "abc":
        draw(tmp_path / "in" / f"{name}.tif", 60, 70)
    if anew:
        segment(tmp_path / "in", tmp_path / "out")
        for name in "abc":
            draw(tmp_path / "in" / f"{name}.tif", 65)
    run = segment_folder(tmp_path / "in", tmp_path / "out", replace=anew)
    next(run)
    run.close()
    assert check(tmp_path / "out").height == (1 + 2 + 2 if anew else 2)


def test_while_labels_are_made_anew_the_table_on_disk_tells_nothing_of_them(tmp_path):
    for name in "abc":
        draw(tmp_path / "in" / f"{name}.tif", 60)
    segment(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "c.tif").unlink()
    run = segment_folder(tmp_path / "in", tmp_path / "out", replace=True)
    next(run)  # killed here, nothing could be mended
    assert table(tmp_path / "out")["image"].to_list() == ["c", "a"]
    run.close()


def snapshots(monkeypatch, out: Path, home: Path) -> list[Path]:
    """Keep what a machine that loses power at any moment finds on its disk."""
    kept, sync = [], os.fsync

    def keep(descriptor: int) -> None:
        sync(descriptor)
        if out.is_dir():
            kept.append(home / f"{len(kept)}" / "out")
            shutil.copytree(out, kept[-1])

    monkeypatch.setattr(os, "fsync", keep)
    return kept


def left(folder: Path, out: Path, home: Path) -> Path:
    """The images that have no labels yet in a folder of their own, as a killed command asks for."""
    home.mkdir()
    for path in folder.iterdir():
        if not (out / path.name).exists():
            shutil.copy(path, home)
    return home


def test_whenever_it_is_killed_labels_have_rows_and_what_is_left_can_be_run(tmp_path, monkeypatch):
    for name, levels in {"c": (60, 70, 80), "a": (50,), "none": (), "b": (90, UNKNOWN)}.items():
        draw(tmp_path / "in" / f"{name}.tif", *levels)
    with monkeypatch.context() as patch:
        kept = snapshots(patch, tmp_path / "whole", tmp_path / "kept")
        segment(tmp_path / "in", tmp_path / "whole")
    whole = (tmp_path / "whole" / "objects.csv").read_bytes()
    seen = set()
    for number, out in enumerate(kept):
        rows = read_objects(out / "objects.csv").rows
        labelled = {path.stem for path in out.glob("*.tif") if tifffile.imread(path).any()}
        seen.add(frozenset(rows))
        assert labelled <= set(rows)  # at most one more, whose labels were to come
        assert len(set(rows) - labelled) <= 1
        rest = left(tmp_path / "in", out, tmp_path / f"left{number}")
        if any(rest.iterdir()):
            segment(rest, out)
            assert (out / "objects.csv").read_bytes() == whole
    assert {len(images) for images in seen} == {0, 1, 2, 3}


def test_whenever_labels_are_made_anew_no_rows_tell_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "TOGETHER", 2)
    for name in "abcd":
        draw(tmp_path / "in" / f"{name}.tif", 60, 70)
    segment(tmp_path / "in", tmp_path / "out")
    for name in "abcd":
        draw(tmp_path / "in" / f"{name}.tif", 65)
    with monkeypatch.context() as patch:
        kept = snapshots(patch, tmp_path / "out", tmp_path / "kept")
        segment(tmp_path / "in", tmp_path / "out", anew=True)
    assert check(tmp_path / "out")["confidence"].to_list() == [0.65] * 4
    for out in kept:
        rows = read_objects(out / "objects.csv").rows
        assert len(rows) >= 2  # the others are being made anew
        for name, own in rows.items():
            assert own.height == tifffile.imread(out / f"{name}.tif").max()


@pytest.mark.parametrize("torn", [1, 20, -1])
def test_rows_that_were_being_written_are_no_rows(tmp_path, torn):
    draw(tmp_path / "in" / "b.tif", 60, 70)
    segment(tmp_path / "in", tmp_path / "out")
    path = tmp_path / "out" / "objects.csv"
    rows = b"\0,1,40,2.5,3.5,0.6\n"
    path.write_bytes(path.read_bytes() + rows[:torn])
    draw(tmp_path / "more" / "a.tif", 80)
    segment(tmp_path / "more", tmp_path / "out")
    assert check(tmp_path / "out")["image"].to_list() == ["a", "b", "b"]


KILLED = """
import os, signal, sys
from pathlib import Path
import tests.segment.test_object_table as here
from profiler import images
from profiler.segment.segmenter import Segmenter

def killed(image):
    if image.max() == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return here.examine(image)

loaded = Segmenter(None, None, here._none, killed, None, here._none)
images.load_segmenter = lambda config: loaded
here.segment(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_program_that_is_killed_leaves_the_rows_of_the_labels_that_it_made(tmp_path):
    for name, level in (("a", 60), ("b", 70), ("c", 99), ("d", 80)):
        draw(tmp_path / "in" / f"{name}.tif", level, 50)
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "in", tmp_path / "out"])
    assert ended.returncode == -signal.SIGKILL
    assert check(tmp_path / "out")["image"].to_list() == ["a", "a", "b", "b"]


def test_a_disk_that_is_full_is_told_and_the_table_stays_whole(tmp_path, monkeypatch):
    draw(tmp_path / "in" / "a.tif", 60)
    segment(tmp_path / "in", tmp_path / "out")
    draw(tmp_path / "more" / "b.tif", 70)
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr(object_table, "_put", Mock(side_effect=full))
        with pytest.raises(BadRun, match=r"objects\.csv could not be added to \(No space left on"):
            segment(tmp_path / "more", tmp_path / "out")
    assert check(tmp_path / "out")["image"].to_list() == ["a"]


NAMES = ("007", "1e5", "NA", "null", " a", "b ", 'c"d', "e,f", "g;h", "µ", "i.ome")


def test_names_stay_as_they_are_in_this_run_and_the_next(tmp_path):
    for name in NAMES:
        draw(tmp_path / "in" / f"{name}.tif", 60)
    draw(tmp_path / "more" / "other.tif", 60)
    segment(tmp_path / "in", tmp_path / "out")
    segment(tmp_path / "more", tmp_path / "out")
    assert check(tmp_path / "out")["image"].to_list() == sorted((*NAMES, "other"))


def test_a_name_that_is_no_utf_8_is_written_out(tmp_path):
    draw(tmp_path / "in" / b"\xe9.tif".decode("utf-8", "surrogateescape"), 60)
    segment(tmp_path / "in", tmp_path / "out")
    assert table(tmp_path / "out")["image"].to_list() == ["\\udce9"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("name,prob\na,1\n", r"its columns are name, prob; expected the columns image, label"),
        (";".join(COLUMNS) + "\na;1;2;3;4;0,5\n", "more fields than"),
        (",".join(COLUMNS) + "\na,one,2,3,4,0.5\n", "failed in column 'label'"),
        (",".join(COLUMNS) + "\na,1,,3,4,0.5\n", "cells of it are empty"),
        (",".join(COLUMNS) + "\na,1\n", "cells of it are empty"),
    ],
)
def test_another_table_of_that_name_is_left_alone_before_any_work(tmp_path, text, message):
    draw(tmp_path / "in" / "a.tif", 60)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "objects.csv").write_text(text)
    with pytest.raises(
        BadPlate, match=rf"\.csv is no table of objects .*{message}.* nothing was wri"
    ):
        segment(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["objects.csv"]
    assert (tmp_path / "out" / "objects.csv").read_text() == text


def test_a_folder_with_the_table_is_a_folder_of_labels(tmp_path):
    draw(tmp_path / "in" / "a.tif", 60, 70)
    segment(tmp_path / "in", tmp_path / "out")
    judged = evaluate(tmp_path / "out", tmp_path / "out")
    assert judged.images["image"].to_list() == ["a"]
    assert judged.images["F1@.50"].to_list() == [1.0]


def test_training_reads_label_images_beside_the_table(tmp_path):
    for name in "ab":
        draw(tmp_path / "images" / f"{name}.tif", 60, 70, 80)
    segment(tmp_path / "images", tmp_path / "labels")
    read = read_labelled(tmp_path, ignore=None, trained_px=14.0)
    assert [(one.name, int(one.labels.max())) for one in read] == [("a", 3), ("b", 3)]


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_says_how_many_were_left_out_also_where_an_image_fails(tmp_path):
    draw(tmp_path / "in" / "a.tif", 90, 40, 30)
    words = ("segment", tmp_path / "in", "--min-confidence", 0.5, "--out", tmp_path / "out")
    done = call(*words)
    assert done.exit_code == 0
    assert "1 images, 1 objects. Label images are in" in done.stderr
    assert "with objects.csv.\n2 more objects were left out: below --min-confidence." in done.stderr
    assert check(tmp_path / "out").height == 1
    draw(tmp_path / "in" / "a.tif", 90, 40)
    (tmp_path / "in" / "b.tif").write_bytes(b"II*\0")
    done = call(*words, "--replace")
    assert "1 of 2 images could not be read" in str(done.exception)
    assert "1 more object was left out" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stopped_lists_what_it_made(tmp_path, monkeypatch, number):
    def stopped(image) -> Examined:
        if image.max() == 99:
            os.kill(os.getpid(), number)
        return examine(image)

    loaded = replace(images.load_segmenter(SegmentConfig()), examine=stopped)
    monkeypatch.setattr(images, "load_segmenter", lambda config: loaded)
    for name, level in (("a", 60), ("b", 99), ("c", 70)):
        draw(tmp_path / "in" / f"{name}.tif", level, 50)
    done = call("segment", tmp_path / "in", "--out", tmp_path / "out")
    assert done.exit_code == 128 + number
    assert "1 images, 2 objects. Label images are in" in done.stderr
    assert "Interrupted. What was written is whole." in done.stderr
    assert check(tmp_path / "out")["image"].to_list() == ["a", "a"]


@pytest.mark.parametrize("least", ["1", "-0.1", "nan", "70"])
def test_what_is_no_probability_is_a_usage_error(tmp_path, least):
    done = call("segment", tmp_path, "--out", tmp_path / "out", "--min-confidence", least)
    assert done.exit_code == 2
    assert "from 0 to less than 1" in done.output


def test_whatever_the_numbers_of_objects_labels_and_rows_agree():
    """Also none, and more than a byte or two bytes hold."""
    for count in (0, 1, 300, 70_000):
        labels = np.zeros((300, 300), np.int32)
        labels.ravel()[:count] = np.random.default_rng(0).permutation(count) + 1
        rows = describe_objects(labels, np.full(count, 0.5, np.float32), image="a")
        assert rows.schema == COLUMNS
        assert rows["label"].to_list() == list(range(1, count + 1))
        places = np.argsort(labels.ravel()[:count])
        np.testing.assert_array_equal(rows["y_px"], places // 300)
        np.testing.assert_array_equal(rows["x_px"], places % 300)


def test_an_image_that_fails_keeps_its_rows_beside_its_labels_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "TOGETHER", 2)
    for name in "ab":
        draw(tmp_path / "in" / f"{name}.tif", 60)
    segment(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "b.tif").write_bytes(b"broken")
    draw(tmp_path / "in" / "c.tif", 60)
    run = segment_folder(tmp_path / "in", tmp_path / "out", replace=True)
    assert [next(run).name, next(run).name] == ["a.tif", "c.tif"]  # killed here
    assert table(tmp_path / "out")["image"].to_list() == ["a", "b", "c"]
    run.close()
