"""Predict fields of any size with one compiled program, without seams.

The network is translation-equivariant (BatchNorm, no resizing but by its stride), so a
tile that carries a halo as wide as the network can see gives, inside the halo, exactly
what the whole field would: nothing is blended, and decoding sees one whole prediction.
(Only within that reach of the field's own border do the two differ: there a tile sees the
border repeated, and a whole field zeros.)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from profiler.segment.prediction import Prediction
from profiler.segment.unet import UNetConfig
from profiler.shapes import Plane

WHOLE = 1280  # fields up to this side, in pixels, are predicted whole
CORE = 1024  # side of a tile without its halo

Network = Callable[[Float[Array, "batch height width channel"]], Prediction]


def predict(
    network: Network, plane: Plane, config: UNetConfig, *, whole: int = WHOLE
) -> Prediction:
    """Predict every pixel of one normalised plane.

    Args:
        network: Maps [batch, height, width, 1] to a `Prediction`.
        plane: One field, [height, width], any size.
        config: The network's, for its stride and reach.
        whole: Longest side that is predicted in one piece.

    Returns:
        Prediction of [height, width].
    """
    height, width = plane.shape
    if max(height, width) <= whole:
        padded = _pad_to(plane, _up(height, config.stride), _up(width, config.stride))
        out = network(padded[None, :, :, None])
        return jax.tree.map(lambda x: x[0, :height, :width], out)
    return _predict_tiles(network, plane, config, core=min(CORE, _up(whole, config.stride)))


def _predict_tiles(network: Network, plane: Plane, config: UNetConfig, *, core: int) -> Prediction:
    height, width = plane.shape
    halo = _up(config.reach, config.stride)
    rows, columns = -(-height // core), -(-width // core)
    below, right = rows * core + halo - height, columns * core + halo - width
    canvas = jnp.pad(plane, ((halo, below), (halo, right)), mode="edge")

    def one(corner):
        side = core + 2 * halo
        tile = lax.dynamic_slice(canvas, (corner[0], corner[1]), (side, side))
        out = network(tile[None, :, :, None])
        return jax.tree.map(lambda x: x[0, halo:-halo, halo:-halo], out)

    corners = jnp.array([(y * core, x * core) for y in range(rows) for x in range(columns)])
    out = lax.map(one, corners)

    def stitch(tiles):
        grid = tiles.reshape(rows, columns, core, core).swapaxes(1, 2)
        return grid.reshape(rows * core, columns * core)[:height, :width]

    return jax.tree.map(stitch, out)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _pad_to(plane: Plane, height: int, width: int) -> Float[Array, "padded_height padded_width"]:
    return jnp.pad(plane, ((0, height - plane.shape[0]), (0, width - plane.shape[1])), mode="edge")
