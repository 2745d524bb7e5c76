"""Whole cells that a network sees, each given to the nucleus that lies deepest in it."""

from functools import reduce

import jax.numpy as jnp
from jax import lax
from jax.ops import segment_max, segment_min, segment_sum
from jaxtyping import Array

from profiler.segment.decoding.components import NEIGHBOURS
from profiler.segment.sizes import Seen
from profiler.shapes import Labels, Mask

NOBODY = jnp.iinfo(jnp.int32).max


def give_to_nuclei(seen: Seen, nuclei: Labels) -> Labels:
    """Name the cells that a network sees after the nuclei in them.

    A cell with several nuclei is shared out among them, every pixel going to the nucleus that is
    the fewest steps away inside the cell. A cell without a nucleus is nobody's, and a nucleus most
    of which lies in no cell is a cell of its own; nuclei are always part of their cell.

    Args:
        seen: The cells of one field, and how deep in them each pixel is.
        nuclei: 1 and up, consecutive, [height, width].

    Returns:
        Labels of the cells, with the ids of their nuclei.
    """
    parts, home = seen.labels, _homes(seen, nuclei)
    first, residents = _residents(home)
    alone = jnp.where(residents[parts] == 1, first[parts], 0)
    seeds = jnp.where((parts > 0) & (home[nuclei] == parts), nuclei, alone)
    shared = _share_out(seeds, parts, residents[parts] > 1)
    return jnp.where(nuclei > 0, nuclei, shared)


def _homes(seen: Seen, nuclei: Labels) -> Array:
    """The cell that each nucleus lies deepest in; 0 if most of it lies in none."""
    names, depth, parts = (x.ravel() for x in (nuclei, seen.maps.depth, seen.labels))
    inside = jnp.where(parts > 0, depth.astype(jnp.int32) + 1, 0)
    deepest = segment_max(inside, names, names.size + 1)
    at = (inside == deepest[names]) & (inside > 0)
    home = segment_max(jnp.where(at, parts, 0), names, names.size + 1)
    # One that only brushes a cell must not take a share of it.
    covered = segment_sum(jnp.where(parts > 0, 1, -1), names, names.size + 1) >= 0
    return jnp.where(covered, home, 0).at[0].set(0)


def _residents(home: Array) -> tuple[Array, Array]:
    """Of each cell the first nucleus, and how many there are; none in the background."""
    name, count = jnp.arange(len(home)), len(home)
    first = segment_min(jnp.where(home > 0, name, NOBODY), home, count)
    residents = segment_sum((home > 0).astype(jnp.int32), home, count)
    return first, residents


def _share_out(seeds: Labels, parts: Labels, ground: Mask) -> Labels:
    """Let seeds grow, a pixel a round, without leaving their part."""
    same = [_look(parts, step, 0) == parts for step in NEIGHBOURS]

    def grow(state):
        now, _ = state
        named = jnp.where(now > 0, now, NOBODY)
        offers = (
            jnp.where(is_same, _look(named, step, NOBODY), NOBODY)
            for step, is_same in zip(NEIGHBOURS, same, strict=True)
        )
        beside = reduce(jnp.minimum, offers)
        later = jnp.where(ground & (now == 0) & (beside < NOBODY), beside, now)
        return later, jnp.any(later != now)

    return lax.while_loop(lambda state: state[1], grow, (seeds, jnp.array(True)))[0]


def _look(plane: Labels, step: tuple[int, int], fill: int) -> Labels:
    """What lies one step away, `fill` beyond the border."""
    (dy, dx), (height, width) = step, plane.shape
    padded = jnp.pad(plane, 1, constant_values=fill)
    return lax.slice(padded, (1 + dy, 1 + dx), (1 + dy + height, 1 + dx + width))
