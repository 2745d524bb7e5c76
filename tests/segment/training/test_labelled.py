"""Training data on disk: what is read, and what every kind of bad file is told."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from plates.errors import BadImage, BadLabels, BadPlate
from profiler.segment.training.labelled import UNSEEN, Labelled, read_labelled, split

SIZES = {"ignore": None, "trained_px": 28.0}


def relabel(folder, change, name="field3.tif"):
    path = folder / "labels" / name
    tifffile.imwrite(path, change(tifffile.imread(path)))


def test_pairs_are_read_as_they_are_on_disk(folder):
    read = read_labelled(folder, **SIZES)
    assert [one.name for one in read] == [f"field{n}" for n in range(6)]
    assert read[2].labels.dtype == np.int32
    np.testing.assert_array_equal(read[2].labels, tifffile.imread(folder / "labels" / "field2.tif"))
    np.testing.assert_array_equal(read[2].image, tifffile.imread(folder / "images" / "field2.tif"))


def test_pngs_and_tiffs_mix(folder):
    path = folder / "labels" / "field0.tif"
    Image.fromarray(tifffile.imread(path)).save(path.with_suffix(".png"))
    before = tifffile.imread(path)
    path.unlink()
    np.testing.assert_array_equal(read_labelled(folder, **SIZES)[0].labels, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:-8], r"field3\.tif: it is 88 x 96 pixels, its image 96 x 96"),
        (lambda x: x > 0, r"field3\.tif: its pixels are bool; labels are whole numbers"),
        (lambda x: x / np.float32(7), "float32; labels are whole numbers.*Connected Components"),
        (lambda x: np.where(x > 0, np.nan, 0).astype(np.float32), "float32; labels are whole"),
        (lambda x: np.where(x > 0, np.inf, 0).astype(np.float32), "float32; labels are whole"),
        (lambda x: np.where(x < 3, 255 * (x > 0), 0).astype(np.uint8), "255, lies in 2 separate"),
        (lambda x: np.stack([x] * 3, -1).astype(np.uint8), r"3 axes \(96, 96, 3\), as colour"),
        (lambda x: (255 * (x > 0)).astype(np.uint8), "255, lies in 16 separate places: a mask"),
        (lambda x: np.where(x > 0, -1, 0).astype(np.int16), "labels run from -1 to -1"),
    ],
)
def test_labels_that_are_none_are_refused_by_name(folder, change, message):
    relabel(folder, change)
    with pytest.raises(BadLabels, match=message):
        read_labelled(folder, **SIZES)


def test_labels_saved_as_floats_are_not_to_be_numbered_again(folder):
    relabel(folder, lambda x: x.astype(np.float32))
    with pytest.raises(BadLabels, match=r'float32, if of whole.*astype\("uint16"\)') as told:
        read_labelled(folder, **SIZES)
    assert "Connected" not in str(told.value)  # that would merge nuclei that touch


def test_a_lone_nucleus_may_have_stray_pixels_and_corners(folder):
    def lone(x):
        one = (x == 6).astype(np.uint8)
        one[0, 0] = one[0, 5] = one[1, 6] = 1
        return one

    relabel(folder, lone)
    assert read_labelled(folder, **SIZES)[3].labels.max() == 1


@pytest.mark.parametrize("far", [1_999_999_999, 2_147_483_647])
def test_ids_of_any_size_are_numbered_in_their_order(folder, far):
    before = read_labelled(folder, **SIZES)[3].labels
    relabel(folder, lambda x: np.where(x > 0, far - 20 + x.astype(np.uint32), 0).astype(np.uint32))
    np.testing.assert_array_equal(read_labelled(folder, **SIZES)[3].labels, before)


@pytest.mark.parametrize(
    ("ignore", "kind"),
    [(4_294_967_295, np.uint32), (3_000_000_000, np.int64), (3, np.uint8), (-1, np.int16)],
)
def test_ignored_pixels_are_told_apart_whatever_their_value(folder, ignore, kind):
    original = tifffile.imread(folder / "labels" / "field3.tif").astype(kind)
    shown = np.where(original >= 3, original + 3, original)  # no object is called 3
    shown[:, 48:] = ignore
    relabel(folder, lambda _: shown)
    for each in (n for n in range(6) if n != 3):
        relabel(folder, lambda x: np.where(x == 3, 99, x), f"field{each}.tif")
    labels = read_labelled(folder, ignore=ignore, trained_px=28.0)[3].labels
    assert labels.dtype == np.int32
    assert (labels[:, 48:] == UNSEEN).all()
    kept = original[:, :48]
    assert labels[:, :48].max() == len(np.unique(kept)) - 1
    np.testing.assert_array_equal(labels[:, :48] > 0, kept > 0)


def test_nuclei_too_small_or_large_to_scale_are_refused(folder):
    with pytest.raises(BadLabels, match=r"is 1[56]\.\d px wide; training takes 21 to 476 px"):
        read_labelled(folder, ignore=None, trained_px=100.0)


def test_labels_that_are_all_ignored_teach_nothing(folder):
    relabel(folder, lambda x: np.where(x > 0, 9, 9).astype(np.uint8))
    with pytest.raises(BadLabels, match=r"field3\.tif: all of its pixels are 9, so nobody has"):
        read_labelled(folder, ignore=9, trained_px=28.0)


def test_some_images_may_hold_no_nucleus_but_not_all(folder):
    for number in range(1, 6):
        relabel(folder, lambda x: 0 * x, f"field{number}.tif")
    read = read_labelled(folder, **SIZES)
    assert [bool(one.labels.any()) for one in read] == [True] + 5 * [False]
    relabel(folder, lambda x: 0 * x, "field0.tif")
    with pytest.raises(BadLabels, match=r"labels: there is no nucleus in any of the 6 label"):
        read_labelled(folder, **SIZES)


def test_a_negative_number_may_stand_for_ignored_pixels(folder):
    relabel(folder, lambda x: np.where(x == 0, -1, x).astype(np.int16))
    assert read_labelled(folder, ignore=-1, trained_px=28.0)[3].labels.min() == -1


@pytest.mark.parametrize("part", ["images", "labels"])
def test_files_without_a_partner_are_named(folder, part):
    (folder / part / "field4.tif").unlink()
    with pytest.raises(BadPlate, match=r"'field4' has no (label )?image of the same name \(1 such"):
        read_labelled(folder, **SIZES)


def test_missing_and_empty_folders_say_what_is_expected(folder, tmp_path):
    with pytest.raises(BadPlate, match="two folders, images/ and labels/"):
        read_labelled(tmp_path / "nowhere", **SIZES)
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(BadPlate, match="holds no images"):
        read_labelled(folder, **SIZES)


@pytest.mark.parametrize("part", ["images", "labels"])
def test_a_broken_file_is_named(folder, part):
    path = folder / part / "field1.tif"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadImage, match=r"field1\.tif"):
        read_labelled(folder, **SIZES)


def test_a_fifth_is_kept_apart_by_name_alone():
    full = np.ones((2, 2), np.int32)
    named = [Labelled(f"f{n}", full, full) for n in range(10)]
    taught, apart = split(named)
    assert len(apart) == 2
    assert {one.name for one in taught} | {one.name for one in apart} == {o.name for o in named}
    assert [one.name for one in split(named[::-1])[1]] == [one.name for one in apart]
    assert split(named[:4])[1] == []


def test_images_without_objects_teach_and_change_nothing_else():
    full, blank = np.ones((2, 2), np.int32), np.zeros((2, 2), np.int32)
    named = [Labelled(f"f{n}", full, full) for n in range(10)]
    empty = [Labelled(f"e{n}", blank, np.where(n % 2, UNSEEN, blank)) for n in range(20)]
    taught, apart = split(named + empty)
    assert [one.name for one in apart] == [one.name for one in split(named)[1]]
    assert len(taught) == 28
    assert split(named[:4] + empty)[1] == []


# ----------------------------------------------------------------------- nuclei beside a cell stain


def add_nuclei(folder, names=("field0", "field2"), shape=(96, 96)):
    (folder / "nuclei").mkdir()
    for number, name in enumerate(names):
        plane = np.full(shape, 7 + number, np.uint16)
        tifffile.imwrite(folder / "nuclei" / f"{name}.tif", plane)


def test_nuclear_stains_lie_behind_the_cell_stains_they_belong_to(folder):
    add_nuclei(folder)
    read = read_labelled(folder, **SIZES, channels=2)
    cells = [tifffile.imread(folder / "images" / f"field{n}.tif") for n in range(6)]
    np.testing.assert_array_equal([one.image[..., 0] for one in read], cells)
    assert [np.unique(one.image[..., 1]).tolist() for one in read] == [[7], [0], [8], [0], [0], [0]]


def test_networks_of_one_stain_do_not_look_at_nuclear_stains(folder):
    add_nuclei(folder, names=["other"])
    assert read_labelled(folder, **SIZES)[0].image.shape == (96, 96)


def test_without_nuclear_stains_their_plane_is_empty(folder):
    assert not any(one.image[..., 1].any() for one in read_labelled(folder, **SIZES, channels=2))


def test_a_nuclear_stain_without_image_or_of_another_size_is_named(folder):
    add_nuclei(folder, names=["other"])
    with pytest.raises(BadPlate, match="nuclear stain 'other' has no image of the same name"):
        read_labelled(folder, **SIZES, channels=2)
    (folder / "nuclei" / "other.tif").unlink()
    tifffile.imwrite(folder / "nuclei" / "field1.tif", np.zeros((90, 96), np.uint8))
    with pytest.raises(BadImage, match=r"field1\.tif is 90 x 96 pixels, its cell stain 96 x 96"):
        read_labelled(folder, **SIZES, channels=2)
