"""Predict fields of any size with one compiled program, without seams.

Networks are translation-equivariant (no statistics of the field, no resizing but by their stride),
so a tile that carries a halo as wide as the network can see gives, inside the halo, exactly
what the whole field would: nothing is blended, and decoding sees one whole prediction.
(Only within that reach of the field's own border do the two differ: there a tile sees the
border repeated, and a whole field zeros.)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from profiler.segment.network.build import reach
from profiler.segment.network.config import NetworkConfig
from profiler.shapes import Plane

WHOLE = 1280  # fields up to this side, in pixels, are predicted whole
CORE = 1024  # side of a tile without its halo

Predict = Callable[[Float[Array, "batch height width channel"]], Any]


def predict(network: Predict, plane: Plane, config: NetworkConfig, *, whole: int = WHOLE) -> Any:
    """Predict every pixel of one normalised plane.

    Args:
        network: Maps [batch, height, width, 1] to a prediction of its head.
        plane: One field, [height, width], any size.
        config: The network's, for its stride and reach.
        whole: Longest side that is predicted in one piece.

    Returns:
        The prediction without its batch axis, its maps of [height, width], or of a fraction of
        that, rounded up, where the head predicts at a coarser level.
    """
    height, width = plane.shape
    if max(height, width) <= whole:
        padded = _pad_to(plane, _up(height, config.stride), _up(width, config.stride))
        out = network(padded[None, :, :, None])
        return jax.tree.map(lambda x: _cut(x[0], padded.shape[0] // x.shape[1], plane.shape), out)
    return _predict_tiles(network, plane, config, core=min(CORE, _up(whole, config.stride)))


def _predict_tiles(network: Predict, plane: Plane, config: NetworkConfig, *, core: int) -> Any:
    height, width = plane.shape
    halo = _up(reach(config), config.stride)
    rows, columns = -(-height // core), -(-width // core)
    below, right = rows * core + halo - height, columns * core + halo - width
    canvas = jnp.pad(plane, ((halo, below), (halo, right)), mode="edge")
    side = core + 2 * halo

    def inside(x):
        edge = halo * x.shape[1] // side
        return x[0, edge:-edge, edge:-edge]

    def one(corner):
        tile = lax.dynamic_slice(canvas, (corner[0], corner[1]), (side, side))
        return jax.tree.map(inside, network(tile[None, :, :, None]))

    corners = jnp.array([(y * core, x * core) for y in range(rows) for x in range(columns)])
    out = lax.map(one, corners)

    def stitch(tiles):
        length, maps = tiles.shape[1], tiles.shape[3:]
        grid = tiles.reshape(rows, columns, length, length, *maps).swapaxes(1, 2)
        whole = grid.reshape(rows * length, columns * length, *maps)
        return _cut(whole, core // length, plane.shape)

    return jax.tree.map(stitch, out)


def _cut(maps: Array, stride: int, shape: tuple[int, ...]) -> Array:
    """Cut what padding added off maps that are `stride` times coarser than the field."""
    return maps[: -(-shape[0] // stride), : -(-shape[1] // stride)]


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _pad_to(plane: Plane, height: int, width: int) -> Float[Array, "padded_height padded_width"]:
    return jnp.pad(plane, ((0, height - plane.shape[0]), (0, width - plane.shape[1])), mode="edge")
