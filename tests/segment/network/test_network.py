"""The family: every block, norm, neck and head fits, tiles exactly and takes dropout."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from safetensors.numpy import load_file
from scipy import ndimage

from plates.errors import BadModel, UnknownName
from profiler.segment.catalogue import MODELS
from profiler.segment.heads import HEADS
from profiler.segment.network.blocks import BLOCKS
from profiler.segment.network.build import NECKS, build, reach
from profiler.segment.network.config import NetworkConfig
from profiler.segment.network.norms import NORMS
from profiler.segment.tiles import predict
from profiler.segment.weights import load_network

SMALL = NetworkConfig(widths=(4, 8, 8))
FAMILY = dict.fromkeys(  # each once: `SMALL` itself is of all three
    [
        *(replace(SMALL, block=block) for block in BLOCKS),
        *(replace(SMALL, norm=norm) for norm in NORMS),
        *(replace(SMALL, neck=neck) for neck in NECKS),
    ]
)


@pytest.mark.parametrize("config", FAMILY, ids=lambda c: f"{c.block}-{c.norm}-{c.neck}")
def test_tiles_equal_the_whole_field_whatever_the_network_is_made_of(config):
    model = build(config, rngs=nnx.Rngs(0))
    model.eval()
    network = nnx.jit(model)
    noise = np.random.default_rng(0).normal(size=(128, 160))
    plane = jnp.asarray(10 * ndimage.gaussian_filter(noise, 3), jnp.float32)
    whole, tiled = (predict(network, plane, config, whole=side) for side in (160, 64))
    inside = (slice(reach(config), -reach(config)),) * 2
    for one, other in zip(whole, tiled, strict=True):
        assert one[inside].size > 0
        np.testing.assert_allclose(one[inside], other[inside], atol=2e-3 * float(jnp.ptp(one)))


@pytest.mark.parametrize("config", FAMILY, ids=lambda c: f"{c.block}-{c.norm}-{c.neck}")
def test_the_reach_is_how_far_a_pixel_is_felt(config):
    model = build(config, rngs=nnx.Rngs(0))
    model.eval()
    plane = jnp.zeros((1, 128, 128, 1))
    change = model(plane.at[0, 64, 64].set(100.0))[0] - model(plane)[0]
    felt = np.argwhere(np.abs(np.asarray(change)[0]) > 0)
    assert 2 < np.abs(felt - 64).max() <= reach(config)


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [("block", "residul", "residual"), ("neck", "fnp", "fpn"), ("head", "star", "stars")],
)
def test_unknown_words_get_a_suggestion(kind, name, meant):
    with pytest.raises(UnknownName, match=f"no {kind} called '{name}'. Did you mean '{meant}'"):
        build(replace(SMALL, **{kind: name}), rngs=nnx.Rngs(0))


def test_boxes_need_five_levels():
    with pytest.raises(BadModel, match="a network of 3 levels ends at 4. Give it 5 widths"):
        build(replace(SMALL, head="boxes"), rngs=nnx.Rngs(0))


def test_dropout_leaves_features_out_in_training_only():
    model = build(replace(SMALL, dropout=0.5), rngs=nnx.Rngs(0))
    images = jnp.asarray(np.random.default_rng(0).random((1, 16, 16, 1)), jnp.float32)
    one, other = (model(images, rngs=nnx.Rngs(seed))[0] for seed in (1, 2))
    assert jnp.abs(one - other).max() > 0
    model.eval()
    np.testing.assert_array_equal(model(images)[0], model(images)[0])


def by_hand(tensors, images):
    """The shipped network, written out with nothing but convolutions."""

    def conv(x, name):
        dims = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, tensors[f"{name}/kernel"], (1, 1), "SAME", dimension_numbers=dims
        )

    def block(x, name):
        for part in "12":
            x, norm = conv(x, f"{name}/conv{part}"), f"{name}/norm{part}"
            x = (x - tensors[f"{norm}/mean"]) / np.sqrt(tensors[f"{norm}/var"] + 1e-5)
            x = jnp.maximum(x * tensors[f"{norm}/scale"] + tensors[f"{norm}/bias"], 0)
        return x

    levels = [block(images, "stem")]
    for level in range(4):
        x = levels[-1]
        batch, height, width, features = x.shape
        pooled = x.reshape(batch, height // 2, 2, width // 2, 2, features).max((2, 4))
        levels.append(block(pooled, f"down/{level}"))
    x = levels.pop()
    for level in range(4):
        x = conv(x, f"narrow/{level}") + tensors[f"narrow/{level}/bias"]
        x = block(x.repeat(2, 1).repeat(2, 2) + levels.pop(), f"up/{level}")
    return conv(x, "head") + tensors["head/bias"]


def test_the_shipped_weights_mean_what_they_meant():
    """So that networks trained before the family had a choice give the same labels."""
    with jax.numpy_rank_promotion("allow"):
        images = jnp.asarray(np.random.default_rng(0).random((1, 64, 64, 1)), jnp.float32)
        out = by_hand(load_file(MODELS["nuclei"]), images)
    model, config, _ = load_network("nuclei")
    assert (config.block, config.norm, config.neck) == ("plain", "batch", "unet")
    assert HEADS[config.head].name == "watershed"
    said = model(images)
    np.testing.assert_allclose(said.foreground, out[..., 0], atol=1e-3)
    np.testing.assert_allclose(said.distance, out[..., 1], atol=1e-4)
