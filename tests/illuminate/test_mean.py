"""The smoothed mean: planted polynomials, numpy's own fit, cells that crowd."""

import numpy as np
import pytest

from profiler.illuminate.mean import blocks, fit_mean


def bowl(height: int, width: int) -> np.ndarray:
    y, x = (np.mgrid[:height, :width] + 0.5) / [[[height]], [[width]]]
    light = 1 - 0.6 * ((x - 0.4) ** 2 + (y - 0.55) ** 2)
    return light / light.mean()


@pytest.mark.parametrize("shape", [(96, 96), (200, 330), (17, 40)])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_a_bowl_is_found(shape, scale):
    found = fit_mean(scale * bowl(*shape), degree=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, bowl(*shape), rtol=2e-3)


def test_agrees_with_least_squares_where_nothing_stands_out():
    rng = np.random.default_rng(0)
    image = bowl(64, 64) + rng.uniform(-0.01, 0.01, (64, 64))
    y, x = (2 * np.mgrid[:64, :64] + 1) / 64 - 1
    terms = [x**i * y**j for i in range(3) for j in range(3 - i)]
    basis = np.stack([term.ravel() for term in terms], axis=1)
    plain = (basis @ np.linalg.lstsq(basis, image.ravel(), rcond=None)[0]).reshape(64, 64)
    np.testing.assert_allclose(fit_mean(image, degree=2), plain / plain.mean(), atol=5e-4)


def test_a_crowd_of_cells_hardly_bends_the_light():
    image = bowl(128, 128)
    image[10:22, 90:104] *= 3
    assert np.abs(fit_mean(image, degree=2) / bowl(128, 128) - 1).max() < 0.01


def test_a_higher_degree_follows_steeper_borders():
    y, x = (2 * np.mgrid[:128, :128] + 1) / 128 - 1
    light = 1 - 0.3 * (x**4 + y**4)
    light /= light.mean()
    errors = [np.abs(fit_mean(light, degree=d) / light - 1).max() for d in (2, 4)]
    assert errors[0] > 0.02 > 0.002 > errors[1]


def test_blackness_and_evenness_are_even():
    np.testing.assert_array_equal(fit_mean(np.zeros((30, 40))), 1)
    np.testing.assert_allclose(fit_mean(np.full((30, 40), 7.0)), 1, rtol=1e-6)


def test_blocks_are_means_of_all_pixels():
    image = np.arange(35.0).reshape(5, 7)
    np.testing.assert_array_equal(blocks(image, most=8), image)
    by_hand = [image[a:b, c:d].mean() for a, b in ((0, 2), (2, 5)) for c, d in ((0, 3), (3, 7))]
    np.testing.assert_allclose(blocks(image, most=2).ravel(), by_hand)
