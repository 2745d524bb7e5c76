"""What passes from the layers to losses and decoding, and the geometry both share."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

STRIDES = (4, 8, 16)  # pixels between the places of each level that predicts boxes
BASES = 8  # maps of the field that masks are mixed from
TERMS = 6  # of the position in a box: 1, u, v, u², uv, v²
ELLIPSE = 3.0  # a mask starts as the ellipse in its box, this high


class Level(NamedTuple):
    """Boxes predicted at the places of one stride.

    Attributes:
        present: Logit of a nucleus whose middle is near.
        sides: Distance from the place to the top, left, bottom and right side, pixels.
        mix: How the nucleus's mask is mixed: of `BASES` maps, then of `TERMS`.
    """

    present: Float[Array, "*batch _ _"]
    sides: Float[Array, "*batch _ _ 4"]
    mix: Float[Array, "*batch _ _ _"]


class Prediction(NamedTuple):
    """What a network says of a field: boxes at three strides, and maps at full resolution."""

    levels: tuple[Level, ...]
    bases: Float[Array, "*batch height width _"]


def places(shape: tuple[int, ...], stride: int) -> Float[Array, "rows columns 2"]:
    """Rows and columns, in pixels of the field, of the places of a level."""
    at = [stride * jnp.arange(n, dtype=jnp.float32) + (stride - 1) / 2 for n in shape]
    return jnp.stack(jnp.meshgrid(*at, indexing="ij"), -1)


def mask_logit(
    bases: Float[Array, "*place base"],
    mix: Float[Array, "*place term"],
    u: Float[Array, "*place"],
    v: Float[Array, "*place"],
) -> Float[Array, "*place"]:
    """Logit of belonging to the nucleus of a box, from -1 to 1 in u and v inside the box.

    Source:
        A filter of its own for each instance over shared maps and relative positions, as
        CondInst (arXiv:2003.05664) with one linear layer, or YOLACT (arXiv:1904.02689).
    """
    terms = (jnp.ones_like(u), u, v, u * u, u * v, v * v)
    shape = sum(mix[..., BASES + i] * term for i, term in enumerate(terms))
    return (bases * mix[..., :BASES]).sum(-1) + shape + ELLIPSE * (1.0 - u * u - v * v)
