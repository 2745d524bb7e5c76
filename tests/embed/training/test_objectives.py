"""Objectives by hand, and against NumPy and scikit-learn."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from profiler.classify.trust.label_errors import generalised_cross_entropy
from profiler.embed.training.objectives import ObjectiveConfig
from profiler.embed.training.objectives.classes import cross_entropy, focal, generalised
from profiler.embed.training.objectives.dino import dino
from profiler.embed.training.objectives.masked import Decoder, gaps_filled, patches
from profiler.embed.training.objectives.simclr import simclr
from profiler.embed.training.objectives.supcon import supcon
from profiler.embed.training.objectives.vicreg import vicreg

RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32)
LABELS = np.array([0, 1, 2, 0, 1, 1])
SHARES = jnp.eye(3)[LABELS]
ONE, OTHER = RNG.normal(size=(2, 5, 4)).astype(np.float32)
CONFIG = ObjectiveConfig()


def test_cross_entropy_is_scikit_learns_log_loss():
    likely = np.asarray(jax.nn.softmax(LOGITS))
    expected = log_loss(LABELS, likely)
    assert float(cross_entropy(LOGITS, SHARES, CONFIG).mean()) == pytest.approx(expected, rel=1e-5)


def test_focal_by_hand():
    likely = np.asarray(jax.nn.softmax(LOGITS))[np.arange(6), LABELS]
    expected = (-((1 - likely) ** 2) * np.log(likely)).mean()
    assert float(focal(LOGITS, SHARES, CONFIG).mean()) == pytest.approx(expected, rel=1e-5)


def test_focal_without_focus_is_cross_entropy():
    plain = ObjectiveConfig(focus=0.0)
    np.testing.assert_allclose(
        focal(LOGITS, SHARES, plain), cross_entropy(LOGITS, SHARES, plain), rtol=1e-6
    )


@pytest.mark.parametrize("q", [0.3, 1.0])
def test_generalised_is_the_robust_loss_of_the_trust_room(q):
    likely = np.asarray(jax.nn.softmax(LOGITS), np.float64)
    found = generalised(LOGITS, SHARES, replace(CONFIG, robustness=q))
    np.testing.assert_allclose(found, generalised_cross_entropy(likely, LABELS, q=q), rtol=1e-5)


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


def supcon_by_loops(labels, sources, *, apart):
    both = np.concatenate([ONE, OTHER]).astype(np.float64)
    unit = both / np.linalg.norm(both, axis=1, keepdims=True)
    alike = np.exp(unit @ unit.T / CONFIG.temperature)
    losses = []
    for i in range(10):
        a = i % 5
        others = [j for j in range(10) if j != i]
        like = [j for j in others if j % 5 == a or labels[a] == labels[j % 5] >= 0]
        against = [j for j in others if not apart or j in like or sources[j % 5] == sources[a]]
        total = alike[i, against].sum()
        losses.append(-np.mean([np.log(alike[i, j] / total) for j in like]))
    return np.mean(np.reshape(losses, (2, 5)), axis=0)


@pytest.mark.parametrize("apart", [False, True])
def test_supcon_by_loops(apart):
    labels, sources = np.array([0, 1, -1, 0, -1], np.int32), np.array([0, 0, 1, 1, 1], np.int32)
    config = replace(CONFIG, apart_by_source=apart)
    views = jnp.asarray(ONE), jnp.asarray(OTHER)
    found = supcon(*views, jnp.asarray(labels), jnp.asarray(sources), config=config)
    expected = supcon_by_loops(labels, sources, apart=apart)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_supcon_without_labels_is_simclr():
    views, nothing = (jnp.asarray(ONE), jnp.asarray(OTHER)), jnp.full(5, -1, jnp.int32)
    found = supcon(*views, nothing, jnp.zeros(5, jnp.int32), config=CONFIG).mean()
    np.testing.assert_allclose(found, simclr(*views, CONFIG), rtol=1e-6)


def test_supcon_is_not_moved_by_crops_of_another_source():
    labels, sources = jnp.asarray([0, 0, 1, 1, -1]), jnp.asarray([0, 0, 0, 0, 1])
    config = replace(CONFIG, apart_by_source=True)

    def loss(view, config):
        return supcon(view, jnp.asarray(OTHER), labels, sources, config=config)[:4].sum()

    own = jax.grad(loss)(jnp.asarray(ONE), config)
    assert not own[4].any()
    assert own[:4].any()
    assert jax.grad(loss)(jnp.asarray(ONE), CONFIG)[4].any()


def test_dino_by_numpy():
    centre = np.float32([0.3, -0.1, 0.0, 0.2])
    wanted = softmax((OTHER - centre) / CONFIG.teacher_temperature, axis=1)
    expected = -(wanted * log_softmax(ONE / CONFIG.temperature, axis=1)).sum(1)
    found = dino(jnp.asarray(ONE), jnp.asarray(OTHER), jnp.asarray(centre), CONFIG)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_patches_are_cut_row_by_row():
    planes = RNG.normal(size=(2, 24, 24, 2)).astype(np.float32)
    cut = np.asarray(patches(jnp.asarray(planes)))
    assert cut.shape == (2, 9, 128)
    np.testing.assert_array_equal(cut[1, 5].reshape(8, 8, 2), planes[1, 8:16, 16:24])


def test_only_gaps_count():
    truth, painted = jnp.zeros((1, 3, 2)), jnp.asarray([[[9.0, 9.0], [1.0, 3.0], [2.0, 2.0]]])
    hidden = jnp.asarray([[False, True, True]])
    np.testing.assert_allclose(gaps_filled(painted, truth, hidden), [(5 + 4) / 2])


def test_the_decoder_puts_what_is_shown_in_its_place():
    decoder = Decoder(8, tokens=4, planes=1, rngs=nnx.Rngs(0))
    decoder.place[...] = jnp.zeros_like(decoder.place[...])
    shown, order = jnp.asarray(RNG.normal(size=(1, 2, 8)), jnp.float32), jnp.asarray([[2, 0, 3, 1]])
    painted = decoder(shown, order)[0]
    swapped = decoder(shown[:, ::-1], jnp.asarray([[0, 2, 3, 1]]))[0]
    np.testing.assert_allclose(painted, swapped, atol=1e-5)  # the same two, named the other way
    np.testing.assert_allclose(painted[1], painted[3], atol=1e-5)  # without places gaps are alike
    assert jnp.abs(painted[0] - painted[2]).max() > 1e-2
