"""Two folders judged: what is paired, what is refused."""

import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image

from plates.errors import BadImage, BadLabels, BadPlate
from profiler.segment.evaluation.folders import evaluate

LABELS = np.zeros((40, 40), np.uint16)
LABELS[2:12, 2:12], LABELS[20:30, 20:32] = 1, 2


@pytest.fixture
def folders(tmp_path):
    found, truth = tmp_path / "found", tmp_path / "truth"
    for folder in (found, truth):
        folder.mkdir()
        for name in ("a", "b"):
            tifffile.imwrite(folder / f"{name}.tif", LABELS)
    return found, truth


def test_identical_folders_are_perfect(folders):
    scores, images, notes = evaluate(*folders)
    perfect = scores.filter(pl.col("metric").str.contains("AP|PQ|F1|IoU"))
    assert (perfect["pooled"] == 1).all()
    assert (perfect["low"] == 1).all()
    assert images["image"].to_list() == ["a", "b"]
    assert notes == ("Objects under 25 px were dropped on both sides.",)


def test_each_image_has_its_own_row(folders):
    tifffile.imwrite(folders[0] / "b.tif", np.where(LABELS == 1, LABELS, 0))
    images = evaluate(*folders).images
    assert images["recall@.50"].to_list() == [1.0, 0.5]
    assert images["missed per 100"].to_list() == [0.0, 50.0]


def test_specks_are_dropped_on_both_sides_unless_asked(folders):
    specked = LABELS.copy()
    specked[38, 38] = 9
    tifffile.imwrite(folders[1] / "a.tif", specked)
    by_image = evaluate(*folders).images["recall@.50"].to_list()
    assert by_image == [1.0, 1.0]
    assert evaluate(*folders, speck_px=0).images["recall@.50"].to_list() == [2 / 3, 1.0]


def test_label_images_without_truth_are_told(folders):
    tifffile.imwrite(folders[0] / "c.tif", LABELS)
    assert "1 label images have no truth" in evaluate(*folders).notes[1]


def test_truth_that_was_not_segmented_is_refused(folders):
    (folders[0] / "b.tif").unlink()
    with pytest.raises(BadPlate, match=r"no label image for 1 of the 2 .* \(b\).*Segment them"):
        evaluate(*folders)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (LABELS[:20], "20 x 40 pixels .* its truth 40 x 40"),
        (LABELS > 0, "pixels are (bool|uint8)|mask, not labels"),
        (np.stack([LABELS] * 3, -1), "3 axes"),
        (LABELS.astype(np.float32), "pixels are float32"),
    ],
)
def test_files_that_are_no_labels_are_refused(folders, pixels, message):
    tifffile.imwrite(folders[0] / "a.tif", pixels)
    with pytest.raises(BadLabels, match=message):
        evaluate(*folders)


def test_a_broken_file_and_a_missing_folder_are_named(folders, tmp_path):
    with pytest.raises(BadPlate, match="There is no folder .*nowhere.* Give two folders"):
        evaluate(tmp_path / "nowhere", folders[1])
    (folders[0] / "a.tif").write_bytes(b"II*")
    with pytest.raises(BadImage, match=r"a\.tif cannot be read"):
        evaluate(*folders)


def test_two_files_of_one_name_are_refused(folders):
    Image.fromarray(LABELS).save(folders[0] / "a.png")
    with pytest.raises(BadPlate, match="several images called 'a' with different endings"):
        evaluate(*folders)


def scored(found, truth, **asked) -> dict[str, float]:
    scores = evaluate(found, truth, **asked).scores
    return dict(zip(scores["metric"], scores["pooled"], strict=True))


@pytest.mark.parametrize("rows", range(1, 40))
def test_perfect_labels_are_perfect_wherever_nobody_has_looked(folders, rows):
    truth = LABELS.copy()
    truth[:rows] = 65535
    for name in ("a", "b"):
        tifffile.imwrite(folders[1] / f"{name}.tif", truth)
    scores = scored(*folders, ignore=65535)
    for metric in ("precision@.50", "recall@.50", "F1@.50", "AP@[.50:.95]", "PQ"):
        assert scores[metric] == 1.0
    assert scores["spurious per 100"] in (0.0, None)


def test_what_is_found_where_nobody_has_looked_is_neither_right_nor_wrong(folders):
    truth, found = LABELS.copy(), LABELS.copy()
    truth[15:, :] = 65535  # the second nucleus, and what else may be there
    found[32:38, 2:38], found[2:12, 20:30] = 3, 4  # one that counts not, one that does
    for folder, labels in zip(folders, (found, truth), strict=True):
        tifffile.imwrite(folder / "a.tif", labels)
        (folder / "b.tif").unlink()
    scores = scored(*folders, ignore=65535)
    assert (scores["precision@.50"], scores["recall@.50"]) == (0.5, 1.0)
    assert evaluate(*folders, ignore=65535).notes[1] == (
        "62.5% of the pixels of the truth are 65535 and were not counted."
    )
    assert scored(*folders)["recall@.50"] == 0.5  # without: a nucleus of the lower half


def test_negative_values_may_be_ignored_and_only_in_the_truth(folders):
    signed = LABELS.astype(np.int32)
    signed[15:] = -1
    tifffile.imwrite(folders[1] / "a.tif", signed)
    assert scored(*folders, ignore=-1)["F1@.50"] == 1.0
    with pytest.raises(BadLabels, match="run from -1 to"):
        evaluate(folders[1], folders[0], ignore=-1)


def test_truth_that_nobody_has_looked_at_is_refused(folders):
    tifffile.imwrite(folders[1] / "a.tif", np.full_like(LABELS, 65535))
    with pytest.raises(BadLabels, match=r"a\.tif: all of its pixels are 65535.*Take it out"):
        evaluate(*folders, ignore=65535)


def test_ids_of_any_size_are_labels(folders):
    huge = np.where(LABELS, LABELS.astype(np.int64) + 2_000_000_000, 0).astype(np.uint32)
    for folder in folders:
        tifffile.imwrite(folder / "a.tif", huge)
    assert scored(*folders)["F1@.50"] == 1.0


def notes(folders, **asked) -> str:
    return " ".join(evaluate(*folders, **asked).notes)


def test_how_many_specks_were_dropped_is_told(folders):
    specked = LABELS.copy()
    specked[38, 38], specked[36, 2:5] = 9, 11
    tifffile.imwrite(folders[1] / "a.tif", specked)
    assert "both sides: 2 of 6 true, 0 of 4 found." in notes(folders)
    assert "both sides." in notes(folders, speck_px=0)


@pytest.mark.parametrize("found", [LABELS, np.zeros_like(LABELS)])
def test_nothing_but_specks_is_no_perfect_score(folders, found):
    for name in ("a", "b"):
        tifffile.imwrite(folders[0] / f"{name}.tif", found)
    with pytest.raises(
        BadLabels, match=r"All 4 objects in .*truth are under 121 px.*Give --specks"
    ):
        evaluate(*folders, speck_px=121)
    assert evaluate(*folders, speck_px=120).scores["pooled"][1] == float(found.any())


def test_labels_of_more_objects_than_a_byte_counts_are_told_of(folders):
    """Saved as 8-bit, object 257 has the number of object 1."""
    many = np.kron(np.arange(324).reshape(18, 18), np.pad(np.ones((8, 8), int), 1))
    tifffile.imwrite(folders[0] / "a.tif", many.astype(np.uint16))
    tifffile.imwrite(folders[1] / "a.tif", many.astype(np.uint8))
    assert "67 true labels lie in several separate places" in notes(folders)
    assert "found labels lie" not in notes(folders)


def test_masks_of_classes_are_told_of_and_stray_pixels_are_not(folders):
    classes = np.zeros((40, 40), np.uint16)
    for place in range(6):
        classes[6 * place + 1 : 6 * place + 7, 5:12] = 1 + place % 2
        classes[6 * place + 1, :] = 0
    stray = LABELS.copy()
    stray[15, 2:11] = 1  # nine pixels beside a hundred
    tifffile.imwrite(folders[0] / "a.tif", classes)
    tifffile.imwrite(folders[1] / "a.tif", stray)
    assert "2 found labels lie in several separate places" in notes(folders)
    assert "true labels" not in notes(folders)


def test_hidden_files_and_folders_are_no_label_images(folders):
    for folder in folders:
        (folder / "._a.tif").write_bytes(b"\0\5\x16\7 of macOS")
        (folder / "old.tif").mkdir()
    assert evaluate(*folders).images["image"].to_list() == ["a", "b"]


def test_names_that_are_no_utf_8_are_written_out(folders):
    for folder in folders:
        (folder / "b.tif").rename(folder / b"\xe9.tif".decode("utf-8", "surrogateescape"))
    assert evaluate(*folders).images["image"].to_list() == ["a", "\\udce9"]
