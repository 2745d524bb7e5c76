"""Levels thaw from the head inwards, whatever the backbone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from profiler.embed.crops import CropConfig
from profiler.embed.network.build import SIZES, build
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.training.step import Schedule
from profiler.embed.training.thaw import count_levels, depth_of, keep_frozen

RESNET = {
    "head": {"linear": 0.0},
    "encoder": {"backbone": {"stem": 0.0, "levels": {0: {"conv": 0.0}, 1: {"conv": 0.0}}}},
}


def thawed(step, starts):
    before = jax.tree.map(jnp.float32, RESNET)
    after = jax.tree.map(lambda leaf: leaf + 1, before)
    kept = keep_frozen(after, before, step=jnp.int32(step), starts=starts)
    own = kept["encoder"]["backbone"]
    leaves = (kept["head"]["linear"], own["levels"][1]["conv"], own["levels"][0]["conv"])
    return [int(leaf) for leaf in (*leaves, own["stem"])]


@pytest.mark.parametrize(
    ("step", "starts", "expected"),
    [
        (0, (0, 2, 4, 6), [1, 0, 0, 0]),
        (1, (0, 2, 4, 6), [1, 0, 0, 0]),
        (2, (0, 2, 4, 6), [1, 1, 0, 0]),
        (5, (0, 2, 4, 6), [1, 1, 1, 0]),
        (6, (0, 2, 4, 6), [1, 1, 1, 1]),
        (2, (0, 2), [1, 1, 1, 1]),  # the last holds for all further in
        (1, Schedule(frozen=2).starts, [1, 0, 0, 0]),
        (0, Schedule().starts, [1, 1, 1, 1]),
        (0, (1, 0), [0, 1, 1, 1]),
    ],
)
def test_levels_learn_from_their_step_on(step, starts, expected):
    assert thawed(step, starts) == expected


@pytest.mark.parametrize("name", SIZES)
def test_every_backbone_has_levels_from_its_last_layer_to_its_stem(name):
    config = ModelConfig(SIZES[name], CropConfig(64), classes=("a", "b"))
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    params = nnx.state(model, nnx.Param)
    levels = count_levels(params)
    depths = {path: depth_of(path, levels) for path, _ in nnx.to_flat_state(params)}
    assert set(depths.values()) == set(range(levels + 2))
    assert {depth for path, depth in depths.items() if path[0] == "head"} == {0}
    assert {depth for path, depth in depths.items() if path[2] == "stem"} == {levels + 1}
    of_level = {path: depth for path, depth in depths.items() if path[2] in ("levels", "layers")}
    assert {path[3] + depth for path, depth in of_level.items()} == {levels}


def test_running_averages_thaw_with_their_level():
    encoder = EncoderConfig(widths=(8, 16), blocks=(1, 1))
    config = ModelConfig(encoder, CropConfig(16), classes=("a", "b"))
    before = nnx.state(build(config, rngs=nnx.Rngs(0)), nnx.BatchStat)
    after = jax.tree.map(lambda leaf: leaf + 1, before)
    kept = keep_frozen(after, before, step=jnp.int32(3), starts=(0, 3, 9))
    own = {key: np.asarray(leaf[...]) for key, leaf in nnx.to_flat_state(kept)}
    for path, leaf in nnx.to_flat_state(before):
        moved = path[2:4] == ("levels", 1)
        np.testing.assert_array_equal(own[path], np.asarray(leaf[...]) + moved)
