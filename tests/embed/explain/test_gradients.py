"""Integrated gradients: closed forms, completeness, planted answers, and the sanity check."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from profiler.embed.explain.gradients import integrated_gradients
from profiler.embed.explain.line import Line
from profiler.embed.network.intensity import brightness

ONE = Line(jnp.ones(1), jnp.float32(0))


@pytest.mark.parametrize("kind", ["small", "vit"])
def test_the_two_halves_of_an_encoder_are_the_encoder(kind, model, crops, quick):
    network, _ = model(kind)
    given = jnp.asarray(crops(3))
    halves = quick(lambda crops: network.encoder.see(network.encoder.show(crops)))(given)
    np.testing.assert_allclose(halves, quick(network.encoder)(given), rtol=1e-5)


@pytest.mark.parametrize("kind", ["small", "vit"])
def test_attributions_add_up_to_the_difference_from_the_baseline(kind, model, line, crops, quick):
    network, config = model(kind)
    asked, one, other = line(config.size), jnp.asarray(crops(4)), jnp.asarray(crops(4, seed=1))
    found = quick(integrated_gradients, network, asked, steps=64)(one, other)
    see_all = quick(network.encoder)
    expected = asked(see_all(one)) - asked(see_all(other))
    assert np.abs(expected).min() > 1e-3
    np.testing.assert_allclose(found.sum((1, 2, 3)), expected, atol=0.03 * np.abs(expected).max())


def test_a_flat_baseline_adds_up_too_though_a_fading_crop_looks_the_same_till_it_is_gone(
    model, line, crops, quick
):
    network, config = model("small")
    asked, one = line(config.size), jnp.asarray(crops(3))
    flat = jnp.full_like(one, 0.05)
    found = quick(integrated_gradients, network, asked, steps=64)(one, flat)
    see_all = quick(network.encoder)
    expected = asked(see_all(one)) - asked(see_all(flat))
    np.testing.assert_allclose(found.sum((1, 2, 3)), expected, atol=0.03 * np.abs(expected).max())


def test_of_a_weighted_sum_each_pixel_adds_its_weighted_difference(planted, crops):
    weights = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    network = planted(lambda planes: (planes[..., 0] * weights[None]).sum((1, 2)))
    one, other = jnp.asarray(crops(2, stains=1)), jnp.asarray(crops(2, stains=1, seed=1))
    found = integrated_gradients(network, ONE, one, other, steps=1)
    expected = (brightness(one) - brightness(other)) * weights[None, :, :, None]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_of_a_square_the_path_is_integrated_as_by_hand(planted, crops):
    network = planted(lambda planes: (planes[..., 0] ** 2).sum((1, 2)))
    one, other = jnp.asarray(crops(2, stains=1)), jnp.asarray(crops(2, stains=1, seed=1))
    found = integrated_gradients(network, ONE, one, other, steps=2)
    np.testing.assert_allclose(
        found, brightness(one) ** 2 - brightness(other) ** 2, rtol=1e-4, atol=1e-6
    )


def test_a_network_that_sees_one_stain_has_no_attribution_in_the_other(model, line, crops, quick):
    network, config = model("small")
    half = config.size // 2
    asked = line(config.size)
    second = Line(asked.weights.at[:half].set(0), asked.offset)  # vectors of stains lie in a row
    given = jnp.asarray(crops(3))
    found = np.asarray(quick(integrated_gradients, network, second)(given, jnp.zeros_like(given)))
    assert (found[..., 0] == 0).all()
    assert (np.abs(found[..., 1]).sum((1, 2)) > 0).all()


def test_a_network_that_sees_one_spot_has_attribution_there_alone(planted, crops):
    network = planted(lambda planes: jnp.tanh(planes[:, 3:6, 9:12, 0].mean((1, 2))))
    given = jnp.asarray(crops(3, stains=1))
    found = np.asarray(integrated_gradients(network, ONE, given, jnp.zeros_like(given)))
    spot = np.zeros((16, 16), bool)
    spot[3:6, 9:12] = True
    assert (found[:, ~spot] == 0).all()
    assert (found[:, spot] > 0).all()


def test_a_network_of_other_weights_gives_other_maps(model, line, crops, quick):
    """Adebayo et al. 2018 (arXiv:1810.03292): a map that survives random weights shows edges."""
    given = jnp.asarray(crops(6))

    def ask(seed: int) -> np.ndarray:
        network, config = model("small", seed=seed)
        ask_it = quick(integrated_gradients, network, line(config.size))
        return np.asarray(ask_it(given, jnp.zeros_like(given)))

    one, same, other = ask(0), ask(0), ask(1)
    np.testing.assert_allclose(one, same, atol=1e-6)
    likeness = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    assert np.abs(np.mean(likeness)) < 0.3
