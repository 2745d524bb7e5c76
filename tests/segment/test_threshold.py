"""Thresholds against scikit-image."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage import filters

from profiler.segment.threshold import BINS, minimum_cross_entropy, otsu


def plane(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.random((120, 120)), 5)
    bright = blobs > np.quantile(blobs, 0.8)
    return (rng.gamma(20, 0.01, bright.shape) + bright * rng.gamma(9, 0.05)).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(otsu, filters.threshold_otsu), (minimum_cross_entropy, filters.threshold_li)],
)
def test_agrees_with_scikit_image(ours, theirs, seed):
    pixels = plane(seed)
    found, expected = float(ours(jnp.asarray(pixels))), float(theirs(pixels))
    assert abs((pixels > found).mean() - (pixels > expected).mean()) < 0.01
    assert pixels.min() < found < pixels.max()


@pytest.mark.parametrize("threshold", [otsu, minimum_cross_entropy])
def test_scales_with_the_intensities(threshold):
    pixels = plane(0)
    once, twice = float(threshold(jnp.asarray(pixels))), float(threshold(jnp.asarray(2 * pixels)))
    np.testing.assert_allclose(twice, 2 * once, rtol=2 / BINS)


@pytest.mark.parametrize("threshold", [otsu, minimum_cross_entropy])
def test_a_constant_plane_has_a_finite_threshold(threshold):
    assert np.isfinite(float(threshold(jnp.full((8, 8), 0.25, jnp.float32))))
