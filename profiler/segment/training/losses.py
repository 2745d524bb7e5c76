"""What training minimises."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from profiler.segment.prediction import Prediction

DISTANCE_WEIGHT = 3.0  # brings both losses to one size after a few hundred steps


class Losses(NamedTuple):
    """What is minimised: the sum of these."""

    foreground: Float[Array, ""]
    distance: Float[Array, ""]


def losses(
    predicted: Prediction, target: Prediction, weight: Float[Array, "batch height width"]
) -> Losses:
    """Compare a prediction with the truth.

    Args:
        predicted: By the network.
        target: The truth.
        weight: Of each pixel; pixels of weight 0 are ignored, whatever is in them.

    Returns:
        Weighted means. Distance errors weigh twice inside nuclei: the background is easy,
        and most of the field.
    """
    entropy = optax.sigmoid_binary_cross_entropy(predicted.foreground, target.foreground)
    error = optax.huber_loss(predicted.distance, target.distance, delta=0.1) / 0.1
    inside = weight * (1.0 + target.foreground)
    return Losses(_mean(entropy, weight), DISTANCE_WEIGHT * _mean(error, inside))


def _mean(values: Array, weight: Array) -> Float[Array, ""]:
    return (values * weight).sum() / jnp.maximum(weight.sum(), 1.0)
