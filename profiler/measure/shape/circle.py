"""The smallest circle around each object on the CPU, and CellProfiler's rounding of what is inside.

Chrystal's way: from an edge of the hull to the corner that sees it in the narrowest angle, from
there on with a chord, until no angle is wider than a right one. All objects take a step at once.

CellProfiler's Zernike moments leave out pixels that rounding puts outside: none to all of those
that the circle goes through. For a nucleus this can be a standard deviation of a feature, so we
round as it does. The centre is a quotient of whole numbers, the same whichever corners lead to
it. The radius is measured to one of them; where the circle goes through more than three, rounded
angles tell which, and of equal ones scipy, so that here they are computed and asked as there.

Source: G. Chrystal, "On the problem to construct the minimum circle enclosing n given points in
a plane", Proc. Edinburgh Math. Soc. 3, 1884; centrosome's `minimum_enclosing_circle`.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from profiler.measure import cpu
from profiler.measure.shape.corners import corners


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
        outside: Packed pixels that rounding puts outside.
    """

    circles: Circles
    outside: np.ndarray


def rim_cpu(objects: cpu.Objects) -> Rim:
    """Find the circle around every object, on the CPU."""
    hull, is_there = objects.once(corners), objects.area > 0
    found = np.full((3, len(is_there)), np.nan)
    found[:, is_there] = _smallest(hull.y, hull.x, hull.offsets[:-1][is_there])
    cy, cx, radius = np.repeat(found, np.diff(hull.offsets), axis=1)
    with np.errstate(invalid="ignore"):  # single pixels
        is_outside = ((hull.y - cy) / radius) ** 2 + ((hull.x - cx) / radius) ** 2 > 1
    return Rim(Circles(found[:2], found[2]), hull.pixel[is_outside])


NONE = -1


def _smallest(y: np.ndarray, x: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Row and column of the centre and radius of each object's circle, [3, object].

    Args:
        y: Rows of the corners, object after object.
        x: Their columns.
        starts: First corner of each object.
    """
    count = np.diff(starts, append=len(y))
    owner, objects = np.repeat(np.arange(len(starts)), count), np.arange(1, len(starts) + 1)
    a, b = starts, starts + (count > 1)
    third, is_open = np.full_like(a, NONE), count > 2
    while is_open.any():
        corner = np.flatnonzero(is_open[owner])
        corner = corner[(corner != a[owner[corner]]) & (corner != b[owner[corner]])]
        own = owner[corner]
        angles = _angles(y, x, (a[own], b[own], corner))
        first = np.ravel(ndimage.minimum_position(angles[2], own + 1, objects)).astype(int)
        narrowest, (at_a, at_b, at_v) = corner[first], angles[:, first]
        is_open = is_open & (at_v < np.pi / 2)
        leaves_a = is_open & (at_a > np.pi / 2)
        leaves_b = is_open & ~leaves_a & (at_b > np.pi / 2)
        third = np.where(is_open & ~leaves_a & ~leaves_b, narrowest, third)
        a, b = np.where(leaves_a, narrowest, a), np.where(leaves_b, narrowest, b)
        is_open = leaves_a | leaves_b
    return _around(y, x, (a, b, third))


def _angles(y: np.ndarray, x: np.ndarray, corners: tuple[np.ndarray, ...]) -> np.ndarray:
    """Angles of triangles at their three corners, by the arithmetic of centrosome."""
    a, b, v = (np.stack([y[at], x[at]]) for at in corners)

    def between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        lengths = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
        return np.arccos((one * other).sum(axis=0) / lengths)

    at_a, at_b = between(b - a, v - a), between(a - b, v - b)
    return np.stack([at_a, at_b, np.pi - at_b - at_a])


def _around(y: np.ndarray, x: np.ndarray, corners: tuple[np.ndarray, ...]) -> np.ndarray:
    """The circles through three corners, or about the middle of two if the third is NONE."""
    (ay, ax), (by, bx), (vy, vx) = ((y[at], x[at]) for at in corners)
    aa, bb, vv = ay**2 + ax**2, by**2 + bx**2, vy**2 + vx**2
    twice = 2 * (ax * (by - vy) + bx * (vy - ay) + vx * (ay - by))
    with np.errstate(divide="ignore", invalid="ignore"):
        cy = (aa * (vx - bx) + bb * (ax - vx) + vv * (bx - ax)) / twice
        cx = (aa * (by - vy) + bb * (vy - ay) + vv * (ay - by)) / twice
    is_two = corners[2] == NONE
    cy, cx = np.where(is_two, (ay + by) / 2, cy), np.where(is_two, (ax + bx) / 2, cx)
    return np.stack([cy, cx, np.sqrt((ay - cy) ** 2 + (ax - cx) ** 2)])
