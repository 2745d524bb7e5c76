"""Coarse maps: by hand, where the answer is planted, and for which backbones."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from plates.errors import BadModel
from profiler.embed.explain.cam import coarse_map, enlarged, grad_cam
from profiler.embed.explain.line import Line
from profiler.embed.explain.rollout import follow, rollout


@pytest.mark.parametrize("kind", ["resnet", "efficientnet"])
def test_a_backbone_is_the_mean_of_its_last_level(kind, model, crops, quick):
    network, _ = model(kind)
    shown = network.encoder.show(jnp.asarray(crops(2)))
    planes = shown.reshape(-1, *shown.shape[2:])
    maps = quick(network.encoder.backbone.last_level)(planes)
    assert maps.shape[1] in (4, 8)
    np.testing.assert_allclose(
        maps.mean((1, 2)), quick(network.encoder.backbone)(planes), rtol=1e-5
    )


def test_grad_cam_is_the_papers_sum_of_weighted_maps(model, line, crops, quick):
    network, config = model("small")
    asked, given = line(config.size), jnp.asarray(crops(2))
    shown = network.encoder.show(given)
    planes = shown.reshape(-1, *shown.shape[2:])
    maps = np.asarray(quick(network.encoder.backbone.last_level)(planes))
    size, (_, rows, columns, features) = config.size // 2, maps.shape
    by_stain = np.asarray(asked.weights).reshape(2, size)
    expected = np.zeros((2, rows, columns, 2))
    for cell in range(2):
        for stain in range(2):
            weights = by_stain[stain] / (rows * columns)  # d line / d map, alike at every place
            total = (maps[2 * cell + stain] * weights).sum(-1)
            expected[cell, ..., stain] = np.maximum(total, 0)
    assert features == size
    found = quick(grad_cam, network, asked)(given)
    enlarge = enlarged(jnp.asarray(expected, jnp.float32), given)
    np.testing.assert_allclose(found, enlarge, rtol=1e-4, atol=1e-6)
    assert float(found.max()) > 0


def test_grad_cam_lies_where_the_bright_spot_is():
    class Spots(nnx.Module):
        """A convolution that passes brightness on."""

        def __call__(self, planes):
            return self.last_level(planes).mean((1, 2))

        def last_level(self, planes):
            return planes

    from profiler.embed.network.build import Model
    from profiler.embed.network.config import EncoderConfig
    from profiler.embed.network.encoder import Encoder

    network = Model(Encoder(EncoderConfig(scale="brightness"), Spots()), None)
    crops = np.zeros((1, 16, 16, 1), np.float32)
    crops[0, 2:5, 10:13] = 0.8
    found = np.asarray(grad_cam(network, Line(jnp.ones(1), jnp.float32(0)), jnp.asarray(crops)))
    against = grad_cam(network, Line(-jnp.ones(1), jnp.float32(0)), jnp.asarray(crops))
    np.testing.assert_array_equal(found[0, ..., 0] > 0, crops[0, ..., 0] > 0)
    assert not np.asarray(against).any()  # what speaks against a line is no part of its map


def test_a_vit_has_no_grad_cam_and_says_what_to_take(model, line, crops, quick):
    network, config = model("vit")
    with pytest.raises(BadModel, match="backbone ViT has none.* attention rollout"):
        grad_cam(network, line(config.size), jnp.asarray(crops(1)))
    found = quick(coarse_map, network, line(config.size))(jnp.asarray(crops(2)))
    assert found.shape == (2, 16, 16, 2)
    assert float(found.min()) >= 0


def test_rollout_runs_the_same_network_and_hands_all_attention_on(model, crops, quick):
    network, _ = model("vit")
    shown = network.encoder.show(jnp.asarray(crops(2)))
    planes = shown.reshape(-1, *shown.shape[2:])
    tokens, flow = quick(follow, network.encoder.backbone)(planes)
    np.testing.assert_allclose(tokens.mean(1), quick(network.encoder.backbone)(planes), rtol=1e-4)
    np.testing.assert_allclose(flow.sum(-1), 1, rtol=1e-5)
    assert float(flow.min()) >= 0


def test_rollout_hands_on_what_adds_to_the_line(model, line, crops, quick):
    network, config = model("vit")
    asked, given = line(config.size), jnp.asarray(crops(2))
    shown = network.encoder.show(given)
    planes = shown.reshape(-1, *shown.shape[2:])
    tokens, _ = quick(follow, network.encoder.backbone)(planes)
    count = tokens.shape[1]
    by_stain = np.asarray(asked.weights).reshape(2, -1)
    adds = [np.maximum(np.asarray(tokens[i]) @ by_stain[i % 2] / count, 0).sum() for i in range(4)]
    found = np.asarray(quick(rollout, network, asked)(given))
    np.testing.assert_allclose(found.sum((1, 2)).ravel(), adds, rtol=1e-4)
