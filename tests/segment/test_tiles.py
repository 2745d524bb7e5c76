"""Tiles: no seam, whatever straddles it; any size of field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import ndimage

from profiler.segment.network.build import build, reach
from profiler.segment.network.config import NetworkConfig
from profiler.segment.tiles import predict

SMALL = NetworkConfig(widths=(4, 8, 8))


@pytest.fixture(scope="module")
def network():
    model = build(SMALL, rngs=nnx.Rngs(0))
    model.eval()
    return nnx.jit(model)


def plane(height: int, width: int) -> jnp.ndarray:
    noise = np.random.default_rng(0).normal(size=(height, width))
    return jnp.asarray(10 * ndimage.gaussian_filter(noise, 3), jnp.float32)


def test_tiles_equal_the_whole_field_beyond_the_reach_of_its_border(network):
    field = plane(160, 192)
    whole = predict(network, field, SMALL, whole=192)
    tiled = predict(network, field, SMALL, whole=64)
    inside = (slice(reach(SMALL), -reach(SMALL)),) * 2
    for one, other in zip(whole, tiled, strict=True):
        assert one.shape == other.shape == (160, 192)
        np.testing.assert_allclose(one[inside], other[inside], atol=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_a_strip_is_tiled_by_pieces_of_its_own_width(network, turned):
    field = plane(240, 18)
    field = field.T if turned else field
    seen = []

    def watched(image):
        seen.append(image.shape[1:3])
        return network(image)

    tiled = predict(watched, field, SMALL, whole=64)
    halo, own = -(-reach(SMALL) // SMALL.stride) * SMALL.stride, (64, 20)
    assert set(seen) == {tuple(side + 2 * halo for side in (own[::-1] if turned else own))}
    framed = jnp.pad(field, halo, mode="symmetric")
    for one, other in zip(predict(network, framed, SMALL, whole=1000), tiled, strict=True):
        np.testing.assert_allclose(one[halo:-halo, halo:-halo], other, atol=1e-4)


def test_the_reach_is_how_far_a_pixel_is_felt(network):
    field = plane(128, 128)
    poked = field.at[64, 64].add(100.0)
    change = jnp.abs(predict(network, poked, SMALL)[0] - predict(network, field, SMALL)[0])
    felt = np.argwhere(np.asarray(change) > 0)
    assert np.abs(felt - 64).max() <= reach(SMALL)


@pytest.mark.parametrize("shape", [(64, 64), (37, 91), (3, 5), (100, 20)])
def test_any_size_is_predicted(network, shape):
    for part in predict(network, plane(*shape), SMALL):
        assert part.shape == shape
        assert np.isfinite(part).all()


def test_one_program_serves_every_field_of_a_size(network):
    run = jax.jit(lambda field: predict(network, field, SMALL, whole=64))
    run(plane(70, 90))
    run(plane(70, 90) * 2)
    assert run._cache_size() == 1


def test_stains_that_a_field_lacks_are_zeros_in_tiles_too():
    config = NetworkConfig(channels=2, widths=(4, 8))
    model = build(config, rngs=nnx.Rngs(0))
    model.eval()
    one = plane(70, 90)
    padded = jnp.stack([one, jnp.zeros_like(one)], axis=-1)
    other = jnp.stack([one, one], axis=-1)
    for whole in (96, 32):
        alone, both, changed = (
            predict(model, field, config, whole=whole)[0] for field in (one, padded, other)
        )
        np.testing.assert_array_equal(alone, both)
        assert np.abs(alone - changed).max() > 1e-3


def test_what_lies_beyond_the_border_is_the_field_mirrored(network):
    field = plane(37, 91)  # filled up to 40 x 92
    mirrored = jnp.asarray(np.pad(field, ((0, 3), (0, 1)), mode="symmetric"))
    for one, other in zip(
        predict(network, field, SMALL), predict(network, mirrored, SMALL), strict=True
    ):
        np.testing.assert_allclose(one, other[:37, :91], atol=1e-6)
