"""Crops as training sees them: the same for the same key, no further from the cell than asked."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from profiler.embed.training.augment import AugmentConfig, augment

STILL = AugmentConfig(zoom=1.0, stretch=1.0, shift_px=0.0, gain=1.0, gamma=1.0, blur=0.0, noise=0.0)
Y, X = np.mgrid[:33, :33] - 16
DISC = jnp.tile(jnp.asarray(np.hypot(Y, X) < 9, jnp.float32)[None, ..., None], 3)
KEY = jax.random.key(0)


def many(config, crop=DISC, count=8):
    return augment(KEY, jnp.tile(crop, (count, 1, 1, 1)), config=config)


def test_the_same_key_gives_the_same_crops():
    config = AugmentConfig()
    np.testing.assert_array_equal(many(config), many(config))
    other = augment(jax.random.key(1), jnp.tile(DISC, (8, 1, 1, 1)), config=config)
    assert jnp.abs(many(config) - other).max() > 0.1


def test_a_disc_that_only_turns_stays_a_disc():
    turned = many(STILL)
    assert float(jnp.abs(turned - DISC[0][None]).mean()) < 0.02
    np.testing.assert_allclose(turned.sum((1, 2, 3)), DISC.sum(), rtol=0.02)


def test_crops_turn_and_mirror():
    corner = jnp.zeros((1, 33, 33, 3)).at[0, 4:9, 14:19].set(1.0)
    turned = np.asarray(many(STILL, corner))
    at = np.array([np.argwhere(each[..., 0] > 0.5).mean(0) for each in turned])
    np.testing.assert_allclose(np.hypot(*(at - 16).T), 10, atol=0.7)
    assert len(np.unique(at.round(), axis=0)) > 5


@pytest.mark.parametrize(
    ("change", "least", "most"),
    [({"zoom": 1.3}, 1 / 1.3**2, 1.3**2), ({"gain": 1.5}, 1 / 1.5, 1.5), ({"stretch": 1.3}, 1, 1)],
)
def test_brightness_and_size_stay_within_what_is_asked(change, least, most):
    total = np.asarray(many(replace(STILL, **change)).sum((1, 2, 3)) / DISC.sum())
    assert least - 0.05 < total.min()
    assert total.max() < most + 0.05
    if least < 1:
        assert total.std() > 0.05


def test_shifts_stay_within_pixels():
    shifted = np.asarray(many(replace(STILL, shift_px=4.0)))[..., 0]
    at = np.array([np.argwhere(each > 0.5).mean(0) for each in shifted]) - 16
    assert 0.5 < np.abs(at).max() < 6.1  # sideways and turned, at most 4 * sqrt(2)


def test_noise_and_blur_come_to_some():
    noisy = np.asarray(many(replace(STILL, noise=0.2)))
    outside = noisy[:, :3, :3, 0].std((1, 2))
    assert (outside == 0).any()
    assert (outside > 0).any()


def test_a_stain_may_go_dark_but_never_all():
    alive = np.asarray(many(replace(STILL, drop=1.0)).max((1, 2)) > 0)
    assert alive.any(1).all()
    assert 0.3 < alive.mean() < 0.9
