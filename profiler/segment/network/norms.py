"""Normalisations that leave a network translation-equivariant, so that tiles are exact."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

GROUP = 8  # features; a pixel alone has nothing but them to be normalised by
EPSILON = 1e-5

Features = Float[Array, "batch height width feature"]


class GroupNorm(nnx.Module):
    """Wu & He 2018 (arXiv:1803.08494), over the groups of each pixel, not of the field.

    What lies elsewhere in a field must not matter to a pixel.
    """

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        self.groups = max(1, features // GROUP)
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: Features) -> Features:
        """Bring the features of each group of each pixel to mean 0 and variance 1."""
        groups = x.reshape(*x.shape[:-1], self.groups, -1)
        middle = groups.mean(-1, keepdims=True)
        spread = jnp.sqrt(groups.var(-1, keepdims=True) + EPSILON)
        normal = ((groups - middle) / spread).reshape(x.shape)
        return normal * self.scale[None, None, None] + self.bias[None, None, None]


NORMS = {
    # Running averages at inference: it costs nothing there.
    "batch": partial(nnx.BatchNorm, momentum=0.95),
    "group": GroupNorm,
}
