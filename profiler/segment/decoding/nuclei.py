"""From pixels that know their nucleus by a flat index, its root, to numbered nuclei."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.ops import segment_max, segment_sum
from jaxtyping import Array, Bool, Float, Int

from profiler.segment.decoding.components import components
from profiler.shapes import Labels, Mask, Plane

Roots = Int[Array, "height width"]  # flat index of each pixel's nucleus; `size` for none


class Nuclei(NamedTuple):
    """The nuclei of one field.

    Attributes:
        labels: 1 to `count` in reading order of their roots, 0 background.
        count: How many there are, however few rows later stages have.
        dropped: Candidates that were not looked at, because a field of this size has room
            for fewer; if not 0, nuclei may be missing.
    """

    labels: Labels
    count: Int[Array, ""]
    dropped: Int[Array, ""]


def spread(roots: Roots, ground: Mask) -> Roots:
    """Let nuclei grow, a pixel a round, into ground that has no root yet."""
    size = roots.size

    def grow(state):
        now, _ = state
        beside = lax.reduce_window(now, size, lax.min, (3, 3), (1, 1), "SAME")
        later = jnp.where(ground & (now == size), beside, now)
        return later, jnp.any(later != now)

    return lax.while_loop(lambda state: state[1], grow, (roots, jnp.array(True)))[0]


def rescue(roots: Roots, ground: Mask, height: Plane, *, least: float) -> Roots:
    """Make a nucleus of every stretch of ground that has no root, if it peaks above `least`."""
    size = roots.size
    alone = components(ground & (roots == size))
    peak = segment_max(height.ravel(), alone, size + 1)
    kept = jnp.where(peak[alone] > least, alone, size).reshape(roots.shape)
    return jnp.where(roots == size, kept, roots)


def number(roots: Roots, *, min_area_px: int, dropped: Int[Array, ""] | int = 0) -> Nuclei:
    """Number the roots from 1 in reading order, without specks."""
    flat, size = roots.ravel(), roots.size
    area = segment_sum(jnp.ones_like(flat), flat, size + 1)[:-1]
    kept = area >= min_area_px
    ids = jnp.where(kept, jnp.cumsum(kept, dtype=jnp.int32), 0)
    labels = jnp.append(ids, jnp.int32(0))[flat]
    return Nuclei(labels.reshape(roots.shape), kept.sum(dtype=jnp.int32), jnp.int32(dropped))


def smooth(plane: Float[Array, "height width"]) -> Float[Array, "height width"]:
    """Mean of each 3x3 neighbourhood, zeros beyond the border."""
    return lax.reduce_window(plane, 0.0, lax.add, (3, 3), (1, 1), "SAME") / 9.0


def connected(mask: Bool[Array, "height width"]) -> Roots:
    """Roots of the 8-connected components of a mask."""
    return components(mask).reshape(mask.shape)
