"""From evidence to a probability, by a logistic function that the network's card holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from profiler.segment import logistic
from profiler.segment.confidence.evidence import Evidence, PerNucleus
from profiler.segment.logistic import Logistic, Reading, read_logistic


@dataclass(frozen=True)
class Calibration(Logistic):
    """A logistic function of a nucleus's `Evidence`.

    Attributes:
        objects: How many it was fitted on.
        wrong: How many of those were wrong.
        error: Expected calibration error on images left out of the fit in turn; None if all are
            of one image.
    """

    objects: int
    wrong: int
    error: float | None


def read_calibration(card: Mapping[str, Any] | None, *, model: str) -> Calibration | None:
    """Read a calibration from a network's card; None where there is none.

    Raises:
        BadModel: It is damaged, or of other evidence than this program's.
    """
    others = {"objects": int, "wrong": int}
    without = 'Train again, or set the card\'s "calibration" to null: confidences are null then.'
    reading = Reading("calibration", model, Evidence._fields, others, without)
    return read_logistic(Calibration, card, reading)


def probability(evidence: Evidence, calibration: Calibration | None) -> PerNucleus:
    """How likely each nucleus is right; NaN where there is no nucleus or no calibration."""
    if calibration is None:
        return jnp.full_like(evidence.inside, jnp.nan)
    return logistic.probability(evidence, calibration)
