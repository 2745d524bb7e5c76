"""Bring stains of any brightness to one scale before the network."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from profiler.segment.order import percentile
from profiler.shapes import Plane, Stains

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
    low, spread = jax.vmap(_range, in_axes=-1)(field.reshape(*field.shape[:2], -1))
    shape = (1, 1, *field.shape[2:])
    scaled = (field - low.reshape(shape)) / spread.reshape(shape)
    return jnp.clip(scaled, -1.0, CEILING)


def _range(plane: Plane) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """What becomes 0, and how far what becomes 1 lies above it."""
    sample = plane[::2, ::2]
    low, high = percentile(sample, LOW), percentile(sample, HIGH)
    high = jnp.where(high > low, high, sample.max())
    return low, jnp.where(high > low, high - low, jnp.inf)
