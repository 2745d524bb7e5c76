"""Every pixel goes to the candidate that claims it highest: overlapping shapes become labels."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from profiler.segment.decoding.neighbours import Points, neighbours
from profiler.segment.decoding.nuclei import Roots
from profiler.shapes import Plane

BLOCK_PX = 16  # squares that share a list of candidates
MOST = 16  # candidates that may reach into one square

Claim = Callable[[Plane, Plane, Int[Array, "height width"]], Plane]


def claim(
    value: Claim,
    circles: tuple[Points, Float[Array, " candidate"]],
    at: tuple[Plane, Plane],
) -> tuple[Roots, Int[Array, ""]]:
    """Give every pixel to a candidate, looking only at those whose circle its square touches.

    Args:
        value: From rows, columns and a candidate of each pixel to how strongly the candidate
            claims it; -inf where it does not.
        circles: Centres of the candidates, and how far their claims can reach; -inf for
            candidates that do not count.
        at: Row and column at which each pixel stands, [height, width].

    Returns:
        Roots, in the reading order of the centres, and how many candidates had no room in the
        fullest square.
    """
    height, width = at[0].shape
    rows, columns = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    grid = jnp.stack(jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij"), -1)
    middles = (grid.reshape(-1, 2) + 0.5) * BLOCK_PX - 0.5
    near = neighbours(middles, circles, within=BLOCK_PX * 2**-0.5, most=MOST)
    count = len(circles[1])
    block = _block(at[0], rows) * columns + _block(at[1], columns)

    def offer(index, state):
        best, owner = state
        candidate = near.ids[block, index]
        asked = jnp.where(candidate < count, value(*at, candidate), -jnp.inf)
        better = asked > best
        return jnp.where(better, asked, best), jnp.where(better, candidate, owner)

    nobody = jnp.full(at[0].shape, count, jnp.int32)
    nothing = jnp.full(at[0].shape, -jnp.inf, jnp.float32)
    _, owner = lax.fori_loop(0, near.ids.shape[1], offer, (nothing, nobody))
    place = jnp.floor(circles[0][:, 0]) * width + circles[0][:, 1]
    rank = jnp.argsort(jnp.argsort(place)).astype(jnp.int32)
    return jnp.append(rank, jnp.int32(at[0].size))[owner], near.dropped


def _block(position: Plane, blocks: int) -> Int[Array, "height width"]:
    return jnp.clip((position // BLOCK_PX).astype(jnp.int32), 0, blocks - 1)


def grid(shape: tuple[int, ...]) -> tuple[Plane, Plane]:
    """Row and column of every pixel, float32."""
    rows, columns = jnp.meshgrid(*(jnp.arange(n, dtype=jnp.float32) for n in shape), indexing="ij")
    return rows, columns
