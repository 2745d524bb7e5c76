"""From each object's innermost pixel to its others, by the shortest way inside the object.

A step to a neighbour costs 1 over a side and √2 over a corner. Lengths are whole numbers, so that
they are the same in whatever order steps are added: √2 is 19601 / 13860, to 2e-9.
"""

from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from profiler.measure import cpu, device
from profiler.measure.shape.radius import depths_cpu, depths_jax
from profiler.shapes import Labels

SIDE, CORNER = np.int32(13860), np.int32(19601)
UNREACHED = np.int32(2**30)

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
REACHES = (32, 16, 8, 4, 2, 1)


class Paths(NamedTuple):
    """Where the centres are and how far the pixels.

    The centre is the pixel farthest from other objects and the background; of equals, the first
    in raster order, where CellProfiler's choice depends on how the image happens to sort.

    Source: CellProfiler 4.2.8, MeasureObjectIntensityDistribution; centrosome's propagate.

    Attributes:
        centre: Index in the flat image of each object's centre, [cell].
        length: Of the way to each pixel, in 1 / SIDE of a pixel, [pixel] int32; UNREACHED for
            those that no way leads to, and of objects that fill the image and have no centre.
    """

    centre: Any
    length: Any


def paths_jax(objects: device.Objects) -> Paths:
    """Measure the ways in every object, on an accelerator."""
    depths = objects.once(depths_jax)
    deepest = objects.spread(-objects.lowest(-depths))
    pixel = jnp.arange(depths.shape[0], dtype=jnp.int32)
    is_deepest = (depths == deepest) & jnp.isfinite(depths)
    centre = objects.lowest(jnp.where(is_deepest, pixel, pixel.shape[0]))
    start = jnp.where(pixel == objects.spread(centre), 0, UNREACHED)
    start = jnp.where(objects.labels > 0, start.reshape(objects.labels.shape), UNREACHED)
    return Paths(centre, _lengths(objects.labels, start).ravel())


def _lengths(labels: Labels, start: Labels) -> Labels:
    """Shorten the ways to all pixels until nothing changes.

    Straight stretches are leapt over, 32, 16, ... 1 pixels at a time: few rounds are enough.
    """
    runs = jnp.stack([_run(labels, to) for to in NEIGHBOURS])
    reaches = jnp.array(REACHES, jnp.int32)

    def leap(length: jax.Array, reach: jax.Array) -> tuple[jax.Array, None]:
        best = length
        for to, run in zip(NEIGHBOURS, runs, strict=True):
            step = SIDE if 0 in to else CORNER
            offer = _look(length, to, reach, UNREACHED) + reach * step
            is_open = run >= reach.astype(jnp.int8)
            best = jnp.where(is_open, jnp.minimum(best, offer), best)
        return best, None

    def again(state: tuple) -> tuple:
        before, _ = state
        after, _ = lax.scan(leap, before, reaches)
        return after, (after != before).any()

    return lax.while_loop(lambda state: state[1], again, (start, jnp.array(True)))[0]


def _run(labels: Labels, to: tuple[int, int]) -> Labels:
    """Steps that each pixel can go in one direction inside its object, at most REACHES[0]."""
    run = (_look(labels, to, 1, -1) == labels).astype(jnp.int8)
    for reach in REACHES[:0:-1]:
        run = jnp.where(run == reach, run + _look(run, to, reach, 0), run)
    return run


def _look(image: jax.Array, to: tuple[int, int], reach: Any, fill: Any) -> jax.Array:
    """What each pixel sees `reach` steps away; `fill` outside the image."""
    most = REACHES[0]
    padded = jnp.pad(image, most, constant_values=fill)
    return lax.dynamic_slice(padded, [most + reach * step for step in to], image.shape)


def paths_cpu(objects: cpu.Objects) -> Paths:
    """Measure the ways in every object, on the CPU."""
    depths = objects.once(depths_cpu)
    return Paths(*_paths(objects.labels, objects.order, objects.offsets, objects.boxes, depths))


@no_type_check
@cpu.compiled()
def _paths(labels, order, offsets, boxes, depths):
    width = labels.shape[1]
    centre = np.zeros(len(offsets) - 1, np.int64)
    length = np.full(len(order), UNREACHED, np.int32)
    for cell in range(len(centre)):
        start, stop = offsets[cell], offsets[cell + 1]
        if start == stop:
            continue
        first = start
        for i in range(start, stop):
            if depths[i] > depths[first]:
                first = i
        centre[cell] = order[first]
        if np.isinf(depths[first]):
            continue
        top, left, bottom, right = boxes[:, cell]
        y, x = centre[cell] // width - top, centre[cell] % width - left
        box = _in_box(labels[top:bottom, left:right], cell + 1, y, x)
        i = start
        for y in range(top, bottom):
            row = box[y - top + 1, 1:]
            while i < stop and order[i] < (y + 1) * width:
                length[i] = row[order[i] - y * width - left]
                i += 1
    return centre, length


@no_type_check
@cpu.compiled()
def _in_box(labels, own, y, x):
    """Shorten the ways row by row, down and up in turn until nothing changes."""
    height, width = labels.shape
    box = np.full((height + 2, width + 2), UNREACHED, np.int32)
    wall = box.copy()
    for v in range(height):
        for u in range(width):
            wall[v + 1, u + 1] = 0 if labels[v, u] == own else UNREACHED
    box[y + 1, x + 1] = 0
    _along(box[y + 1], wall[y + 1])
    for v in range(y + 2, height + 1):
        if _from(box[v - 1], box[v], wall[v]):
            _along(box[v], wall[v])
    down, is_shorter = False, True
    while is_shorter:
        is_shorter = False
        for k in range(2, height + 1):
            v, before = (k, k - 1) if down else (height + 1 - k, height + 2 - k)
            if _from(box[before], box[v], wall[v]):
                _along(box[v], wall[v])
                is_shorter = True
        down = not down
    return box


@no_type_check
@cpu.compiled()
def _from(before, row, wall):
    """Step from one row to the next; whether any way became shorter."""
    gained = np.int32(0)
    left, right, above = before, before[2:], before[1:]
    here, outside = row[1:], wall[1:]
    for x in range(len(row) - 2):
        offer = min(min(left[x], right[x]) + CORNER, above[x] + SIDE)
        offer = max(offer, outside[x])
        gained |= np.int32(offer < here[x])
        here[x] = min(here[x], offer)
    return gained > 0


@no_type_check
@cpu.compiled()
def _along(row, wall):
    """Step along a row, right and then left."""
    for x in range(1, len(row)):
        row[x] = max(min(row[x], row[x - 1] + SIDE), wall[x])
    for x in range(len(row) - 2, 0, -1):
        row[x] = max(min(row[x], row[x + 1] + SIDE), wall[x])
