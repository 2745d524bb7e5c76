"""How far inside each object's pixels lie: the distance to the nearest pixel outside."""

from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from profiler.measure import cpu, device
from profiler.measure.family import FeatureFamily, Over

FAR = 30_000  # pixels: longer than an image, and its square and another fit int32


class Radius(NamedTuple):
    """Distances from an object's pixels to the nearest pixel that is not its own, in pixels.

    Outside the image counts as not its own.

    Source: CellProfiler 4.2.8, MeasureObjectSizeShape.

    Attributes:
        MaximumRadius: Largest distance.
        MeanRadius: Mean distance.
        MedianRadius: Median distance; of an even number, the mean of the middle two.
    """

    MaximumRadius: Any
    MeanRadius: Any
    MedianRadius: Any


def _middle(ordered: Any, offsets: Any) -> tuple[Any, Any]:
    """Indices of the middle pixel or pixels of each object."""
    area = offsets[1:] - offsets[:-1]
    end = max(len(ordered) - 1, 0)
    xp = ordered.__array_namespace__()
    low = xp.clip(offsets[:-1] + (area - 1) // 2, 0, end)
    return low, xp.clip(offsets[:-1] + area // 2, 0, end)


def radius_jax(objects: device.Objects) -> Radius:
    """Measure the radii of every object, on an accelerator."""
    height, width = objects.labels.shape
    y, x = jnp.indices((height, width), jnp.int32)
    outside = jnp.minimum(jnp.minimum(y + 1, height - y), jnp.minimum(x + 1, width - x)).ravel()
    distance = jnp.minimum(jnp.sqrt(objects.once(depths_jax)), outside.astype(jnp.float32))
    ordered = objects.ordered(distance)
    low, high = _middle(ordered, objects.offsets)
    return Radius(
        -objects.lowest(-distance),
        objects.total(distance) / objects.area,
        (ordered[low] + ordered[high]) / 2,
    )


def depths_jax(objects: device.Objects) -> Float[Array, " pixel"]:
    """Squared distance of every pixel to the nearest of the image that is not its object's.

    First along columns, then along rows, stepping outwards until no pixel can gain: as many
    steps as the largest distance.

    Returns:
        0 for background; infinite for an object that fills the image.
    """
    labels = objects.labels
    column = jnp.minimum(_since(labels), _since(labels[::-1])[::-1]) ** 2

    def step(state: tuple) -> tuple:
        best, reach, sides = state
        sides = tuple(_away(side, way) for side, way in zip(sides, (-1, 1), strict=True))
        for label, square in sides:
            there = jnp.where((label == labels) | (label < 0), square, 0)
            best = jnp.minimum(best, reach**2 + there)
        return best, reach + 1, sides

    def can_gain(state: tuple) -> jax.Array:
        best, reach, _ = state
        return (best > reach**2).any() & (reach < labels.shape[1])

    start = jnp.where(labels > 0, column, 0)
    both = ((labels, column),) * 2
    best = lax.while_loop(can_gain, step, (start, jnp.int32(1), both))[0].ravel()
    return jnp.where(best < FAR**2, best.astype(jnp.float32), jnp.inf)


def _since(labels: jax.Array) -> jax.Array:
    """Rows since the label last changed, going down; 1 at the change, FAR before the first."""
    rows = jnp.arange(labels.shape[0], dtype=jnp.int32)[:, None]
    changed = labels != jnp.concatenate([labels[:1], labels[:-1]])
    return jnp.minimum(rows - lax.cummax(jnp.where(changed, rows, -FAR), axis=0) + 1, FAR)


def _away(side: tuple[jax.Array, jax.Array], way: int) -> tuple[jax.Array, jax.Array]:
    """What lies one more column away; outside the image, a label that is nobody's and FAR."""
    label, square = side
    return device.shifted(label, 0, way, -1), device.shifted(square, 0, way, FAR**2)


def radius_cpu(objects: cpu.Objects) -> Radius:
    """Measure the radii of every object, on the CPU."""
    squares = objects.once(depths_cpu)
    rim = _or_outside(squares, objects.order, objects.offsets, objects.boxes, objects.labels.shape)
    distance = np.sqrt(rim)
    ordered = objects.ordered(distance)
    if not len(ordered):
        return Radius(*np.full((3, len(objects.area)), np.nan))
    low, high = _middle(ordered, objects.offsets)
    last = np.clip(objects.offsets[1:] - 1, 0, None)
    return Radius(
        ordered[last],
        objects.total(distance) / objects.area,
        (ordered[low] + ordered[high]) / 2,
    )


@no_type_check
@cpu.compiled()
def _or_outside(squares, order, offsets, boxes, shape):
    """Squared distances to the nearest pixel of another object or outside the image."""
    height, width = shape
    nearest = squares.copy()
    for cell in range(len(offsets) - 1):
        top, left, bottom, right = boxes[:, cell]
        if top > 0 and left > 0 and bottom < height and right < width:
            continue  # the way out of the image leads over a nearer pixel
        for i in range(offsets[cell], offsets[cell + 1]):
            y, x = order[i] // width, order[i] % width
            outside = min(y + 1, height - y, x + 1, width - x)
            nearest[i] = min(nearest[i], outside * outside)
    return nearest


def depths_cpu(objects: cpu.Objects) -> np.ndarray:
    """Squared distance of every pixel to the nearest of the image that is not its object's.

    The nearest lies in the object's box or on its rim, so that a box is all that is looked at.

    Returns:
        [pixel] float32; infinite for an object that fills the image.
    """
    return _depths(objects.labels, objects.order, objects.offsets, objects.boxes)


@no_type_check
@cpu.compiled()
def _depths(labels, order, offsets, boxes):
    height, width = labels.shape
    squares = np.empty(len(order), np.float32)
    for cell in range(len(offsets) - 1):
        if offsets[cell] == offsets[cell + 1]:
            continue
        top, bottom = max(boxes[0, cell] - 1, 0), min(boxes[2, cell] + 1, height)
        left, right = max(boxes[1, cell] - 1, 0), min(boxes[3, cell] + 1, width)
        columns = _in_columns(labels[top:bottom, left:right], cell + 1)
        first, y, best = -width, -1, columns[0]
        for i in range(offsets[cell], offsets[cell + 1]):
            while order[i] >= first + width:
                y = order[i] // width
                first, best = y * width, _in_row(columns[y - top])
            nearest = best[order[i] - first - left]
            squares[i] = nearest if nearest < FAR * FAR else np.inf
    return squares


@no_type_check
@cpu.compiled()
def _in_columns(labels, own):
    """Squared distance of each pixel of a box to the nearest of its column that is not own."""
    height, width = labels.shape
    gaps = np.empty((height, width), np.int32)
    above = np.full(width, FAR, np.int32)
    for y in range(height):
        label, gap = labels[y], gaps[y]
        for x in range(width):
            above[x] = min(above[x] + 1, FAR) if label[x] == own else 0
            gap[x] = above[x]
    for y in range(height - 2, -1, -1):
        gap, below = gaps[y], gaps[y + 1]
        for x in range(width):
            gap[x] = min(gap[x], below[x] + 1)
    return gaps * gaps


@no_type_check
@cpu.compiled()
def _in_row(column):
    """Extend squared distances in columns along a row, a vector at a time."""
    width = len(column)
    best = column.copy()
    for reach in range(1, width):
        if reach % 4 == 1:  # to look more often would cost more than it saves
            most = np.int32(0)
            for x in range(width):
                most = max(most, best[x])
            if most <= reach * reach:
                break
        square = np.int32(reach * reach)
        here, there = best[reach:], column[: width - reach]
        for x in range(width - reach):
            here[x] = min(here[x], there[x] + square)
        here, there = best[: width - reach], column[reach:]
        for x in range(width - reach):
            here[x] = min(here[x], there[x] + square)
    return best


RADIUS = FeatureFamily(
    "AreaShape",
    Over.OBJECTS,
    Radius._fields,
    cpu=radius_cpu,
    jax=radius_jax,
    about=Radius.__doc__ or "",
)
