"""Nuclei that a network took apart, put together again where their joint says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import sigmoid
from jaxtyping import Array, Bool, Float, Int

from plates.errors import BadModel
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.joining.joints import Evidence, Joints
from profiler.shapes import Labels


@dataclass(frozen=True)
class Joining:
    """A logistic function of a joint's evidence, on a network's card.

    Attributes:
        evidence: Names of the numbers, as in `Evidence`.
        weights: Of each.
        intercept: Log odds where all are 0.
        threshold: Probability of being one nucleus above which two become one.
        joints: How many it was fitted on.
        within: How many of those were within one nucleus.
    """

    evidence: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    threshold: float
    joints: int
    within: int


def read_joining(card: Mapping[str, Any] | None, *, model: str) -> Joining | None:
    """Read a joining from a network's card; None where there is none.

    Raises:
        BadModel: It is damaged, or of other evidence than this program's.
    """
    if card is None:
        return None
    try:
        found = Joining(
            **{
                **card,
                "evidence": tuple(str(name) for name in card["evidence"]),
                "weights": tuple(float(weight) for weight in card["weights"]),
                "intercept": float(card["intercept"]),
                "threshold": float(card["threshold"]),
                "joints": int(card["joints"]),
                "within": int(card["within"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(model, f"it is damaged ({error})") from None
    numbers = [*found.weights, found.intercept, found.threshold]
    if not np.isfinite(numbers).all():
        raise _unusable(model, f"its numbers are {numbers}, not all of them finite")
    if found.evidence != Evidence._fields or len(found.weights) != len(found.evidence):
        listed = f"{', '.join(found.evidence)}; {len(found.weights)} weights"
        raise _unusable(model, f"it is of other evidence ({listed})")
    return found


def _unusable(model: str, problem: str) -> BadModel:
    return BadModel(
        f"The joining on the card of the model {model!r} cannot be used: {problem}; expected one "
        f"weight for each of {', '.join(Evidence._fields)}. Set the card's "
        '"joining" to null: nuclei stay as the network takes them apart then.'
    )


def probability(evidence: Evidence, joining: Joining) -> Float[Array, " joint"]:
    """How likely each joint is within one nucleus."""
    parts = zip(joining.weights, evidence, strict=True)
    return sigmoid(sum((weight * each for weight, each in parts), joining.intercept))


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
