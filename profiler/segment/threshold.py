"""Where a stain ends and the background begins, for one field."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from profiler.shapes import Plane

BINS = 512


def otsu(plane: Plane) -> Float[Array, ""]:
    """Maximise the variance between the two classes.

    Source:
        Otsu 1979; checked against skimage.filters.threshold_otsu.
    """
    weight, value = _histogram(plane)
    below, above, mean_below, mean_above = _classes(weight, value)
    return _cut(value, below * above * (mean_below - mean_above) ** 2)


def minimum_cross_entropy(plane: Plane) -> Float[Array, ""]:
    """Minimise the cross-entropy between the plane and its two-level version.

    CellProfiler's default. Every cut of a histogram is tried, so that the result does
    not depend on a starting point.

    Source:
        Li & Lee 1993; checked against skimage.filters.threshold_li.
    """
    weight, value = _histogram(plane)
    shifted = value - value[0] + (value[1] - value[0])  # logarithms need positive values
    below, above, mean_below, mean_above = _classes(weight, shifted)
    gain = below * mean_below * jnp.log(mean_below) + above * mean_above * jnp.log(mean_above)
    return _cut(value, gain)


THRESHOLDS = {"minimum_cross_entropy": minimum_cross_entropy, "otsu": otsu}


def _histogram(plane: Plane) -> tuple[Float[Array, " bin"], Float[Array, " bin"]]:
    low, high = plane.min(), plane.max()
    step = jnp.maximum(high - low, 1e-12) / BINS
    index = jnp.clip(((plane - low) / step).astype(jnp.int32), 0, BINS - 1)
    weight = jnp.bincount(index.ravel(), length=BINS).astype(plane.dtype)
    return weight, low + step * (jnp.arange(BINS, dtype=plane.dtype) + 0.5)


def _classes(weight, value):
    """Share and mean of the pixels below and above each cut between two bins."""
    share = weight / weight.sum()
    below, first = jnp.cumsum(share)[:-1], jnp.cumsum(share * value)[:-1]
    above, second = 1.0 - below, (share * value).sum() - first
    return below, above, _mean(first, below), _mean(second, above)


def _mean(total, share):
    return jnp.maximum(total, 1e-12) / jnp.maximum(share, 1e-12)


def _cut(value: Float[Array, " bin"], criterion: Array) -> Float[Array, ""]:
    """Middle between the two bins of the best cut."""
    best = jnp.argmax(criterion)
    return (value[best] + value[best + 1]) / 2
