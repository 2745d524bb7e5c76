"""Which candidates are near a place, as lists of a fixed length."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

ROWS = 256  # distances worked out at once, so that no table of all pairs is ever held

Points = Float[Array, "_ 2"]


class Neighbours(NamedTuple):
    """For each place, the candidates that its surroundings touch, the nearest first.

    Attributes:
        ids: [place, most]; the number of candidates where the list is shorter.
        dropped: Of the longest list, what found no room.
    """

    ids: Int[Array, "place most"]
    dropped: Int[Array, ""]


def neighbours(
    places: Points,
    circles: tuple[Points, Float[Array, " candidate"]],
    *,
    within: float | Float[Array, " place"],
    most: int,
    only_before: bool = False,
) -> Neighbours:
    """List the candidates whose circles come within a distance of each place.

    Args:
        places: Rows and columns.
        circles: Centres and radii of the candidates; -inf for those that do not count.
        within: Distance from the circle, pixels.
        most: Length of the lists.
        only_before: Whether place i is candidate i, and only those before it are listed.
    """
    centres, radii = circles
    count = len(radii)
    most = min(most, count)
    order = jnp.arange(len(places), dtype=jnp.int32)

    def one(row):
        index, place, limit = row
        away = jnp.sqrt(((centres - place[None]) ** 2).sum(-1)) - radii
        near = away <= limit
        near &= (jnp.arange(count) < index) | (not only_before)
        gap, ids = lax.top_k(jnp.where(near, -away, -jnp.inf), most)
        listed = jnp.where(jnp.isfinite(gap), ids, count).astype(jnp.int32)
        return listed, near.sum(dtype=jnp.int32)

    limits = jnp.broadcast_to(jnp.asarray(within, places.dtype), order.shape)
    ids, found = lax.map(one, (order, places, limits), batch_size=min(ROWS, len(places)))
    return Neighbours(ids, jnp.maximum(found.max() - most, 0))


def survivors(
    over: Bool[Array, "candidate most"], listed: Int[Array, "candidate most"]
) -> Bool[Array, " candidate"]:
    """Greedy non-maximum suppression, all candidates at once.

    Candidate i stays if no better one that stays covers it. Round t is right for the t
    best, and in practice all are after fewer than ten rounds.

    Args:
        over: Whether the listed candidate covers too much of this one.
        listed: Better candidates near each one, from `neighbours(..., only_before=True)`.

    Source:
        The fixed point of greedy suppression, as Matrix NMS (SOLOv2, arXiv:2003.10152) makes
        one round of; checked against the greedy loop in tests/segment/decoding.
    """
    everyone = jnp.ones(len(listed), bool)

    def judge(state):
        now, _ = state
        judges = jnp.append(now, jnp.array(False))[listed]
        later = ~(over & judges).any(-1)
        return later, jnp.any(later != now)

    return lax.while_loop(lambda state: state[1], judge, (everyone, jnp.array(True)))[0]
