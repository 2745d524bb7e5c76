"""How far inside each object's pixels lie: the distance to the nearest pixel outside."""

from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from profiler.measure import cpu, device
from profiler.measure.family import FeatureFamily, Over


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
    squares = _squares(objects.labels).ravel()
    distance = jnp.sqrt(squares.astype(jnp.float32))
    ordered = objects.ordered(distance)
    low, high = _middle(ordered, objects.offsets)
    return Radius(
        -objects.lowest(-distance),
        objects.total(distance) / objects.area,
        (ordered[low] + ordered[high]) / 2,
    )


def _squares(labels: jax.Array) -> jax.Array:
    """Squared distance of every pixel to the nearest of another label or outside the image.

    First along columns, then along rows, stepping outwards until no pixel can gain: as many
    steps as the largest radius.
    """
    up = _since(labels)
    column = jnp.minimum(up, _since(labels[::-1])[::-1]) ** 2

    def step(state: tuple) -> tuple:
        best, reach, sides = state
        sides = tuple(_away(side, way) for side, way in zip(sides, (-1, 1), strict=True))
        for label, square in sides:
            inside = jnp.where(label == labels, square, 0)
            best = jnp.minimum(best, reach**2 + inside)
        return best, reach + 1, sides

    def can_gain(state: tuple) -> jax.Array:
        best, reach, _ = state
        return (best > reach**2).any()

    start = jnp.where(labels > 0, column, 0)
    both = ((labels, column),) * 2
    return lax.while_loop(can_gain, step, (start, jnp.int32(1), both))[0]


def _since(labels: jax.Array) -> jax.Array:
    """Rows since the label last changed, going down; 1 at the change."""
    rows = jnp.arange(labels.shape[0], dtype=jnp.int32)[:, None]
    changed = labels != jnp.pad(labels, ((1, 0), (0, 0)), constant_values=-1)[:-1]
    return rows - lax.cummax(jnp.where(changed, rows, 0), axis=0) + 1


def _away(side: tuple[jax.Array, jax.Array], way: int) -> tuple[jax.Array, jax.Array]:
    """What lies one more column away; a label that is nobody's outside the image."""
    label, square = side
    return device.shifted(label, 0, way, -1), device.shifted(square, 0, way, 0)


def radius_cpu(objects: cpu.Objects) -> Radius:
    """Measure the radii of every object, on the CPU."""
    distance = np.sqrt(_distances(objects.labels, objects.order))
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
def _distances(labels, order):
    """Squared distances of the packed pixels, by the same steps as `_squares`."""
    height, width = labels.shape
    column = np.ones((height, width), np.int32)
    for y in range(1, height):
        for x in range(width):
            if labels[y, x] == labels[y - 1, x]:
                column[y, x] = column[y - 1, x] + 1
    column[height - 1] = 1
    for y in range(height - 2, -1, -1):
        for x in range(width):
            up = column[y + 1, x] + 1 if labels[y, x] == labels[y + 1, x] else 1
            column[y, x] = min(column[y, x], up)
    squares = np.empty(len(order), np.float32)
    for i, pixel in enumerate(order):
        y, x = pixel // width, pixel % width
        best = column[y, x] ** 2
        reach = 1
        while reach * reach < best:
            for way in range(-1, 2, 2):
                u = x + way * reach
                inside = 0 <= u < width and labels[y, u] == labels[y, x]
                best = min(best, reach * reach + (column[y, u] ** 2 if inside else 0))
            reach += 1
        squares[i] = best
    return squares


RADIUS = FeatureFamily(
    "AreaShape",
    Over.OBJECTS,
    Radius._fields,
    cpu=radius_cpu,
    jax=radius_jax,
    about=Radius.__doc__ or "",
)
