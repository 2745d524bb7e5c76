"""Objectives by hand, and against NumPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from profiler.embed.training.objectives import (
    ObjectiveConfig,
    cross_entropy,
    focal,
    simclr,
    vicreg,
)

RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32)
LABELS = np.array([0, 1, 2, 0, 1, 1])
SHARES = jnp.eye(3)[LABELS]
ONE, OTHER = RNG.normal(size=(2, 5, 4)).astype(np.float32)
CONFIG = ObjectiveConfig()


def test_cross_entropy_is_scikit_learns_log_loss():
    likely = np.asarray(jax.nn.softmax(LOGITS))
    expected = log_loss(LABELS, likely)
    assert float(cross_entropy(LOGITS, SHARES, CONFIG)) == pytest.approx(expected, rel=1e-5)


def test_focal_by_hand():
    likely = np.asarray(jax.nn.softmax(LOGITS))[np.arange(6), LABELS]
    expected = (-((1 - likely) ** 2) * np.log(likely)).mean()
    assert float(focal(LOGITS, SHARES, CONFIG)) == pytest.approx(expected, rel=1e-5)


def test_focal_without_focus_is_cross_entropy():
    plain = ObjectiveConfig(focus=0.0)
    np.testing.assert_allclose(
        focal(LOGITS, SHARES, plain), cross_entropy(LOGITS, SHARES, plain), rtol=1e-6
    )


def test_simclr_by_loops():
    both = np.concatenate([ONE, OTHER]).astype(np.float64)
    unit = both / np.linalg.norm(both, axis=1, keepdims=True)
    losses = []
    for i in range(10):
        alike = np.exp(unit @ unit[i] / CONFIG.temperature)
        others = alike.sum() - alike[i]
        losses.append(-np.log(alike[(i + 5) % 10] / others))
    found = float(simclr(jnp.asarray(ONE), jnp.asarray(OTHER), CONFIG))
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_vicreg_by_loops():
    def own(z):
        spread = np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean()
        covariance = np.cov(z.T)
        off = (covariance**2).sum() - (np.diag(covariance) ** 2).sum()
        return 25 * spread / 2 + off / z.shape[1]

    expected = 25 * ((ONE - OTHER) ** 2).mean() + own(ONE) + own(OTHER)
    found = float(vicreg(jnp.asarray(ONE), jnp.asarray(OTHER), CONFIG))
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("objective", [simclr, vicreg])
def test_views_that_agree_and_spread_cost_less(objective):
    spread = jnp.asarray(3 * np.eye(8, dtype=np.float32))
    mixed = spread[jnp.asarray([1, 2, 3, 4, 5, 6, 7, 0])]
    assert objective(spread, spread, CONFIG) < objective(spread, mixed, CONFIG)
    assert objective(spread, spread, CONFIG) < objective(jnp.ones((8, 8)), jnp.ones((8, 8)), CONFIG)
