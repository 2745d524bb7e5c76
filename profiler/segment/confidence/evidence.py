"""What speaks for each nucleus: sums over its pixels and edges, and four numbers made of them.

All sums are of whole numbers, so that their order does not matter: a nucleus has the same evidence
in every batch, and the kernel for accelerators here agrees with that for CPUs to the last bit.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.ops import segment_sum
from jaxtyping import Array, Float, Num

from profiler.segment.confidence.belief import MOST, Maps
from profiler.shapes import Labels

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # a pixel's four neighbours
PerNucleus = Float[Array, " nucleus"]
_Count = Num[Array, " nucleus"]


class Sums(NamedTuple):
    """Sums over the pixels of each nucleus, row i those of label i + 1, uint32.

    A side of a pixel counts where the pixel beyond it is not of the same nucleus.

    Attributes:
        area: Pixels.
        foreground: The map's bytes.
        depth: The map's bytes.
        depth_squared: Their squares over 255, each rounded down.
        sides: Sides, those at the field's border too.
        wall: The depth's bytes at sides towards another nucleus.
    """

    area: _Count
    foreground: _Count
    depth: _Count
    depth_squared: _Count
    sides: _Count
    wall: _Count


class Evidence(NamedTuple):
    """What speaks for or against each nucleus, whatever its size; NaN where there is none.

    Attributes:
        inside: Log odds of the mean foreground within.
        relief: Standard deviation of the depth: low if it does not fall from middle to edge.
        outline: Logarithm of the perimeter over the square root of the area: 1.4 for a square,
            more for what is ragged or long.
        wall: Depth at the sides shared with other nuclei, over the whole perimeter: high where
            the network sees no edge between two.
    """

    inside: PerNucleus
    relief: PerNucleus
    outline: PerNucleus
    wall: PerNucleus


def most_nuclei(pixels: int, min_area_px: int) -> int:
    """Nuclei that a field has room for, as none is smaller than a speck.

    >>> most_nuclei(100, 25)
    4
    """
    return max(pixels // min_area_px, 1)


def add_up(labels: Labels, maps: Maps, *, most: int) -> Sums:
    """Sum over each nucleus, on an accelerator; see `add_up_cpu` for CPUs.

    Args:
        labels: At most `most`, [height, width].
        maps: The network's belief.
        most: Rows to return.
    """
    foreground, depth = (each.astype(jnp.uint32) for each in maps)
    sides = walls = jnp.zeros(labels.shape, jnp.uint32)
    for dy, dx in SIDES:
        other = _beside(labels, dy, dx)
        differs = other != labels
        sides += differs.astype(jnp.uint32)
        walls += (differs & (other > 0)).astype(jnp.uint32)

    owner = labels.ravel()

    def total(values: Array) -> Array:
        return segment_sum(values.ravel(), owner, most + 1)[1:]

    return Sums(
        total(jnp.ones_like(sides)),
        total(foreground),
        total(depth),
        total(depth * depth // MOST),
        total(sides),
        total(walls * depth),
    )


def _beside(labels: Labels, dy: int, dx: int) -> Labels:
    """The label `dy` rows down and `dx` columns right; -1 beyond the border."""
    padded = jnp.pad(labels, 1, constant_values=-1)
    height, width = labels.shape
    return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


def weigh(sums: Sums) -> Evidence:
    """Make evidence of sums."""
    one = Sums(*(each.astype(jnp.float32) for each in sums))
    area, sides = (jnp.where(one.area > 0, each, jnp.nan) for each in (one.area, one.sides))
    inside = 0.01 + 0.98 * one.foreground / area / MOST
    depth, squared = one.depth / area / MOST, one.depth_squared / area / MOST
    return Evidence(
        inside=jnp.log(inside) - jnp.log1p(-inside),
        relief=jnp.sqrt(jnp.maximum(squared - depth**2, 0.0)),
        outline=jnp.log(sides / jnp.sqrt(area)),
        wall=one.wall / sides / MOST,
    )
