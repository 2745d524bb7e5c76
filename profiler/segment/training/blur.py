"""Gaussian blur of a plane by a width that is drawn, on the device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

REACH = 4  # pixels, over twice the widest sigma that is asked for


def blurred(
    plane: Float[Array, "size size"], sigma: float | Float[Array, ""]
) -> Float[Array, "size size"]:
    """Gaussian blur of any width in one program; a tiny sigma leaves the plane as it is."""
    steps = jnp.arange(-REACH, REACH + 1)
    taps = jnp.exp(-0.5 * (steps / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (REACH, REACH)
        padded = jnp.pad(plane, pad, mode="edge")
        length = plane.shape[axis]
        parts = [
            tap * jax.lax.slice_in_dim(padded, start, start + length, axis=axis)
            for start, tap in enumerate(taps)
        ]
        plane = jnp.stack(parts).sum(0)
    return plane
