"""Predict fields of any size with one compiled program, without seams.

Networks are translation-equivariant (no statistics of the field, no resizing but by their stride),
so a tile that carries a halo as wide as the network can see gives, inside the halo, exactly
what the whole field would: nothing is blended, and decoding sees one whole prediction.
(Only within that reach of the field's own border do the two differ: there a tile sees the field
mirrored, and a whole field zeros, but for the few pixels that fill it up to a multiple of the
network's stride. Those are mirrored, too: a nucleus cut by the border goes on then as nuclei do,
where repeated edges drew it out into streaks that were missed.)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from plates.errors import BadModel
from profiler.segment.network.build import reach
from profiler.segment.network.config import NetworkConfig
from profiler.shapes import Image, Stains

WHOLE = 1280  # fields up to this side, in pixels, are predicted whole
CORE = 1024  # side of a tile without its halo
BEYOND = "symmetric"  # what lies beyond the border

Predict = Callable[[Float[Array, "batch height width channel"]], Any]


def predict(network: Predict, field: Stains, config: NetworkConfig, *, whole: int = WHOLE) -> Any:
    """Predict every pixel of one normalised field.

    Args:
        network: Maps [batch, height, width, channel] to a prediction of its head.
        field: One plane [height, width] of any size, or [height, width, channel]; stains that
            the network knows and the field lacks, the last ones, are zeros.
        config: The network's, for its stride and reach.
        whole: Longest side that is predicted in one piece.

    Returns:
        The prediction without its batch axis, its maps of [height, width], or of a fraction of
        that, rounded up, where the head predicts at a coarser level.
    """
    image = with_stains(field, config.channels)
    height, width = image.shape[:2]
    if max(height, width) <= whole:
        padded = _pad_to(image, _up(height, config.stride), _up(width, config.stride))
        out = network(padded[None])
        return jax.tree.map(
            lambda x: _cut(x[0], padded.shape[0] // x.shape[1], (height, width)), out
        )
    return _predict_tiles(network, image, config, core=min(CORE, _up(whole, config.stride)))


def with_stains(field: Stains, channels: int) -> Image:
    """Give a field a last axis of `channels` stains: those it lacks are zeros.

    Raises:
        BadModel: The field has more stains than the network looks at.
    """
    image = field.reshape(*field.shape[:2], -1)
    lacking = channels - image.shape[-1]
    if lacking < 0:
        raise BadModel(
            f"The field has {image.shape[-1]} stains; the network looks at {channels}. Give it "
            "those that its card names, in that order."
        )
    return jnp.pad(image, ((0, 0), (0, 0), (0, lacking)))


def _predict_tiles(network: Predict, image: Image, config: NetworkConfig, *, core: int) -> Any:
    height, width = image.shape[:2]
    halo = _up(reach(config), config.stride)
    # A strip is not tiled by squares, most of which would be empty.
    high, wide = (min(core, _up(length, config.stride)) for length in (height, width))
    rows, columns = -(-height // high), -(-width // wide)
    below, right = rows * high + halo - height, columns * wide + halo - width
    canvas = jnp.pad(image, ((halo, below), (halo, right), (0, 0)), mode=BEYOND)
    sides = (high + 2 * halo, wide + 2 * halo)

    def inside(x):
        top, left = halo * x.shape[1] // sides[0], halo * x.shape[2] // sides[1]
        return x[0, top:-top, left:-left]

    def one(corner):
        tile = lax.dynamic_slice(canvas, (*corner, 0), (*sides, canvas.shape[-1]))
        return jax.tree.map(inside, network(tile[None]))

    corners = jnp.array([(y * high, x * wide) for y in range(rows) for x in range(columns)])
    out = lax.map(one, corners)

    def stitch(tiles):
        down, across, *maps = tiles.shape[1:]
        grid = tiles.reshape(rows, columns, down, across, *maps).swapaxes(1, 2)
        whole = grid.reshape(rows * down, columns * across, *maps)
        return _cut(whole, high // down, (height, width))

    return jax.tree.map(stitch, out)


def _cut(maps: Array, stride: int, shape: tuple[int, ...]) -> Array:
    """Cut what padding added off maps that are `stride` times coarser than the field."""
    return maps[: -(-shape[0] // stride), : -(-shape[1] // stride)]


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _pad_to(image: Image, height: int, width: int) -> Float[Array, "padded_height padded_width _"]:
    more = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return jnp.pad(image, more, mode=BEYOND)
