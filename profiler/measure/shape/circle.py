"""The smallest circle around each object, and CellProfiler's rounding of what is inside.

Both kernels go Chrystal's way to it: from an edge of the hull to the pixel that sees it in the
narrowest angle, from there on with a chord, until no angle is wider than a right one. Coordinates
are whole numbers, so that all of it is exact but the last division and the radius.

CellProfiler's Zernike moments leave out pixels that rounding puts outside: none to all of the two
or three that the circle goes through. For a nucleus this can be a standard deviation of a feature,
so we round as it does, in float64; on an accelerator too.

Source: G. Chrystal, "On the problem to construct the minimum circle enclosing n given points in
a plane", Proc. Edinburgh Math. Soc. 3, 1884; centrosome's `minimum_enclosing_circle`.
"""

from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from profiler.measure import cpu, device
from profiler.measure.blocks import Blocks, blocks
from profiler.measure.rows import rows


class Circles(NamedTuple):
    """The smallest circle around the centres of each object's pixels, in float64.

    Attributes:
        centre: Row and column in the image, [2, cell].
        radius: In pixels, [cell]; 0 for a single pixel.
    """

    centre: Any
    radius: Any


class Rim(NamedTuple):
    """Circles, and what is on them.

    Attributes:
        circles: Around each object.
        outside: Packed pixels that rounding puts outside; some may be there twice.
    """

    circles: Circles
    outside: np.ndarray


def rim_cpu(objects: cpu.Objects) -> Rim:
    """Find the circle around every object, on the CPU."""
    lines = objects.once(rows)
    # The pixels on a circle are the first or the last of their rows.
    ends = np.stack([lines.starts[:-1], lines.starts[1:] - 1], axis=1).ravel()
    y = np.repeat(lines.y, 2)
    x = objects.order[ends] - y * objects.labels.shape[1]
    found, is_outside = _circles(y.astype(float), x.astype(float), 2 * lines.offsets)
    return Rim(Circles(found[:2], found[2]), ends[is_outside])


@no_type_check
@cpu.compiled()
def _circles(y, x, offsets):
    """Centre and radius of each object's circle, and which of the points are outside."""
    found = np.full((3, len(offsets) - 1), np.nan)
    outside = np.zeros(len(y), np.bool_)
    for cell in range(len(offsets) - 1):
        start, stop = offsets[cell], offsets[cell + 1]
        if start == stop:
            continue
        cy, cx, radius = _circle(y[start:stop], x[start:stop])
        found[0, cell], found[1, cell], found[2, cell] = cy, cx, radius
        if radius > 0:
            for i in range(start, stop):
                dy, dx = (y[i] - cy) / radius, (x[i] - cx) / radius
                outside[i] = dy * dy + dx * dx > 1
    return found, outside


@no_type_check
@cpu.compiled()
def _circle(y, x):
    """The smallest circle around points of whole coordinates."""
    a, b = _edge(y, x)
    while True:
        v = _narrowest(y, x, a, b)
        if (y[a] - y[v]) * (y[b] - y[v]) + (x[a] - x[v]) * (x[b] - x[v]) <= 0:
            dy, dx = y[a] - y[b], x[a] - x[b]
            return (y[a] + y[b]) / 2, (x[a] + x[b]) / 2, np.sqrt(dy * dy + dx * dx) / 2
        if (y[b] - y[a]) * (y[v] - y[a]) + (x[b] - x[a]) * (x[v] - x[a]) < 0:
            a = v
        elif (y[a] - y[b]) * (y[v] - y[b]) + (x[a] - x[b]) * (x[v] - x[b]) < 0:
            b = v
        else:
            break
    aa, bb, vv = y[a] ** 2 + x[a] ** 2, y[b] ** 2 + x[b] ** 2, y[v] ** 2 + x[v] ** 2
    twice = 2 * (x[a] * (y[b] - y[v]) + x[b] * (y[v] - y[a]) + x[v] * (y[a] - y[b]))
    cy = (aa * (x[v] - x[b]) + bb * (x[a] - x[v]) + vv * (x[b] - x[a])) / twice
    cx = (aa * (y[b] - y[v]) + bb * (y[v] - y[a]) + vv * (y[a] - y[b])) / twice
    dy, dx = y[a] - cy, x[a] - cx
    return cy, cx, np.sqrt(dy * dy + dx * dx)


@no_type_check
@cpu.compiled()
def _edge(y, x):
    """The first of the leftmost points, and the next of the hull's corners along the top."""
    a = 0
    for i in range(len(y)):
        if x[i] < x[a]:
            a = i
    b = a
    for i in range(len(y)):
        turn = (x[b] - x[a]) * (y[i] - y[a]) - (y[b] - y[a]) * (x[i] - x[a])
        far = abs(y[i] - y[a]) + abs(x[i] - x[a]) > abs(y[b] - y[a]) + abs(x[b] - x[a])
        if turn < 0 or (turn == 0 and far):
            b = i
    return a, b


@no_type_check
@cpu.compiled()
def _narrowest(y, x, a, b):
    """The point off the line a b that sees a and b in the narrowest angle; else a."""
    found, widest = a, -np.inf  # by the cotangent
    for i in range(len(y)):
        ay, ax, by, bx = y[a] - y[i], x[a] - x[i], y[b] - y[i], x[b] - x[i]
        cross = abs(ay * bx - ax * by)
        if cross > 0 and (ay * by + ax * bx) / cross > widest:
            found, widest = i, (ay * by + ax * bx) / cross
    return found


class Disc(NamedTuple):
    """Where the pixels of each object lie in its circle, of radius 1.

    Attributes:
        parts: The pixels, in blocks.
        radius: Of the circle in pixels, [cell] float32.
        y: Down from the centre, [chunk, block, slot] float32.
        x: To the right.
        is_inside: Whether it is in the circle, by CellProfiler's rounding; False in empty slots.
    """

    parts: Blocks
    radius: jax.Array
    y: jax.Array
    x: jax.Array
    is_inside: jax.Array


def disc_jax(objects: device.Objects) -> Disc:
    """Place the pixels of all objects in their circles, on an accelerator."""
    parts = objects.once(blocks)
    height, width = objects.labels.shape
    with jax.enable_x64(True):
        circles = circles_jax(objects)
        one = _one(parts.pixel)
        # Divided by a value for each block, it would be multiplied by its reciprocal.
        radius = parts.spread(circles.radius) * one
        y = (parts.pixel // width - parts.spread(circles.centre[0])) / radius
        x = (parts.pixel % width - parts.spread(circles.centre[1])) / radius
        is_inside = _rounded(y, x, one) <= 1
        is_inside &= parts.pixel < height * width
        radius, y, x = (part.astype(jnp.float32) for part in (circles.radius, y, x))
        return Disc(parts, radius, y, x, is_inside)


def circles_jax(objects: device.Objects) -> Circles:
    """Find the circle around every object, on an accelerator."""
    with jax.enable_x64(True):
        points = _ends(objects)

        def narrow(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            a, b, _ = state
            v = _narrowests(points, a, b)
            at_v, at_a, at_b = (points.dot(*c) for c in ((v, a, b), (a, b, v), (b, a, v)))
            is_done = (at_v <= 0) | ((at_a >= 0) & (at_b >= 0))
            a, b = (
                jnp.where(~is_done & (at_a < 0), v, a),
                jnp.where(~is_done & (at_a >= 0), v, b),
            )
            return a, b, is_done

        a, b = _edges(points)
        start = (a, b, jnp.zeros(a.shape, bool))
        a, b, _ = lax.while_loop(lambda state: ~state[2].all(), narrow, start)
        return _around(points, (a, b, _narrowests(points, a, b)), _one(objects.area))


class _Points(NamedTuple):
    """The first and the last pixel of each row of each object.

    Attributes:
        y: Row of the image, [point] float64.
        x: Column, [cell, point] float64.
        is_there: Whether the object has pixels in the row, [cell, point].
    """

    y: jax.Array
    x: jax.Array
    is_there: jax.Array

    def at(self, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Row and column of one point of each object."""
        return self.y[index], jnp.take_along_axis(self.x, index[:, None], axis=1)[:, 0]

    def off(self, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Rows and columns of all points from one of each object, [cell, point]."""
        y, x = self.at(index)
        return self.y[None] - y[:, None], self.x - x[:, None]

    def dot(self, corner: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
        """Product of the ways from a corner to two points: below 0 at a wide angle."""
        (y, x), (ay, ax), (by, bx) = (self.at(index) for index in (corner, one, other))
        return (ay - y) * (by - y) + (ax - x) * (bx - x)


def _ends(objects: device.Objects) -> _Points:
    height, width = objects.labels.shape
    cells = len(objects.offsets) - 1
    y, x = (index.ravel() for index in jnp.indices((height, width), jnp.int32))
    line = {"segment_ids": objects.owner * height + y, "num_segments": cells * height}
    ends = (jax.ops.segment_min(x, **line), jax.ops.segment_max(x, **line))
    x = jnp.stack(ends, axis=-1).reshape(cells, 2 * height)
    row = jnp.repeat(jnp.arange(height), 2).astype(jnp.float64)
    return _Points(row, x.astype(jnp.float64), (x >= 0) & (x < width))


def _first(is_one: jax.Array) -> jax.Array:
    """Index of the first True of each row, or of the last element."""
    last = is_one.shape[1] - 1
    return jnp.where(is_one, jnp.arange(last + 1, dtype=jnp.int32)[None], last).min(axis=1)


def _edges(points: _Points) -> tuple[jax.Array, jax.Array]:
    leftmost = jnp.where(points.is_there, points.x, jnp.inf).min(axis=1)
    a = _first(points.is_there & (points.x == leftmost[:, None]))
    dy, dx = points.off(a)
    slope = jnp.where(points.is_there, jnp.where(dx > 0, dy / dx, BELOW), jnp.inf)
    reach = jnp.where(slope == slope.min(axis=1)[:, None], abs(dy) + dx, -1)
    return a, _first(reach == reach.max(axis=1)[:, None])


BELOW = 1e9  # steeper than any line between pixels


def _narrowests(points: _Points, a: jax.Array, b: jax.Array) -> jax.Array:
    """The point that sees a and b in the narrowest angle; a itself if all are on the line a b."""
    (ay, ax), (by, bx) = points.off(a), points.off(b)
    cross = abs(ay * bx - ax * by)
    is_off = points.is_there & (cross > 0)
    cotangent = jnp.where(is_off, (ay * by + ax * bx) / jnp.where(is_off, cross, 1), -jnp.inf)
    widest = _first(cotangent == cotangent.max(axis=1)[:, None])
    return jnp.where(is_off.any(axis=1), widest, a)


def _around(points: _Points, corners: tuple[jax.Array, ...], one: jax.Array) -> Circles:
    """The circle through two corners, if the third is inside, or through all three."""
    (ay, ax), (by, bx), (vy, vx) = (points.at(corner) for corner in corners)
    aa, bb, vv = ay**2 + ax**2, by**2 + bx**2, vy**2 + vx**2
    twice = 2 * (ax * (by - vy) + bx * (vy - ay) + vx * (ay - by))
    cy = (aa * (vx - bx) + bb * (ax - vx) + vv * (bx - ax)) / twice
    cx = (aa * (by - vy) + bb * (vy - ay) + vv * (ay - by)) / twice
    radius = jnp.sqrt(_rounded(ay - cy, ax - cx, one))
    through_two = (ay + by) / 2, (ax + bx) / 2, jnp.sqrt((ay - by) ** 2 + (ax - bx) ** 2) / 2
    is_two = points.dot(corners[2], corners[0], corners[1]) <= 0
    found = (jnp.where(is_two, *pair) for pair in zip(through_two, (cy, cx, radius), strict=True))
    cy, cx, radius = found
    return Circles(jnp.stack([cy, cx]), radius)


def _one(counts: jax.Array) -> jax.Array:
    """1 for each count, which the compiler cannot know."""
    return 1.0 + jnp.minimum(counts, 0)


def _rounded(y: jax.Array, x: jax.Array, one: jax.Array) -> jax.Array:
    """y^2 + x^2 with each square rounded: times 1, they are not fused with the sum."""
    return y * y * one + x * x * one
