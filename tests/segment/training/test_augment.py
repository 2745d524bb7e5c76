"""Crops: image and truth move together, ignored pixels stay ignored, the same key repeats."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.training.augment import AugmentConfig, _blur, augment
from profiler.segment.training.fields import prepare
from profiler.segment.training.windows import cut

CROPS = AugmentConfig(size=64, empty=0.0, gamma=1.0, noise=0.0, blur=0.0)
STILL = replace(CROPS, zoom=1.0, bend_px=0.0)


def windows(discs, config, *, diameter_px=16.0, ignore=None, labels=None, step=0):
    plane, truth = discs(0)
    field = prepare(
        "one", plane, truth if labels is None else labels, diameter_px=diameter_px, ignore=ignore
    )
    return cut([field], np.ones(1), step=step, seed=0, batch=6, side=config.window)


@pytest.mark.parametrize("invert", [0.0, 1.0])
def test_crops_and_targets_stay_together(discs, invert):
    config = replace(CROPS, invert=invert)
    example = augment(jax.random.key(1), windows(discs, config), config=config)
    assert example.images.shape == (6, 64, 64, 1)
    for plane, inside in zip(example.images[..., 0], example.target.foreground, strict=True):
        middle = (plane[inside > 0].mean() + plane[inside == 0].mean()) / 2
        bright = (plane > middle) if not invert else (plane < middle)
        assert (bright == (inside > 0)).mean() > 0.97


def test_targets_are_between_0_and_1_and_0_outside(discs):
    target = augment(jax.random.key(1), windows(discs, CROPS), config=CROPS).target
    assert set(np.unique(target.foreground)) == {0.0, 1.0}
    assert 0 <= target.distance.min() <= target.distance.max() <= 1
    assert not target.distance[target.foreground == 0].any()


def test_nuclei_come_at_the_training_diameter(discs):
    for wanted in (8.0, 16.0, 32.0):
        seen = windows(discs, STILL, diameter_px=wanted)
        example = augment(jax.random.key(0), seen, config=STILL)
        share = float(example.target.foreground.mean())
        # Discs of a fixed share of the field keep it, whatever they are scaled to.
        assert share == pytest.approx(np.pi * 8**2 / 24**2, abs=0.12)
        edges = np.abs(np.diff(np.asarray(example.target.foreground), axis=2)).mean()
        assert edges == pytest.approx(2 * (2 / np.pi) * 2 * share / wanted, rel=0.35)


def test_the_same_key_gives_the_same_crops_and_another_does_not(discs):
    seen = windows(discs, CROPS)
    one, again, other = (augment(jax.random.key(k), seen, config=CROPS).images for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1


def test_steps_cut_other_windows_but_the_same_again(discs):
    first, again, next_ = (windows(discs, CROPS, step=s).plane for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != next_).any()


def test_ignored_pixels_have_no_weight_however_they_are_turned(discs):
    _, labels = discs(0)
    labels[:, 48:] = 255
    seen = windows(discs, CROPS, labels=labels, ignore=255)
    weight = np.asarray(augment(jax.random.key(3), seen, config=CROPS).weight)
    assert 0.2 < (weight == 0).mean() < 0.8


def test_empty_crops_have_no_targets_and_count_in_full(discs):
    config = replace(CROPS, empty=1.0)
    example = augment(jax.random.key(0), windows(discs, config), config=config)
    assert not example.target.foreground.any()
    assert not example.target.distance.any()
    assert (example.weight == 1).all()
    low, high = np.percentile(example.images, [1, 99.8])
    assert -0.3 < low < 0.3  # noise fills the range, as in a real empty field
    assert 0.7 < high < 1.3


def test_blur_is_scipys_and_none_at_all_where_it_is_narrow():
    plane = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    expected = ndimage.gaussian_filter(plane, 1.2, mode="nearest", radius=4)
    np.testing.assert_allclose(_blur(jnp.asarray(plane), jnp.float32(1.2)), expected, atol=1e-5)
    np.testing.assert_array_equal(_blur(jnp.asarray(plane), jnp.float32(1e-3)), plane)
