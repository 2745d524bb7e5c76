"""Where nuclei may be: the strongest local maxima of a map, a fixed number of them."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from profiler.segment.decoding.components import components
from profiler.shapes import Plane

ROOM_PX = 256  # pixels of a field for each candidate: at the trained 28 px a nucleus has 600


class Candidates(NamedTuple):
    """The best candidates of one field, by falling score.

    Attributes:
        index: Flat index of the pixel; 0 where there is none.
        score: Height of the maximum; -inf where there is none.
        dropped: Maxima that found no room.
    """

    index: Int[Array, " candidate"]
    score: Float[Array, " candidate"]
    dropped: Int[Array, ""]

    @property
    def present(self) -> Bool[Array, " candidate"]:
        """Which rows hold a candidate."""
        return jnp.isfinite(self.score)


def room(size: int) -> int:
    """Candidates that a field of so many pixels has room for."""
    return max(size // ROOM_PX, min(size, 32))


def peaks(score: Plane, *, above: float, radius: int, most: int) -> Candidates:
    """Find the local maxima of a map.

    Args:
        score: One field.
        above: Lower maxima do not count.
        radius: Half the side of the square in which a maximum is the highest, pixels.
        most: Candidates to return.

    Returns:
        By falling score; equal scores in reading order. A plateau is one candidate.
    """
    window = (2 * radius + 1, 2 * radius + 1)
    highest = lax.reduce_window(score, -jnp.inf, lax.max, window, (1, 1), "SAME")
    plateau = components((score == highest) & (score > above))
    first = plateau == jnp.arange(score.size, dtype=jnp.int32)
    return strongest(jnp.where(first, score.ravel(), -jnp.inf), most=most)


def strongest(score: Float[Array, " place"], *, most: int) -> Candidates:
    """Keep the highest finite scores of many."""
    found = jnp.isfinite(score).sum(dtype=jnp.int32)
    best, index = lax.top_k(score, most)
    index = jnp.where(jnp.isfinite(best), index, 0)
    return Candidates(index.astype(jnp.int32), best, jnp.maximum(found - most, 0))
