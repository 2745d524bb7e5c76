"""Layers written for speed, against the plain operations they stand for."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from profiler.embed.network.layers import Depthwise, fold, halve_mean

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 12, 6)), jnp.float32)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
def test_depthwise_is_the_grouped_convolution(side, stride):
    layer = Depthwise(6, side, stride=stride, rngs=nnx.Rngs(0))
    expected = lax.conv_general_dilated(
        X,
        layer.kernel[...],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=6,
    )
    np.testing.assert_allclose(layer(X), expected, atol=1e-5)


def test_halving_is_the_mean_of_squares():
    expected = np.asarray(X).reshape(2, 4, 2, 6, 2, 6).mean((2, 4))
    np.testing.assert_allclose(halve_mean(X), expected, atol=1e-6)


def test_folding_keeps_every_pixel():
    folded = np.asarray(fold(X))
    assert folded.shape == (2, 4, 6, 24)
    np.testing.assert_array_equal(folded[1, 2, 3, :6], X[1, 4, 6])
    np.testing.assert_array_equal(folded[1, 2, 3, 6:12], X[1, 4, 7])
    np.testing.assert_array_equal(np.sort(folded.ravel()), np.sort(np.ravel(X)))
