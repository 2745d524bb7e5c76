"""Numbers of exposure: by hand, as blur, noise and light change, and corrected images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from plates.synthetic import Phenotype, field
from profiler.illuminate.exposure import (
    Exposure,
    Light,
    correct,
    expose,
    expose_plane,
    exposure_columns,
)

CELLS = field(Phenotype(n_cells=30), size=256, seed=1).images[..., 0].astype(np.float32) / 65_535
RNG = np.random.default_rng(0)
_judged = jax.jit(lambda plane: expose_plane(plane, plane))


def judged(plane: np.ndarray) -> Exposure:
    return Exposure(*map(float, _judged(jnp.asarray(plane, jnp.float32))))


def defocused(plane: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blurred by the optics, then with the noise of a camera."""
    noise = RNG.normal(0, 8 / 65_535, plane.shape)
    return ndimage.gaussian_filter(plane, sigma_px) + noise


@pytest.mark.parametrize("number", ["FineDetail", "CoarseDetail", "PowerSlope"])
def test_focus_falls_with_every_step_of_blur(number):
    values = [getattr(judged(defocused(CELLS, sigma)), number) for sigma in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.5


def test_noise_does_not_look_sharp():
    blurred = ndimage.gaussian_filter(CELLS, 4)
    noisy = blurred + RNG.normal(0, 20 / 65_535, CELLS.shape)
    assert judged(noisy).FineDetail == pytest.approx(judged(blurred).FineDetail, abs=0.3)
    assert judged(noisy).FineDetail < judged(CELLS).FineDetail - 0.5


def test_detail_is_the_ratio_of_laplacians_of_block_means():
    plane = ndimage.gaussian_filter(CELLS, 1.5)  # no noise: the two halves see the same

    def blocks(side):
        return plane.reshape(256 // side, side, 256 // side, side).mean(axis=(1, 3))

    def detail(side):
        return (ndimage.laplace(blocks(side).astype(float))[1:-1, 1:-1] ** 2).mean()

    found = judged(plane)
    assert found.FineDetail == pytest.approx(np.log(detail(2) / detail(4)), abs=0.05)
    assert found.CoarseDetail == pytest.approx(np.log(detail(4) / detail(8)), abs=0.02)


def test_intensities_by_hand():
    plane = np.full((128, 128), 0.1, np.float32)
    plane[:64, :64] = 0.3
    plane[0, 0] = 0.9
    found = judged(plane)
    assert pytest.approx(0.9) == found.Max
    assert found.PercentMaximal == pytest.approx(100 / 128**2)
    assert found.Background == pytest.approx(0.1)
    assert found.Signal == pytest.approx(0.2, abs=1e-6)
    assert found.Peak == pytest.approx(0.2 + 0.6 / 16, abs=1e-6)
    assert found.BrightTile == pytest.approx(0.2 + 0.6 / 256, abs=1e-6)


def test_noise_alone_has_no_contrast():
    found = judged(RNG.normal(0.1, 0.001, (256, 256)))
    assert found.Contrast == pytest.approx(1.04, abs=0.1)
    assert judged(CELLS).Contrast > 20


def test_a_hole_in_a_lawn_is_a_dark_tile():
    lawn = np.full((256, 256), 0.3, np.float32)
    lawn[:8] = 0.05  # some background
    lawn[:, :26] = 0.05
    hole = lawn.copy()
    hole[100:180, 100:180] = 0.0
    assert judged(hole).DarkTile < judged(lawn).DarkTile - 0.1


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_an_even_field_has_nothing_to_see(level):
    found = judged(np.full((128, 128), level))
    assert found.Contrast == found.Signal == found.Peak == 0
    assert found.PercentMaximal == 100
    assert np.isnan([found.FineDetail, found.CoarseDetail, found.PowerSlope]).all()


def test_every_field_is_judged_alone_and_named_by_stain():
    batch = jnp.asarray(RNG.random((3, 80, 96, 2)), jnp.float32)
    found = np.asarray(expose(batch, batch))
    columns = exposure_columns(("DNA", "GFP"))
    assert found.shape == (3, len(columns))
    alone = judged(batch[1, ..., 1])
    one = dict(zip(columns, found[1], strict=True))
    for name, value in alone._asdict().items():
        assert one[f"Image_QC_{name}_GFP"] == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_flipping_a_field_changes_little():
    plane = CELLS
    for name, value in judged(plane)._asdict().items():
        assert getattr(judged(plane[::-1]), name) == pytest.approx(value, rel=0.15, abs=0.02)


def test_small_fields_have_no_numbers():
    small = jnp.ones((2, 63, 200, 1))
    assert np.isnan(expose(small, small)).all()


def test_correction_by_hand():
    light = Light(np.full((4, 4, 1), 2, np.float32), np.full((4, 4, 1), 0.1, np.float32))
    images = jnp.asarray(
        np.array([0.05, 0.1, 0.5, 2.5])[:, None, None, None] * np.ones((4, 4, 4, 1))
    )
    images = images.astype(jnp.float32)
    kept = correct(images, light, has_levels=True)[:, 0, 0, 0]
    np.testing.assert_allclose(kept, [0, 0, 0.2, 1], atol=1e-7)
    free = correct(images, light, has_levels=False)[:, 0, 0, 0]
    np.testing.assert_allclose(free, [-0.025, 0, 0.2, 1.2], atol=1e-7)
