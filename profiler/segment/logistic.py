"""A logistic function of evidence that a network's card holds: read and applied alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jax.nn import sigmoid

from plates.errors import BadModel


@dataclass(frozen=True)
class Logistic:
    """Log odds that are a weighted sum.

    Attributes:
        evidence: Names of the numbers that are weighed.
        weights: Of each.
        intercept: Log odds where all are 0.
    """

    evidence: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float


Kind = TypeVar("Kind", bound=Logistic)


@dataclass(frozen=True)
class Reading:
    """What a card must hold.

    Attributes:
        what: The card's name for it.
        model: The network's.
        evidence: Names that this program weighs.
        others: Fields of its own -> how each is read.
        without: What a person can do about a damaged one.
    """

    what: str
    model: str
    evidence: tuple[str, ...]
    others: Mapping[str, Callable[[Any], Any]]
    without: str

    def unusable(self, problem: str) -> BadModel:
        """The error that says what is wrong with it."""
        return BadModel(
            f"The {self.what} on the card of the model {self.model!r} cannot be used: {problem}; "
            f"expected one weight for each of {', '.join(self.evidence)}. {self.without}"
        )


def read_logistic(
    kind: type[Kind], card: Mapping[str, Any] | None, reading: Reading
) -> Kind | None:
    """Read a logistic function from a network's card; None where there is none.

    Raises:
        BadModel: It is damaged, or of other evidence than this program's.
    """
    if card is None:
        return None
    try:
        names = tuple(str(name) for name in card["evidence"])
        read = {
            "weights": tuple(float(weight) for weight in card["weights"]),
            "intercept": float(card["intercept"]),
            **{name: as_kind(card[name]) for name, as_kind in reading.others.items()},
        }
        found = kind(**{**card, **read, "evidence": names})
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise reading.unusable(f"it is damaged ({error})") from None
    numbers = [*found.weights, *(each for each in read.values() if isinstance(each, float))]
    if not np.isfinite(numbers).all():  # nothing would be known then, without a word
        raise reading.unusable(f"its numbers are {numbers}, not all of them finite")
    if names != reading.evidence or len(found.weights) != len(names):
        listed = f"{', '.join(names)}; {len(found.weights)} weights"
        raise reading.unusable(f"it is of other evidence ({listed})")
    return found


def probability(evidence: Sequence[Any], function: Logistic) -> Any:
    """Of each row of evidence, a column for each weight."""
    parts = zip(function.weights, evidence, strict=True)
    return sigmoid(sum((weight * each for weight, each in parts), function.intercept))
