"""How much of a map lies in the cell, beside how much of the crop the cell is."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from profiler.embed.explain.gradients import ByPixel
from profiler.embed.explain.occlude import Masks


def share_inside(attribution: ByPixel, inside: Masks) -> Float[Array, " batch"]:
    """Share of a map's absolute values in the cell's pixels, all stains together.

    What speaks for and what speaks against count alike. A network that looks anywhere gets
    `share_of_mask`; one that looks at the neighbours, less.

    Returns:
        0 to 1; NaN where the map is 0 throughout.

    Source:
        Grad-CAMO's score (arXiv:2403.17615), for maps with a sign.
    """
    mass = jnp.abs(attribution).sum(-1)
    total = mass.sum((1, 2))
    found = jnp.where(inside, mass, 0.0).sum((1, 2))
    return jnp.where(total > 0, found / jnp.where(total > 0, total, 1.0), jnp.nan)


def share_of_mask(inside: Masks) -> Float[Array, " batch"]:
    """Share of the crop's pixels that are the cell's."""
    return inside.mean((1, 2), dtype=jnp.float32)
