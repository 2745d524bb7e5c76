"""Crops: by hand, against NumPy and SciPy, at borders, in any batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from plates.errors import BadRecipe
from plates.synthetic import discs
from profiler.embed.crops import CropConfig, cut_crops, zoom_for

STATIC = ("config", "zoom", "max_cells")
LABELS = discs(96, radius=6, spacing=24)  # 16 discs
COMPILED = jax.jit(cut_crops, static_argnames=STATIC)
IMAGE = np.random.default_rng(0).random((96, 96, 2), np.float32)


def cut(image=IMAGE, labels=LABELS, *, side=16, masked=False, zoom=1.0, max_cells=16):
    config = CropConfig(side, is_masked=masked)
    options = {"config": config, "zoom": zoom, "max_cells": max_cells}
    return COMPILED(jnp.asarray(image), jnp.asarray(labels), **options)


def test_a_crop_by_hand():
    image = np.arange(25, dtype=np.float32).reshape(5, 5, 1)
    labels = np.zeros((5, 5), np.int32)
    labels[1:4, 2] = 1  # centroid at row 2, column 2
    crops = cut(image, labels, side=2, max_cells=1)
    np.testing.assert_array_equal(crops.pixels[0, ..., 0], [[6, 7], [11, 12]])
    np.testing.assert_array_equal(crops.inside[0], [[False, True], [False, True]])
    assert not crops.is_padded[0]


def test_crops_are_slices_of_the_field():
    crops = cut()
    for index, (row, column) in enumerate(ndimage.center_of_mass(LABELS > 0, LABELS, range(1, 17))):
        top, left = round(row) - 8, round(column) - 8
        piece = (slice(top, top + 16), slice(left, left + 16))
        np.testing.assert_array_equal(crops.pixels[index], IMAGE[piece])
        np.testing.assert_array_equal(crops.inside[index], LABELS[piece] == index + 1)


def test_masked_crops_show_nothing_else():
    whole, masked = cut(), cut(masked=True)
    expected = np.where(whole.inside[..., None], whole.pixels, 0)
    np.testing.assert_array_equal(masked.pixels, expected)
    assert (masked.pixels[0, 0, 0] == 0).all()


def test_odd_shapes_are_centred_on_their_pixels_mean():
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 12:14] = 3
    labels[28:30, 12:28] = 3
    row, column = (round(v) for v in ndimage.center_of_mass(labels == 3))
    crops = cut(np.random.default_rng(1).random((40, 40, 1), np.float32), labels, side=9)
    found = crops.inside[2]
    np.testing.assert_array_equal(found, labels[row - 4 : row + 5, column - 4 : column + 5] == 3)


@pytest.mark.parametrize("channels", [1, 5, 6])
def test_any_number_of_channels(channels):
    image = np.random.default_rng(channels).random((96, 96, channels), np.float32)
    np.testing.assert_array_equal(cut(image).pixels[5], image[28:44, 28:44])


def test_a_cell_at_the_border_is_padded_and_flagged():
    labels = np.zeros((32, 32), np.int32)
    labels[:3, :3] = 1
    labels[15:18, 15:18] = 2
    image = np.random.default_rng(2).random((32, 32, 1), np.float32)
    crops = cut(image, labels, side=16, max_cells=2)
    np.testing.assert_array_equal(crops.is_padded, [True, False])
    np.testing.assert_array_equal(
        crops.pixels[0], np.pad(image, ((7, 0), (7, 0), (0, 0)), mode="edge")[:16, :16]
    )
    assert crops.inside[0].sum() == 9  # what is repeated beyond the border is not the cell


@pytest.mark.parametrize("corner", [(0, 0), (0, 31), (31, 0), (31, 31)])
def test_every_border_pads(corner):
    labels = np.zeros((32, 32), np.int32)
    labels[corner] = 1
    crops = cut(IMAGE[:32, :32], labels, max_cells=1)
    assert crops.is_padded[0]
    np.testing.assert_array_equal(crops.pixels[0, 8, 8], IMAGE[corner])


def test_a_crop_that_just_fits_is_not_padded():
    labels = np.zeros((16, 16), np.int32)
    labels[8, 8] = 1
    crops = cut(IMAGE[:16, :16], labels, max_cells=1)
    assert not crops.is_padded[0]
    np.testing.assert_array_equal(crops.pixels[0], IMAGE[:16, :16])


def test_absent_labels_are_empty():
    crops = cut(labels=np.where(LABELS == 4, 0, LABELS), max_cells=20)
    np.testing.assert_array_equal(np.flatnonzero(~crops.present), [3, 16, 17, 18, 19])
    assert not crops.pixels[3].any()
    assert not crops.inside[3].any()
    assert not crops.is_padded[3]


def test_a_large_object_far_from_the_corner_is_centred_on_itself():
    """Its coordinates add up to more than an int32 holds; those of the cell beside it do not."""
    labels = np.zeros((3000, 3000), np.int32)
    labels[1800:, 1700:] = 1
    labels[2100:2150, 300:361] = 2
    image = np.zeros((3000, 3000, 1), np.float32)
    image[2399, 2349] = image[2124, 330] = 1.0
    crops = cut(image, labels, side=8, max_cells=2)
    for pixels in crops.pixels:
        assert np.argwhere(pixels[..., 0] == 1.0).tolist() in ([[3, 3]], [[3, 4]])
    assert crops.inside.all()
    assert not crops.is_padded.any()


def test_an_empty_field_has_no_crops():
    crops = cut(labels=np.zeros_like(LABELS))
    assert not crops.present.any()
    assert not crops.pixels.any()


def test_finer_pixels_agree_with_scipy():
    crops = cut(side=24, zoom=2.0)
    row, column = (2 * v + 0.5 for v in ndimage.center_of_mass(LABELS == 6))
    rows, columns = np.mgrid[:24, :24]
    at = [
        (steps + int(middle + 0.5) - 12 + 0.5) / 2 - 0.5
        for steps, middle in ((rows, row), (columns, column))
    ]
    for channel in range(2):
        expected = ndimage.map_coordinates(IMAGE[..., channel], at, order=1, mode="nearest")
        np.testing.assert_allclose(crops.pixels[5, ..., channel], expected, atol=1e-5)


def test_coarser_pixels_are_smoothed_first():
    stripes = np.broadcast_to(np.arange(96) % 2, (96, 96)).astype(np.float32)[..., None]
    crops = cut(stripes, side=8, zoom=0.5)
    np.testing.assert_allclose(crops.pixels[5], 0.5, atol=0.01)


def test_a_coarser_cell_keeps_its_place_and_size():
    labels = discs(192, radius=20, spacing=64)
    crops = cut(np.zeros((192, 192, 1), np.float32), labels, side=32, zoom=0.5, max_cells=9)
    area = (labels == 5).sum() / 4
    assert crops.inside[4].sum() == pytest.approx(area, rel=0.03)
    np.testing.assert_allclose(ndimage.center_of_mass(np.asarray(crops.inside[4])), 15.75, atol=0.5)


def test_a_crop_does_not_depend_on_its_batch():
    images = np.stack([IMAGE, IMAGE[::-1], np.zeros_like(IMAGE)])
    labels = np.stack([LABELS, LABELS[::-1], np.zeros_like(LABELS)])
    field = partial(COMPILED, config=CropConfig(16), zoom=0.8, max_cells=16)
    together = jax.vmap(field)(images, labels)
    alone = cut(images[1], labels[1], zoom=0.8)
    for batched, single in zip(together, alone, strict=True):
        np.testing.assert_array_equal(batched[1], single)


def test_moving_the_field_moves_nothing_in_the_crop():
    moved = cut(np.roll(IMAGE, (5, 3), (0, 1)), np.roll(LABELS, (5, 3), (0, 1)))
    np.testing.assert_array_equal(moved.pixels[5], cut().pixels[5])


def test_the_pixel_size_sets_the_zoom():
    config = CropConfig(64, pixel_size_um=0.6)
    assert zoom_for((1080, 1080), config=config, pixel_size_um=0.3) == pytest.approx(0.5)
    assert zoom_for((1080, 1080), config=CropConfig(64)) == 1.0


@pytest.mark.parametrize(
    ("shape", "config", "size", "message"),
    [
        (
            (50, 200),
            CropConfig(64),
            None,
            "'wide' are 64 x 64 pixels, larger than .* has 50 x 200. T",
        ),
        (
            (200, 200),
            CropConfig(64, 1.0),
            0.3,
            "200 x 200, 60 x 60 at the crops' pixel size. Take an",
        ),
        ((200, 200), CropConfig(64, 1.0), None, "'wide' have 1 um per pixel, but the field's own"),
        (
            (200, 200),
            CropConfig(64, 1.0),
            np.nan,
            "a pixel size of nan um; expected a finite number",
        ),
        ((200, 200), CropConfig(64), np.inf, "a pixel size of inf um; expected a finite number"),
        ((200, 200), CropConfig(64), 0.0, "a pixel size of 0 um"),
        (
            (200, 200),
            CropConfig(64, 0.65),
            325.0,  # in nanometres; the field would become 100,000 pixels wide
            "pixels would be 500 times as large, 325 um. Give their size in micrometres",
        ),
    ],
)
def test_crops_that_cannot_be_cut_say_why(shape, config, size, message):
    with pytest.raises(BadRecipe, match=message):
        zoom_for(shape, config=config, pixel_size_um=size, model="wide")


def test_rounding_costs_no_pixel():
    config = CropConfig(192, pixel_size_um=0.1)
    zoom = zoom_for((64, 64), config=config, pixel_size_um=0.3)  # 2.9999999999999996
    assert int(64 * zoom) == 191
    options = {"side": 192, "max_cells": 1}
    labels = np.zeros((64, 64), np.int32)
    labels[32, 32] = 1
    crops, exact = (cut(IMAGE[:64, :64], labels, zoom=each, **options) for each in (zoom, 3.0))
    np.testing.assert_allclose(crops.pixels, exact.pixels, atol=1e-5)
    np.testing.assert_array_equal(crops.inside, exact.inside)
    part = CropConfig(191, pixel_size_um=0.1)
    with pytest.raises(BadRecipe, match="has 63 x 64, 189 x 192 at"):  # whole pixels only
        zoom_for((63, 64), config=part, pixel_size_um=0.3)
