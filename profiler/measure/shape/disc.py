"""The smallest circle around each object on an accelerator, and where its pixels lie in it.

As in `circle.py`, but from the ends of all rows, and by exact products instead of angles: all is
whole numbers but the last division and the radius. Where a circle goes through more than three
pixels, the radius is measured to another of them than in CellProfiler now and then: see there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from profiler.measure import device
from profiler.measure.blocks import Blocks, blocks
from profiler.measure.shape.circle import Circles


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
