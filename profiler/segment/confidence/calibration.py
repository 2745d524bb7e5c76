"""From evidence to a probability, by a logistic function that the network's card holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid

from plates.errors import BadModel
from profiler.segment.confidence.evidence import Evidence, PerNucleus


@dataclass(frozen=True)
class Calibration:
    """A logistic function of the evidence.

    Attributes:
        evidence: Names of the numbers, as in `Evidence`.
        weights: Of each.
        intercept: Log odds where all are 0.
        objects: How many it was fitted on.
        wrong: How many of those were wrong.
        error: Expected calibration error on images left out of the fit in turn; None if all are
            of one image.
    """

    evidence: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    objects: int
    wrong: int
    error: float | None


def read_calibration(card: Mapping[str, Any] | None, *, model: str) -> Calibration | None:
    """Read a calibration from a network's card; None where there is none.

    Raises:
        BadModel: It is damaged, or of other evidence than this program's.
    """
    if card is None:
        return None
    try:
        found = Calibration(
            **{
                **card,
                "evidence": tuple(str(name) for name in card["evidence"]),
                "weights": tuple(float(weight) for weight in card["weights"]),
                "intercept": float(card["intercept"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(model, f"it is damaged ({error})") from None
    numbers = [*found.weights, found.intercept]
    if not np.isfinite(numbers).all():  # no confidence would be known then, without a word
        raise _unusable(model, f"its weights and intercept are {numbers}, not all of them finite")
    if found.evidence != Evidence._fields or len(found.weights) != len(found.evidence):
        listed = f"{', '.join(found.evidence)}; {len(found.weights)} weights"
        raise _unusable(model, f"it is of other evidence ({listed})")
    return found


def _unusable(model: str, problem: str) -> BadModel:
    return BadModel(
        f"The calibration on the card of the model {model!r} cannot be used: {problem}; expected "
        f"one weight for each of {', '.join(Evidence._fields)}. Train again, or set the card's "
        '"calibration" to null: confidences are null then.'
    )


def probability(evidence: Evidence, calibration: Calibration | None) -> PerNucleus:
    """How likely each nucleus is right; NaN where there is no nucleus or no calibration."""
    if calibration is None:
        return jnp.full_like(evidence.inside, jnp.nan)
    parts = zip(calibration.weights, evidence, strict=True)
    return sigmoid(sum((weight * each for weight, each in parts), calibration.intercept))
