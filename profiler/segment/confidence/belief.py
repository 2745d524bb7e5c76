"""What a network believes of every pixel, whatever its head: two maps, and their bytes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

MOST = 255  # what a byte holds


class Belief(NamedTuple):
    """Two maps that every head can draw from its prediction; one may stand for both.

    Attributes:
        foreground: Probability of belonging to any nucleus, 0 to 1, at the field's resolution or
            a coarser one.
        depth: How far inside its nucleus a pixel is: 0 at the edge, 1 at the middle.
    """

    foreground: Float[Array, "rows columns"]
    depth: Float[Array, "rows columns"]


class Maps(NamedTuple):
    """A belief in bytes at the field's resolution: whole numbers add up alike on every device."""

    foreground: UInt8[Array, "height width"]
    depth: UInt8[Array, "height width"]


def as_maps(belief: Belief, shape: tuple[int, ...]) -> Maps:
    """Bring a belief to the field's resolution, and round it to bytes."""
    return Maps(*(_bytes(_to(each, shape)) for each in belief))


def _to(values: Any, shape: tuple[int, ...]) -> Any:
    return values if values.shape == shape else jax.image.resize(values, shape, "linear")


def _bytes(values: Any) -> Any:
    return jnp.round(MOST * jnp.clip(values, 0.0, 1.0)).astype(jnp.uint8)
