"""Bring stains of any brightness to one scale before the network."""

import jax.numpy as jnp

from profiler.shapes import Plane

LOW, HIGH = 1.0, 99.8  # percentiles, as StarDist normalises
CEILING = 4.0  # a speck of dust must not dominate the activations


def normalise(plane: Plane) -> Plane:
    """Map the 1st percentile of a field to 0 and the 99.8th to 1.

    Args:
        plane: One channel of one field, any unit, [height, width].

    Returns:
        The plane on the network's scale, clipped to -1 to 4; zeros where the field
        is constant. Percentiles are those of every second pixel in each direction.
    """
    sample = plane[::2, ::2].ravel()
    low, high = jnp.percentile(sample, jnp.array([LOW, HIGH], plane.dtype))
    spread = jnp.where(high > low, high - low, jnp.inf)
    return jnp.clip((plane - low) / spread, -1.0, CEILING)
