"""EfficientNet-Lite's layers, against the same written in NumPy from the published description."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.lib.stride_tricks import sliding_window_view

from plates.errors import BadRecipe
from profiler.embed.crops import CropConfig
from profiler.embed.network.build import SIZES, build
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.nets.files import flat

SIDE = 16
OWN = EncoderConfig("efficientnet", (6, 4, 5, 7, 9), (1, 2, 1), norm="batch-keras", scale="pattern")
TABLE = [(3, 1, 1, 1), (3, 2, 6, 2), (5, 2, 6, 1)]  # kernel, stride, expansion, repeats
EPSILON = 1e-3


def same(x, kernel, stride, *, each=False):
    """TensorFlow's "SAME": outputs are ceil(side / stride), the odd zero is after the last."""
    side, pixels = len(kernel), x.shape[1]
    short = max((-(-pixels // stride) - 1) * stride + side - pixels, 0)
    border = (short // 2, short - short // 2)
    padded = np.pad(x, ((0, 0), border, border, (0, 0)))
    windows = sliding_window_view(padded, (side, side), (1, 2))[:, ::stride, ::stride]
    if each:
        return np.einsum("bhwcij,ijc->bhwc", windows, kernel[:, :, 0])
    return np.einsum("bhwcij,ijco->bhwo", windows, kernel)


class Reference:
    """The network in float64, from weights by name."""

    def __init__(self, model):
        self.weights = {
            "/".join(map(str, key[2:])): np.asarray(leaf[...], float) for key, leaf in flat(model)
        }

    def norm(self, name, x):
        scale, bias, mean, var = (
            self.weights[f"{name}/{k}"] for k in ("scale", "bias", "mean", "var")
        )
        return (x - mean) / np.sqrt(var + EPSILON) * scale + bias

    def layer(self, name, x, stride=1):
        return self.norm(f"{name}/norm", same(x, self.weights[f"{name}/conv/kernel"], stride))

    def block(self, name, x, stride, expand):
        inner = np.clip(self.layer(f"{name}/widen", x), 0, 6) if expand > 1 else x
        each = same(inner, self.weights[f"{name}/each/kernel"], stride, each=True)
        found = self.layer(f"{name}/narrow", np.clip(self.norm(f"{name}/norm", each), 0, 6))
        return x + found if found.shape == x.shape else found

    def __call__(self, x):
        x, number = np.clip(self.layer("stem", x, 2), 0, 6), 0
        for _, stride, expand, repeats in TABLE:
            for again in range(repeats):
                x = self.block(f"layers/{number}", x, 1 if again else stride, expand)
                number += 1
        return np.clip(self.layer("last", x), 0, 6).mean((1, 2))


def drawn(name, shape, rng):
    """Numbers for a weight; no layer at rest, so that every one counts."""
    if name in ("scale", "var"):
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0.2, 0.3, shape) if name == "bias" else rng.normal(0, 0.4, shape)


@pytest.fixture(scope="module")
def model():
    made = nnx.eval_shape(lambda: build(ModelConfig(OWN, CropConfig(SIDE)), rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(1)
    state = [(key, leaf, drawn(key[-1], leaf.shape, rng)) for key, leaf in flat(made)]
    filled = [(key, leaf.replace(jnp.asarray(new, jnp.float32))) for key, leaf, new in state]
    nnx.update(made, nnx.from_flat_state(filled))
    made.eval()
    return made


def test_it_is_the_published_network(model):
    x = np.random.default_rng(2).normal(size=(3, SIDE, SIDE, 1))
    graph, state = nnx.split(model.encoder.backbone)
    found = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, jnp.asarray(x, jnp.float32))
    expected = Reference(model)(x)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_lite0_has_as_many_weights_as_published():
    config = ModelConfig(SIZES["efficientnet-lite0"], stains=("R", "G", "B"))
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    ours = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    # 4.652 million with a classifier of 1,000 classes (the model zoo's table) and three colours.
    assert ours + 1280 * 1000 + 1000 + 2 * 3 * 3 * 32 == 4_652_008


def test_an_eighth_level_is_refused():
    own = EncoderConfig("efficientnet", (8,) * 10, (1,) * 8)
    with pytest.raises(BadRecipe, match="needs 9 widths; found .* Each of its 1 to 7 levels"):
        build(ModelConfig(own), rngs=nnx.Rngs(0))


def test_crops_must_divide_by_what_the_strides_make():
    config = ModelConfig(SIZES["efficientnet-lite0"], CropConfig(80))
    with pytest.raises(BadRecipe, match="80 pixels do not divide by 32.*Take 64"):
        build(config, rngs=nnx.Rngs(0))
