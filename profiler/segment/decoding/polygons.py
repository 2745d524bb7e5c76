"""Star-convex polygons: a centre, and how far the edge is along each of evenly spread rays."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

RAYS = 32
TURN = 2 * math.pi / RAYS
DIRECTIONS = np.array([(math.sin(k * TURN), math.cos(k * TURN)) for k in range(RAYS)], np.float32)
RINGS = 4  # sample points along each slice of a polygon
SHORTEST_PX = 0.5  # so that a polygon always holds its own centre

Rays = Float[Array, f"polygon {RAYS}"]


def covers(
    rays: Rays,
    polygon: Int[Array, "*place"],
    dy: Float[Array, "*place"],
    dx: Float[Array, "*place"],
) -> Bool[Array, "*place"]:
    """Whether places, given from a polygon's centre, lie in that polygon."""
    angle = jnp.mod(jnp.arctan2(dy, dx), 2 * math.pi)
    first = jnp.minimum((angle / TURN).astype(jnp.int32), RAYS - 1)
    turned = angle - first * TURN
    flat = rays.ravel()
    a = flat[polygon * RAYS + first]
    b = flat[polygon * RAYS + (first + 1) % RAYS]
    # The straight edge between the ends of the two rays, in polar coordinates.
    edge = a * b * math.sin(TURN) / (b * jnp.sin(TURN - turned) + a * jnp.sin(turned))
    return dy**2 + dx**2 <= edge**2


def area(rays: Rays) -> Float[Array, " polygon"]:
    """Area of each polygon, square pixels."""
    return 0.5 * math.sin(TURN) * (rays * jnp.roll(rays, -1, axis=1)).sum(1)


def overlap(
    centres: Float[Array, "polygon 2"], rays: Rays, listed: Int[Array, "polygon most"]
) -> Float[Array, "polygon most"]:
    """Share of the smaller polygon that lies in both, for each polygon and those listed for it.

    Each slice between two rays is sampled at four points of equal area.

    Source:
        The overlap of StarDist's suppression (Schmidt et al. 2018, arXiv:1806.03535):
        intersection over the smaller area.
    """
    other = jnp.minimum(listed, len(rays) - 1)
    points, weights = _samples(rays)
    away = (centres[:, None] - centres[other])[:, :, None] + points[:, None]
    which = jnp.broadcast_to(other[..., None], away.shape[:-1])
    shared = jnp.where(covers(rays, which, away[..., 0], away[..., 1]), weights[:, None], 0.0)
    areas = area(rays)
    return shared.sum(-1) / jnp.minimum(areas[:, None], areas[other])


def _samples(rays: Rays) -> tuple[Float[Array, "polygon point 2"], Float[Array, "polygon point"]]:
    """Points in each polygon, from its centre, and the area that each stands for."""
    corners = rays[..., None] * jnp.asarray(DIRECTIONS)[None]
    following = jnp.roll(corners, -1, axis=1)
    slices = 0.5 * math.sin(TURN) * rays * jnp.roll(rays, -1, axis=1)
    out = [math.sqrt((ring + 0.5) / RINGS) for ring in range(RINGS)]
    points = jnp.concatenate([share * (corners + following) / 2 for share in out], axis=1)
    return points, jnp.tile(slices / RINGS, (1, RINGS))
