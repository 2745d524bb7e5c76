"""Fields to cut from: brought to one size, ignored where nobody looked, heavy between nuclei."""

import jax
import numpy as np
import pytest

from profiler.segment.normalise import normalise
from profiler.segment.training.fields import median_diameter, normalise_host, prepare
from profiler.segment.training.windows import cut


def test_large_nuclei_are_shrunk_at_once_and_small_ones_later(discs):
    plane, labels = discs(0)
    large = prepare("a", plane, labels, diameter_px=8.0, ignore=None)
    small = prepare("a", plane, labels, diameter_px=32.0, ignore=None)
    assert large.image.shape == (48, 48)
    assert large.scale == 1.0
    assert small.image.shape == (96, 96)
    assert small.scale == pytest.approx(2.0, rel=0.05)
    assert (large.labels > 0).mean() == pytest.approx((small.labels > 0).mean(), abs=0.02)
    assert large.labels.dtype == np.uint8


def test_the_median_diameter_is_that_of_a_disc():
    y, x = np.mgrid[:60, :60]
    disc = (np.hypot(y - 30, x - 30) < 12).astype(np.int32)
    assert median_diameter(disc) == pytest.approx(24, rel=0.02)
    assert median_diameter(np.zeros((5, 5), np.int32)) == 0.0


def test_ignored_pixels_are_neither_nucleus_nor_background(discs):
    plane, labels = discs(0)
    labels[:24] = 9999
    field = prepare("a", plane, labels, diameter_px=16.0, ignore=9999)
    assert not field.weight[:24].any()
    assert (field.weight[24:] > 0).all()
    assert not field.labels[:24].any()
    assert len(field.centres) == 12  # the four of the first row are gone


def test_pixels_between_touching_nuclei_weigh_more():
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 10:28] = 1
    labels[10:30, 28:46] = 2
    weight = prepare("a", labels * 1.0, labels, diameter_px=21.0, ignore=None).weight
    assert weight[20, 27] == weight[20, 28] == 4
    assert weight[20, 15] == weight[2, 2] == weight[20, 9] == 1


def test_a_field_without_nuclei_is_scaled_as_if_they_were_as_wide_as_elsewhere(discs):
    plane, labels = discs(0)
    how = {"diameter_px": 8.0, "ignore": None}
    like = prepare("a", plane, labels, **how)
    empty = prepare("a", plane, 0 * labels, **how, typical_px=median_diameter(labels))
    np.testing.assert_array_equal(empty.image, like.image)
    assert (empty.scale, empty.labels.any()) == (like.scale, False)
    small = prepare("a", plane, 0 * labels, diameter_px=28.0, ignore=None, typical_px=14.0)
    assert small.scale == 2.0
    named = prepare("a", plane, labels, **how, typical_px=99.0)
    np.testing.assert_array_equal(named.image, like.image)  # its own nuclei tell


def test_a_field_without_nuclei_can_be_prepared_and_cut():
    field = prepare(
        "a", np.zeros((30, 30)), np.zeros((30, 30), np.int32), diameter_px=28.0, ignore=None
    )
    windows = cut([field], np.ones(1), step=0, seed=0, batch=2, side=70)
    assert windows.image.shape == (2, 70, 70, 1)
    assert not windows.labels.any()


def test_beyond_the_border_a_window_is_mirrored(discs):
    field = prepare("a", *discs(0), diameter_px=16.0, ignore=None)
    window = cut([field], np.ones(1), step=0, seed=0, batch=1, side=500).image[0]
    period = 2 * 96
    np.testing.assert_array_equal(window[:period], window[period : 2 * period])


@pytest.mark.parametrize("gain", [1.0, 300.0])
def test_host_and_device_normalise_alike_at_any_gain(gain):
    plane = np.random.default_rng(0).gamma(2, 5, (60, 70)).astype(np.float32)
    host = normalise_host(gain * plane + 7)
    device = jax.jit(normalise)(jax.numpy.asarray(gain * plane + 7))
    np.testing.assert_allclose(host, device, atol=1e-4)


def test_stains_are_normalised_and_shrunk_each_by_itself(discs):
    plane, labels = discs(0)
    image = np.stack([plane, 9 * plane[::-1].astype(np.float32) + 5], axis=-1)
    both = prepare("a", image, labels, diameter_px=8.0, ignore=None)
    alone = [
        prepare("a", one, labels, diameter_px=8.0, ignore=None) for one in (plane, plane[::-1])
    ]
    assert both.image.shape == (48, 48, 2)
    for found, expected in zip(np.moveaxis(both.image, -1, 0), alone, strict=True):
        np.testing.assert_allclose(found, expected.image, atol=2e-3)
    device = normalise(jax.numpy.asarray(image, np.float32))
    np.testing.assert_allclose(device, normalise_host(image), atol=1e-4)


def test_a_few_bright_pixels_on_a_background_cut_off_at_zero_are_seen():
    plane = np.zeros((200, 200), np.float32)
    plane[50:54, 60:64] = 90.0  # a thousandth of the field's pixels
    for found in (normalise_host(plane), normalise(jax.numpy.asarray(plane))):
        np.testing.assert_allclose(found, plane / 90)


def test_a_constant_plane_normalises_to_zero():
    assert not normalise_host(np.full((8, 8), 3.0)).any()
    assert not np.asarray(normalise(jax.numpy.full((8, 8), 3.0))).any()
