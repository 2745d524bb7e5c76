"""Crops: image and truth move together, ignored pixels stay ignored, the same key repeats."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.training.augment import AugmentConfig, _blur, augment, warp_labels
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
def test_crops_and_labels_stay_together(discs, invert):
    config = replace(CROPS, invert=invert)
    example = augment(jax.random.key(1), windows(discs, config), config=config)
    assert example.images.shape == (6, 64, 64, 1)
    for plane, inside in zip(example.images[..., 0], example.labels, strict=True):
        middle = (plane[inside > 0].mean() + plane[inside == 0].mean()) / 2
        bright = (plane > middle) if not invert else (plane < middle)
        assert (bright == (inside > 0)).mean() > 0.97


def test_labels_between_pixels_are_those_of_the_largest_share():
    rng = np.random.default_rng(0)
    labels = ndimage.zoom(rng.integers(0, 4, (8, 8)), 5, order=0).astype(np.int32)
    rows, columns = rng.uniform(0, 39, (2, 60, 60)).astype(np.float32)
    masks = [
        ndimage.map_coordinates((labels == n).astype(float), [rows, columns], order=1)
        for n in range(4)
    ]
    shares = np.sort(masks, axis=0)
    clear = shares[-1] - shares[-2] > 1e-4
    found = np.asarray(warp_labels(jnp.asarray(labels), jnp.asarray(rows), jnp.asarray(columns)))
    np.testing.assert_array_equal(found[clear], np.argmax(masks, axis=0)[clear])


def test_nuclei_come_at_the_training_diameter(discs):
    for wanted in (8.0, 16.0, 32.0):
        seen = windows(discs, STILL, diameter_px=wanted)
        example = augment(jax.random.key(0), seen, config=STILL)
        inside = np.asarray(example.labels > 0)
        share = float(inside.mean())
        # Discs of a fixed share of the field keep it, whatever they are scaled to.
        assert share == pytest.approx(np.pi * 8**2 / 24**2, abs=0.12)
        edges = np.abs(np.diff(inside.astype(int), axis=2)).mean()
        assert edges == pytest.approx(2 * (2 / np.pi) * 2 * share / wanted, rel=0.35)


def test_the_same_key_gives_the_same_crops_and_another_does_not(discs):
    seen = windows(discs, CROPS)
    one, again, other = (augment(jax.random.key(k), seen, config=CROPS).images for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1


def test_steps_cut_other_windows_but_the_same_again(discs):
    first, again, next_ = (windows(discs, CROPS, step=s).image for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != next_).any()


def test_ignored_pixels_have_no_weight_however_they_are_turned(discs):
    _, labels = discs(0)
    labels[:, 48:] = 255
    seen = windows(discs, CROPS, labels=labels, ignore=255)
    weight = np.asarray(augment(jax.random.key(3), seen, config=CROPS).weight)
    assert 0.2 < (weight == 0).mean() < 0.8


def test_empty_crops_have_no_labels_and_count_in_full(discs):
    config = replace(CROPS, empty=1.0)
    example = augment(jax.random.key(0), windows(discs, config), config=config)
    assert not example.labels.any()
    assert (example.weight == 1).all()
    low, high = np.percentile(example.images, [1, 99.8])
    assert -0.3 < low < 0.3  # noise fills the range, as in a real empty field
    assert 0.7 < high < 1.3


def test_blur_is_scipys_and_none_at_all_where_it_is_narrow():
    plane = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    expected = ndimage.gaussian_filter(plane, 1.2, mode="nearest", radius=4)
    np.testing.assert_allclose(_blur(jnp.asarray(plane), jnp.float32(1.2)), expected, atol=1e-5)
    np.testing.assert_array_equal(_blur(jnp.asarray(plane), jnp.float32(1e-3)), plane)


def two_stains(discs, config):
    """Windows of a field whose second stain is the first's negative."""
    plane, labels = discs(0)
    image = np.stack([plane, 255 - plane], axis=-1)
    field = prepare("two", image, labels, diameter_px=16.0, ignore=None)
    return cut([field], np.ones(1), step=0, seed=0, batch=6, side=config.window)


def test_stains_are_turned_together_and_dimmed_each_by_itself(discs):
    images = np.asarray(augment(jax.random.key(2), two_stains(discs, CROPS), config=CROPS).images)
    assert images.shape == (6, 64, 64, 2)
    for one, other in np.moveaxis(images, -1, 1):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < -0.99
    spans = np.ptp(images, axis=(1, 2))
    assert np.ptp(spans[:, 0] / spans[:, 1]) > 0.05


def test_a_stain_that_an_image_lacks_stays_zeros(discs):
    config = replace(CROPS, noise=0.1)
    seen = two_stains(discs, config)
    seen.image[..., 1] = 0
    images = np.asarray(augment(jax.random.key(2), seen, config=config).images)
    assert images[..., 0].any()
    assert not images[..., 1].any()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_lacking_stain_is_zeros_and_the_first_is_always_there(discs, share):
    config = replace(CROPS, lacking=share)
    images = np.asarray(augment(jax.random.key(2), two_stains(discs, config), config=config).images)
    assert np.ptp(images[..., 0], axis=(1, 2)).min() > 0.5
    assert images[..., 1].any() == (share == 0)
