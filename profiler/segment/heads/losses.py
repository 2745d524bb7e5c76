"""Pieces that losses are made of."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def weighted_mean(values: Float[Array, "..."], weight: Float[Array, "..."]) -> Float[Array, ""]:
    """Mean of the values where they count; 0 where none does."""
    return jnp.where(weight > 0, values * weight, 0.0).sum() / jnp.maximum(weight.sum(), 1.0)


def entropy(logit: Array, truth: Array, weight: Array) -> Float[Array, ""]:
    """Binary cross-entropy."""
    return weighted_mean(optax.sigmoid_binary_cross_entropy(logit, truth), weight)
