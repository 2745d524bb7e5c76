"""Thumbnails, decoded again: stains, outlines, crop, brightness."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage.segmentation import find_boundaries

from plates.errors import BadRun
from profiler.report.draw.colour import rgb
from profiler.report.thumbnail import (
    OUTLINES,
    composite,
    display_limits,
    outlines,
    stain_colours,
    thumbnail,
    write_thumbnail,
)

RED_BLUE = ("#ff0000", "#0000ff")
UNIT = np.array([[0, 100], [0, 100]])


def decode(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_stains_add_up_in_their_colours():
    image = np.array([[[0, 0], [50, 0], [200, 100]]])
    picture = composite(image, limits=UNIT, colours=RED_BLUE)
    assert picture.tolist() == [[[0, 0, 0], [128, 0, 0], [255, 0, 255]]]


def test_hidden_stain_adds_nothing():
    image = np.full((2, 2, 2), 100)
    assert composite(image, limits=UNIT, colours=("#ff0000", None)).max(axis=(0, 1)).tolist() == [
        255, 0, 0,
    ]  # fmt: skip


def test_outlines_are_skimages_inner_boundaries():
    labels = np.zeros((40, 40), np.int32)
    labels[5:20, 5:20], labels[5:20, 20:30], labels[25:40, 3:9] = 1, 2, 3
    expected = find_boundaries(labels, mode="inner", connectivity=1)
    np.testing.assert_array_equal(outlines(labels), expected)


def test_frame_is_no_outline():
    assert not outlines(np.ones((6, 6), np.int32)).any()


def test_outlines_are_drawn_where_the_labels_end_nuclei_on_top():
    cells = np.zeros((30, 30), np.int32)
    cells[5:25, 5:25] = 1
    nuclei = np.zeros_like(cells)
    nuclei[5:12, 5:12] = 1  # shares a corner with its cell
    png = thumbnail(np.zeros((30, 30, 2), np.uint8), nuclei, cells, limits=UNIT, colours=RED_BLUE)
    picture = decode(png)
    is_nucleus = outlines(nuclei)
    is_cell = outlines(cells) & ~is_nucleus
    assert (picture[is_nucleus] == rgb(OUTLINES["nuclei"])).all()
    assert (picture[is_cell] == rgb(OUTLINES["cells"])).all()
    assert (picture[~is_nucleus & ~is_cell] == 0).all()


def test_without_labels_there_are_no_outlines():
    image = np.zeros((30, 30, 2), np.uint8)
    assert decode(thumbnail(image, None, None, limits=UNIT, colours=RED_BLUE)).max() == 0


def test_small_field_is_cut_from_the_middle_pixel_for_pixel():
    image = np.zeros((20, 30, 2), np.uint16)
    image[8:12, 13:17, 0] = 100
    picture = decode(thumbnail(image, None, None, limits=UNIT, colours=RED_BLUE, size=8))
    expected = np.zeros((8, 8), np.uint8)
    expected[2:6, 2:6] = 255
    np.testing.assert_array_equal(picture[..., 0], expected)


def test_large_field_is_averaged_in_blocks():
    random = np.random.default_rng(0)
    image = random.integers(0, 100, (80, 100, 2)).astype(np.uint16)  # 8-fold: blocks of 2
    labels = np.zeros((80, 100), np.int32)
    picture = decode(thumbnail(image, labels, labels, limits=UNIT, colours=RED_BLUE, size=10))
    middle = image[30:50, 40:60, 0].reshape(10, 2, 10, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(picture[..., 0], middle * 2.55, atol=0.51)


def test_labels_shrink_with_the_picture():
    labels = np.zeros((80, 80), np.int32)
    labels[36:44, 36:44] = 1
    image = np.zeros((80, 80, 2), np.uint8)
    picture = decode(thumbnail(image, labels, None, limits=UNIT, colours=RED_BLUE, size=10))
    expected = np.zeros((10, 10), bool)
    expected[3:7, 3:7] = True
    expected[4:6, 4:6] = False
    np.testing.assert_array_equal(picture.any(axis=-1), expected)


def test_field_smaller_than_the_picture_is_kept_whole():
    image = np.zeros((5, 7, 2), np.uint8)
    assert decode(thumbnail(image, None, None, limits=UNIT, colours=RED_BLUE)).shape == (5, 7, 3)


def test_limits_are_shared_by_dim_and_bright_wells():
    dim, bright = np.full((30, 30, 1), 10), np.full((60, 30, 1), 10)
    bright[:30] = 39
    assert display_limits([dim, bright]).tolist() == [[10, 39]]
    assert display_limits(iter([bright, dim])).tolist() == [[10, 39]]


def test_one_glaring_field_does_not_turn_the_plate_black():
    usual = np.full((30, 30, 1), 10)
    usual[:15] = 110
    assert display_limits([usual] * 7 + [usual * 40]).tolist() == [[10, 440]]


def test_a_few_wells_that_answer_are_not_burnt_out():
    without = np.full((30, 30, 1), 100)
    some, most = np.full((30, 30, 1), 100), np.full((30, 30, 1), 100)
    some[:15], most[:15] = 2000, 4000
    assert display_limits([without] * 6 + [some, most]).tolist() == [[100, 4000]]


def test_limits_of_an_empty_channel_are_apart():
    low, high = display_limits([np.zeros((9, 9, 1), np.uint8)])[0]
    assert high > low


def test_limits_need_a_sample():
    with pytest.raises(ValueError, match="at least one sample field, found none"):
        display_limits([])


def test_channels_limits_and_colours_must_agree():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="found 3 channels, 2 limits and 2 colours"):
        thumbnail(image, None, None, limits=UNIT, colours=RED_BLUE)


def test_five_stains_show_four():
    colours = stain_colours(["ER", "RNA", "DNA", "AGP", "Mito"])
    assert colours[2].startswith("#4f7d")
    assert colours[4] is None
    assert len({c for c in colours if c}) == 4


def test_only_the_first_nuclear_stain_is_blue():
    first, second = stain_colours(["DAPI", "H2B-mCherry"])
    assert first != second


def test_thumbnail_is_written_beside_the_tables(tmp_path):
    path = write_thumbnail(tmp_path, "P1", "B03", picture=b"new")
    assert path == tmp_path / "thumbnails" / "P1" / "B03.png"
    write_thumbnail(tmp_path, "P1", "B03", picture=b"newer")
    assert path.read_bytes() == b"newer"
    assert [p.name for p in path.parent.iterdir()] == ["B03.png"]


def test_thumbnail_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "thumbnails").write_text("in the way")
    with pytest.raises(BadRun, match="could not be written"):
        write_thumbnail(tmp_path, "P1", "B03", picture=b"x")
