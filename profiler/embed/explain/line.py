"""What is explained: a number that is linear in a cell's vector."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from plates.errors import BadModel, lookup
from profiler.embed.network.build import Classifier, Model
from profiler.embed.network.config import ModelConfig
from profiler.embed.network.encoder import Vectors


class Line(NamedTuple):
    """A class's logit, or how far along a direction a cell lies.

    Attributes:
        weights: Of the vector's features.
        offset: Added to their sum.
    """

    weights: Float[Array, " feature"]
    offset: Float[Array, ""]

    def __call__(self, vectors: Vectors) -> Float[Array, " batch"]:
        """Place vectors on the line."""
        return vectors @ self.weights + self.offset


def class_line(model: Model, config: ModelConfig, name: str) -> Line:
    """Explain a class by its logit, before the softmax.

    Args:
        model: A classifier.
        config: What it is.
        name: Of the class.

    Raises:
        BadModel: The model has no classes.
        UnknownName: It has others.
    """
    if not isinstance(model.head, Classifier):
        raise BadModel(
            f"There is no class {name!r}: the model is an encoder without classes. Ask for a "
            "direction of its vectors instead, or train a classifier."
        )
    known = {each: number for number, each in enumerate(config.classes)}
    number = lookup(known, kind="class of the model", name=name)
    linear = model.head.linear
    offset = 0.0 if linear.bias is None else linear.bias[...][number]
    return Line(linear.kernel[...][:, number], jnp.asarray(offset, jnp.float32))


def direction_line(
    direction: Float[np.ndarray, " feature"], *, origin: float = 0.0, scale: float = 1.0
) -> Line:
    """Explain how far along a direction of the vectors a cell lies.

    Args:
        direction: From one mean to another, say; its length does not matter.
        origin: Where on the line is 0, in the unit of the vectors.
        scale: What counts as 1 on it, likewise.

    Raises:
        BadModel: The direction has no length, or is not finite.

    >>> line = direction_line(np.array([3.0, 4.0], np.float32), origin=1.0, scale=2.0)
    >>> float(line(jnp.array([[3.0, 4.0]], jnp.float32))[0])
    2.0
    """
    length = float(np.linalg.norm(direction))
    if not np.isfinite(length) or length == 0 or not scale > 0:
        raise BadModel(
            f"A direction of length {length:g} and scale {scale:g} leads nowhere: do the two sides "
            "have the same mean? Its length and scale must be above 0 and finite."
        )
    weights = jnp.asarray(np.asarray(direction, np.float64) / (length * scale), jnp.float32)
    return Line(weights, jnp.float32(-origin / scale))
