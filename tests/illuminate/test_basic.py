"""BaSiC: against a transcription of its authors' program, against planted light, at the edges."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.fft import dctn, idctn

from profiler.illuminate.basic import fit_basic

SIDE = 48


def vignette(*, depth: float = 0.4) -> np.ndarray:
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    light = 1 - depth * ((x - 0.45) ** 2 + (y - 0.55) ** 2) / 0.5
    return light / light.mean()


def fields(*, n: int = 64, dark: float = 0.0, medium: float = 40.0) -> np.ndarray:
    """Medium of changing brightness with dim cells, in uneven light."""
    rng, images = np.random.default_rng(3), []
    for _ in range(n):
        seeds = (rng.random((SIDE, SIDE)) < 0.001).astype(float)
        cells = ndimage.gaussian_filter(seeds, 1.5) * 600
        light = medium * rng.uniform(0.6, 1.4) + cells
        images.append(light * vignette() + dark + rng.normal(0, 0.3, (SIDE, SIDE)))
    return np.array(images)


def soft(values, by):
    return np.maximum(values - by, 0) + np.minimum(values + by, 0)


def transcribed(images: np.ndarray, *, has_dark: bool) -> tuple[np.ndarray, np.ndarray]:
    """The authors' MATLAB program in float64: BaSiC.m and inexact_alm_rspca_l1.m."""
    stack = np.sort(images, axis=0) / images.mean()
    weight, flat = np.ones_like(stack), np.ones((SIDE, SIDE))
    dark = np.zeros((SIDE, SIDE))
    total = np.abs(dctn(stack.mean(axis=0), norm="ortho")).sum()
    for _ in range(10):
        low_rank, sparse, offset = decomposed(
            stack, total / 400 * 0.5, total / 400 * 0.2, weight, has_dark=has_dark
        )
        weight = 1 / (np.abs(sparse / low_rank.mean(axis=(1, 2), keepdims=True)) + 0.1)
        weight *= weight.size / weight.sum()
        shape = low_rank.mean(axis=0) - offset
        now = shape / shape.mean()
        shift = np.abs(offset - dark).sum()
        moved = max(
            np.abs(now - flat).sum() / np.abs(flat).sum(),
            0 if shift < 1e-7 else shift / max(np.abs(dark).sum(), 1e-6),
        )
        flat, dark = now, offset
        if moved <= 1e-3:
            break
    return flat, dark * images.mean()


def decomposed(stack, flat_weight, dark_weight, weight, *, has_dark):
    multiplier, sparse = np.zeros_like(stack), np.zeros_like(stack)
    cosines, offset = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    brightness, level = np.ones(len(stack)), 0.0
    mu = 12.5 / np.linalg.norm(stack.reshape(len(stack), -1), 2)
    most_mu = mu * 1e7
    for _ in range(500):
        flat = idctn(cosines, norm="ortho")
        low_rank = flat * brightness[:, None, None] + offset
        gap = (stack - low_rank - sparse + multiplier / mu).mean(axis=0)
        cosines = soft(cosines + dctn(gap, norm="ortho"), flat_weight / mu)
        flat = idctn(cosines, norm="ortho")
        low_rank = flat * brightness[:, None, None] + offset
        sparse = soft(stack - low_rank + multiplier / mu, weight / mu)
        rest = stack - sparse
        brightness = np.maximum(rest.mean(axis=(1, 2)) / rest.mean(), 0)
        if has_dark and flat.mean() > 0:
            dim = brightness < 1
            over, under = flat > flat.mean() - 1e-6, flat < flat.mean() + 1e-6
            slope = (
                rest[dim][:, over].mean(axis=1) - rest[dim][:, under].mean(axis=1)
            ) / rest.mean()
            own, k = brightness[dim], dim.sum()
            a, b, c, d = (own**2).sum(), own.sum(), slope.sum(), (own * slope).sum()
            level = 0.0 if b * c == k * d else (a * c - b * d) / (b * c - k * d)
            level = min(max(level, 0), stack.min() / flat.mean())
            tilt = level * (flat.mean() - flat)
            found = rest[dim].mean(axis=0) - own.mean() * flat
            found = found - found.mean() - tilt
            by = dark_weight / (10 * mu)
            smooth = idctn(soft(dctn(found, norm="ortho"), by), norm="ortho")
            offset = soft(smooth, by) + tilt
        left = stack - low_rank - sparse
        multiplier, mu = multiplier + mu * left, min(mu * 1.5, most_mu)
        if np.linalg.norm(left) < 1e-6 * np.linalg.norm(stack):
            break
    return low_rank, sparse, offset + level * flat


@pytest.mark.parametrize("dark", [0.0, 25.0])
def test_agrees_with_the_authors_program(dark):
    images = fields(dark=dark)
    flat, offset = transcribed(images, has_dark=dark > 0)
    ours = fit_basic(images, has_dark=dark > 0)
    np.testing.assert_allclose(ours.flat, flat, atol=1e-3)
    np.testing.assert_allclose(ours.dark, offset, atol=0.05)


def test_the_planted_light_is_found_without_its_cells():
    light = fit_basic(fields(), has_dark=False)
    error = np.abs(light.flat / vignette() - 1)
    assert error.mean() < 0.01
    assert error.max() < 0.04
    assert light.flat.mean() == pytest.approx(1, abs=1e-5)
    assert not light.dark.any()


def test_a_known_dark_level_taken_off_gives_the_same_light():
    with_dark = fit_basic(fields(dark=25.0) - 25, has_dark=False)
    np.testing.assert_allclose(with_dark.flat, fit_basic(fields(), has_dark=False).flat, atol=1e-3)


def test_the_unit_does_not_matter():
    one, other = fields(dark=25.0), fields(dark=25.0) / 65_535
    a, b = fit_basic(one), fit_basic(other)
    np.testing.assert_allclose(a.flat, b.flat, atol=1e-4)
    np.testing.assert_allclose(a.dark, b.dark * 65_535, atol=1e-2)


def test_the_order_of_images_does_not_matter():
    images = fields(n=16)
    np.testing.assert_array_equal(fit_basic(images).flat, fit_basic(images[::-1]).flat)


def test_fields_need_not_be_square():
    light = fit_basic(fields()[:, :32], has_dark=False)
    expected = vignette()[:32] / vignette()[:32].mean()
    assert light.flat.shape == (32, SIDE)
    assert np.abs(light.flat / expected - 1).max() < 0.04


@pytest.mark.parametrize("level", [0.0, 7.0])
@pytest.mark.parametrize("has_dark", [True, False])
def test_even_images_are_left_as_they_are(level, has_dark):
    light = fit_basic(np.full((8, SIDE, SIDE), level), has_dark=has_dark)
    np.testing.assert_allclose(light.flat, 1, atol=1e-4)
    assert np.isfinite(light.dark).all()


def test_black_backgrounds_give_finite_fields():
    images = fields(medium=0.0).round().clip(0)
    light = fit_basic(images)
    assert np.isfinite(light.flat).all()
    assert np.isfinite(light.dark).all()
