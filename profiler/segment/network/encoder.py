"""The way down, which all networks of the family share."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import jax.numpy as jnp
from flax import nnx

from profiler.segment.network.blocks import BLOCKS, Map
from profiler.segment.network.config import NetworkConfig

Convolve = Callable[[Map], Map]


def make_encoder(config: NetworkConfig, *, rngs: nnx.Rngs) -> tuple[nnx.Module, list]:
    """Make the block at full resolution and those below it, for an `nnx.List`."""
    make, widths = BLOCKS[config.block].make, config.widths
    stem = make(config.channels, widths[0], norm=config.norm, rngs=rngs)
    down = [make(a, b, norm=config.norm, rngs=rngs) for a, b in pairwise(widths)]
    return stem, down


def encode(
    images: Map,
    *,
    stem: Convolve,
    down: Iterable[Convolve],
    dropout: nnx.Dropout,
    rngs: nnx.Rngs | None,
) -> list[Map]:
    """Look at images at every level, the finest first."""
    levels = [stem(images)]
    for block in down:
        levels.append(dropout(block(halve(levels[-1])), rngs=rngs))
    return levels


def halve(x: Map) -> Map:
    """Max-pool 2x2; slices, because XLA's window gradient is slow on a CPU."""
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def double(x: Map) -> Map:
    """Repeat every pixel 2x2; a broadcast, whose gradient is a plain sum."""
    batch, height, width, channel = x.shape
    wide = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channel))
    return wide.reshape(batch, 2 * height, 2 * width, channel)
