"""How a stain's crop is shown to the network: its pattern, its brightness, or both."""

import jax.numpy as jnp
from jaxtyping import Array, Float

DARK = 1 / 255  # where the logarithm of brightness begins to rise, one step of 8 bits
FLAT = 1e-4  # less spread than this is no pattern

Plane = Float[Array, "batch side side 1"]
Planes = Float[Array, "batch side side plane"]


def pattern(crops: Plane) -> Planes:
    """Mean 0 and variance 1 in each crop: nothing is left of exposure or stain strength."""
    centred = crops - crops.mean((1, 2), keepdims=True)
    spread = jnp.sqrt((centred**2).mean((1, 2), keepdims=True))
    return centred / jnp.maximum(spread, FLAT)


def brightness(crops: Plane) -> Planes:
    """Logarithm of the intensity, 0 to about 1: condensed and resting chromatin stay apart."""
    return jnp.log1p(jnp.maximum(crops, 0) / DARK) / jnp.log1p(1 / DARK)


def both(crops: Plane) -> Planes:
    """Pattern and brightness as two planes."""
    return jnp.concatenate([pattern(crops), brightness(crops)], axis=-1)


SCALES = {"both": (both, 2), "pattern": (pattern, 1), "brightness": (brightness, 1)}
