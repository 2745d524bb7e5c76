"""Nuclei that a network took apart, put together again where their joint says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.joining.joints import Evidence, Joints
from profiler.segment.logistic import Logistic, Reading, probability, read_logistic
from profiler.shapes import Labels


@dataclass(frozen=True)
class Joining(Logistic):
    """A logistic function of a joint's `Evidence`, on a network's card.

    Attributes:
        threshold: Probability of being one nucleus above which two become one.
        joints: How many it was fitted on.
        within: How many of those were within one nucleus.
    """

    threshold: float
    joints: int
    within: int


def read_joining(card: Mapping[str, Any] | None, *, model: str) -> Joining | None:
    """Read a joining from a network's card; None where there is none.

    Raises:
        BadModel: It is damaged, or of other evidence than this program's.
    """
    others = {"threshold": float, "joints": int, "within": int}
    without = 'Set the card\'s "joining" to null: nuclei stay as the network takes them apart then.'
    reading = Reading("joining", model, Evidence._fields, others, without)
    return read_logistic(Joining, card, reading)


def join(nuclei: Nuclei, joints: Joints, joining: Joining, *, most: int) -> Nuclei:
    """Put nuclei together whose joint is likelier than the threshold within one nucleus.

    Args:
        nuclei: As a head decodes them, at most `most`.
        joints: Of these.
        joining: The network's own.
        most: Room for nuclei.

    Returns:
        Fewer nuclei, or as many, numbered by the first of those that each is made of.
    """
    within = joints.is_there & (probability(joints.evidence, joining) > joining.threshold)
    roots = _roots(joints, within, most=most)
    is_root = (roots == jnp.arange(most + 1)) & (jnp.arange(most + 1) <= nuclei.count)
    numbers = jnp.cumsum(is_root.at[0].set(False), dtype=jnp.int32)
    labels: Labels = numbers[roots][nuclei.labels]
    return Nuclei(labels, numbers[-1], nuclei.dropped)


def _roots(joints: Joints, within: Bool[Array, " joint"], *, most: int) -> Int[Array, " label"]:
    """The smallest label of those that each is joined with, by pointer jumping."""
    low = jnp.where(within, joints.low, 0)
    high = jnp.where(within, joints.high, 0)

    def improve(state):
        roots, _ = state
        least = jnp.minimum(roots[low], roots[high])
        later = roots.at[low].min(least).at[high].min(least)
        later = later[later]
        return later, jnp.any(later != roots)

    start = (jnp.arange(most + 1, dtype=jnp.int32), jnp.array(True))
    return lax.while_loop(lambda state: state[1], improve, start)[0]
