"""Bring stains of any brightness to one scale before the network."""

import jax.numpy as jnp

from profiler.shapes import Stains

LOW, HIGH = 1.0, 99.8  # percentiles, as StarDist normalises
CEILING = 4.0  # a speck of dust must not dominate the activations


def normalise(field: Stains) -> Stains:
    """Map the 1st percentile of each stain of a field to 0 and the 99.8th to 1.

    Args:
        field: Any unit, [height, width] or [height, width, channel].

    Returns:
        The field on the network's scale, clipped to -1 to 4; zeros where a stain
        is constant. Percentiles are those of every second pixel in each direction; where nearly all
        of these are alike, as on a background cut off at 0, their largest stands for 1.
    """
    sample = field[::2, ::2]
    wanted = jnp.array([LOW, HIGH], field.dtype)
    low, high = jnp.percentile(sample, wanted, axis=(0, 1), keepdims=True)
    high = jnp.where(high > low, high, sample.max(axis=(0, 1), keepdims=True))
    spread = jnp.where(high > low, high - low, jnp.inf)
    return jnp.clip((field - low) / spread, -1.0, CEILING)
