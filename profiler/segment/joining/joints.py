"""What speaks for each joint, the border of two nuclei that touch, lying within one nucleus.

All sums are of whole numbers, so that their order does not matter: a joint has the same sums in
every batch and on every device, and evidence that differs by rounding alone.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.ops import segment_max, segment_min, segment_sum
from jaxtyping import Array, Bool, Float, Int, UInt8

from profiler.segment.confidence.belief import MOST, Maps
from profiler.shapes import Labels, Stains

PIXELS_PER_SIDE = 2  # there is room for more sides than a field tiled by the least squares has
BRIGHTEST = 2.0  # of the normalised stain: what is brighter counts as that
AROUND = 9  # pixels of a 3 x 3 neighbourhood

Grey = UInt8[Array, "height width"]
PerJoint = Float[Array, " joint"]
_Whole = Int[Any, " joint"]


class Evidence(NamedTuple):
    """What speaks for or against each joint lying within one nucleus.

    The network's maps and the stain are smoothed over 3 x 3 pixels; at a side between two pixels
    of two nuclei, the mean of both counts.

    Attributes:
        depth_most: The network's depth at the deepest side: the pass between two hills.
        depth_mean: Mean of the sides.
        depth_least: At the shallowest.
        foreground_least: The network's foreground at the least sure side, unsmoothed.
        size_low: Root of the smaller nucleus's area, in pixels as the network sees them.
        size_high: Of the larger's.
        chord: Diagonal of the box around the border, over the root of the smaller area.
        valley: Brightness of the darkest side over the mean of the darker nucleus.
        contrast: What the darker nucleus lacks of the brighter one's mean, as a share of that.
        apart: Distance between the nuclei's middles over the root of the area of both.
        sides: Logarithm of how many sides there are.
    """

    depth_most: PerJoint
    depth_mean: PerJoint
    depth_least: PerJoint
    foreground_least: PerJoint
    size_low: PerJoint
    size_high: PerJoint
    chord: PerJoint
    valley: PerJoint
    contrast: PerJoint
    apart: PerJoint
    sides: PerJoint


class Sums(NamedTuple):
    """Whole numbers about each joint, int32; a row whose `high` is 0 is none.

    Attributes:
        low: The smaller label.
        high: The larger.
        count: Sides.
        deep: Sums of the depth's bytes around both pixels of a side: [joint, most, sum, least].
        sure: The foreground's bytes of both pixels, least.
        bright: Sum of the grey levels around both pixels, least.
        box: Height and width of the box around both pixels of all sides, [joint, 2].
        nuclei: Of the smaller label and of the larger: area, and sums of its grey levels, rows
            and columns, [joint, 2, 4].
    """

    low: _Whole
    high: _Whole
    count: _Whole
    deep: Int[Any, "joint 3"]
    sure: _Whole
    bright: _Whole
    box: Int[Any, "joint 2"]
    nuclei: Int[Any, "joint 2 4"]


class Joints(NamedTuple):
    """The joints of one field.

    Attributes:
        low: The smaller label of each.
        high: The larger.
        is_there: Whether this row is a joint at all.
        evidence: Finite where it is one.
    """

    low: Int[Array, " joint"]
    high: Int[Array, " joint"]
    is_there: Bool[Array, " joint"]
    evidence: Evidence


class Pixels(NamedTuple):
    """What is looked at, [height, width] each.

    Attributes:
        labels: Of the nuclei.
        grey: Bytes of the stain, as `grey_of` makes them.
        maps: What the network believes.
    """

    labels: Labels
    grey: Grey
    maps: Maps


class _Sides(NamedTuple):
    """Sides between pixels of two nuclei, those of one joint in a row.

    Attributes:
        low: The smaller label; 0 where there is no side.
        high: The larger; likewise.
        one: Flat index of the pixel above or left.
        other: Of the one below or right.
    """

    low: Int[Array, " side"]
    high: Int[Array, " side"]
    one: Int[Array, " side"]
    other: Int[Array, " side"]


def grey_of(field: Stains) -> Grey:
    """Bytes of the first stain of a normalised field: 255 for what is `BRIGHTEST` or brighter."""
    plane = field.reshape(*field.shape[:2], -1)[..., 0]
    return jnp.round(MOST / BRIGHTEST * jnp.clip(plane, 0.0, BRIGHTEST)).astype(jnp.uint8)


def room_for(size: int) -> int:
    """Sides that are looked at in a field, the first ones in reading order.

    None but specks that all touch have more.
    """
    return max(size // PIXELS_PER_SIDE, 1)


def add_up(pixels: Pixels, *, most: int) -> Sums:
    """Find the nuclei that touch and sum over their sides; see `add_up_cpu` for CPUs.

    Args:
        pixels: At most `most` labels.
        most: Room for labels.

    Returns:
        As many rows as there is room for sides, by the smaller label, then the larger.
    """
    labels, grey, maps = pixels
    sides = _sides(labels)
    is_first = jnp.append(True, (jnp.diff(sides.low) != 0) | (jnp.diff(sides.high) != 0))
    rows = {"segment_ids": jnp.cumsum(is_first) - 1, "num_segments": len(is_first)}
    rows |= {"indices_are_sorted": True}

    def both(plane: Array) -> Array:
        flat = jnp.append(plane.ravel().astype(jnp.int32), 0)
        return flat[sides.one] + flat[sides.other]

    def span(one: Array, other: Array) -> Array:
        least = segment_min(jnp.minimum(one, other), **rows)
        return segment_max(jnp.maximum(one, other), **rows) - least + 1

    deep = both(_around(maps.depth))
    low, high = (segment_max(each, **rows).clip(0) for each in (sides.low, sides.high))
    of_label = _of_labels(labels, grey, most)
    ends = zip(
        *(jnp.divmod(each, labels.shape[1]) for each in (sides.one, sides.other)), strict=True
    )
    return Sums(
        low,
        high,
        segment_sum(jnp.ones_like(deep), **rows),
        jnp.stack([reduce(deep, **rows) for reduce in (segment_max, segment_sum, segment_min)], -1),
        segment_min(both(maps.foreground), **rows),
        segment_min(both(_around(grey)), **rows),
        jnp.stack([span(*each) for each in ends], axis=-1),
        jnp.stack([of_label[low], of_label[high]], axis=1),
    )


def _sides(labels: Labels) -> _Sides:
    width = labels.shape[1]
    flat = jnp.append(labels.ravel(), 0)
    below = jnp.pad(labels[1:], ((0, 1), (0, 0)))
    right = jnp.pad(labels[:, 1:], ((0, 0), (0, 1)))
    differs = [(labels > 0) & (other > 0) & (other != labels) for other in (below, right)]
    found = jnp.stack(differs, axis=-1).ravel()
    (place,) = jnp.nonzero(found, size=room_for(labels.size), fill_value=found.size)
    one = (place // 2).astype(jnp.int32)
    other = jnp.minimum(one + jnp.where(place % 2, 1, width), labels.size)
    pair = flat[one], flat[other]
    low, high = jnp.minimum(*pair), jnp.maximum(*pair)
    # Rows without a side go last, whatever labels there are.
    first = jnp.where(high > 0, low, labels.size + 1)
    _, high, low, one, other = lax.sort((first, high, low, one, other), num_keys=2)
    return _Sides(low, high, one, other)


def _of_labels(labels: Labels, grey: Array, most: int) -> Int[Array, "label 4"]:
    y, x = jnp.divmod(jnp.arange(labels.size, dtype=jnp.int32), labels.shape[1])
    values = jnp.ones_like(y), grey.ravel().astype(jnp.int32), y, x
    # One after the other: sums of rows of four are several times slower on a GPU.
    return jnp.stack([segment_sum(each, labels.ravel(), most + 1) for each in values], axis=-1)


def _around(plane: Array) -> Array:
    """Sum of each 3 x 3 neighbourhood, zeros beyond the border."""
    return lax.reduce_window(plane.astype(jnp.int32), 0, lax.add, (3, 3), (1, 1), "SAME")


def weigh(sums: Sums, *, scale: float) -> Joints:
    """Make evidence of sums.

    Args:
        sums: Of one field.
        scale: How many times larger the network saw it.
    """
    numbers = sums.nuclei.astype(jnp.float32)
    area, grey = numbers[..., 0], numbers[..., 1] / numbers[..., 0]
    smaller, larger = area.min(axis=1), area.max(axis=1)
    darker, brighter = grey.min(axis=1), grey.max(axis=1)
    middle = numbers[..., 2:] / area[..., None]
    between = middle[:, 0] - middle[:, 1]
    box, deep = sums.box.astype(jnp.float32), sums.deep.astype(jnp.float32)
    around = 2.0 * AROUND * MOST
    evidence = Evidence(
        depth_most=deep[:, 0] / around,
        depth_mean=deep[:, 1] / sums.count / around,
        depth_least=deep[:, 2] / around,
        foreground_least=sums.sure / (2.0 * MOST),
        size_low=scale * jnp.sqrt(smaller),
        size_high=scale * jnp.sqrt(larger),
        chord=jnp.hypot(box[:, 0], box[:, 1]) / jnp.sqrt(smaller),
        valley=sums.bright / (2.0 * AROUND) / jnp.maximum(darker, 1.0),
        contrast=(brighter - darker) / jnp.maximum(brighter, 1.0),
        apart=jnp.hypot(between[:, 0], between[:, 1]) / jnp.sqrt(smaller + larger),
        sides=jnp.log(sums.count),
    )
    return Joints(sums.low, sums.high, sums.high > 0, evidence)
