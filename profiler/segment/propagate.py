"""Cells grown from nuclei over a stain: CellProfiler's regularised propagation.

A pixel joins the nucleus that the cheapest path leads to. A step from p to its 8-neighbour
q costs sqrt(D² + |p - q|₁ λ²), where D adds up the absolute differences between the 3x3
surroundings of p and q: edges in the stain are dear, and λ prices plain distance.

Two kernels, one result: both find the unique shortest paths, ties going to the smaller
label. JAX relaxes all pixels at once, which suits accelerators; numba walks a heap, which
is many times faster on a CPU.

Source:
    Jones, Carpenter & Golland 2005, "Voronoi-based segmentation of cells on image
    manifolds"; checked against centrosome.propagate, CellProfiler's own, in
    tests/segment/test_propagate.py.
"""

import heapq
from typing import no_type_check

import jax.numpy as jnp
import numba
import numpy as np
from jax import lax
from jaxtyping import Array

from profiler.segment.decoding.components import NEIGHBOURS
from profiler.shapes import Labels, Mask, Plane

STEPS = np.array(NEIGHBOURS)


def propagate_jax(plane: Plane, nuclei: Labels, mask: Mask, *, regularisation: float) -> Labels:
    """Grow nuclei over a mask, on the device.

    Args:
        plane: The stain that cells are seen in.
        nuclei: 0 for background, 1 and up for nuclei.
        mask: Where cells may grow; nuclei are always part of their cell.
        regularisation: λ, in the units of `plane`. Small values follow the stain, large
            ones split the ground evenly.

    Returns:
        Labels of the cells, with the ids of their nuclei.
    """
    walkable = mask | (nuclei > 0)
    prices = jnp.stack([_price(plane, *step, regularisation) for step in NEIGHBOURS])
    cost = jnp.where(nuclei > 0, 0.0, jnp.inf).astype(plane.dtype)

    def relax(state):
        cost, label, _ = state
        new_cost, new_label = cost, label
        for price, (dy, dx) in zip(prices, NEIGHBOURS, strict=True):
            offer = _look(cost, dy, dx, jnp.inf) + price
            name = _look(label, dy, dx, 0)
            better = (offer < new_cost) | ((offer == new_cost) & (name < new_label))
            better &= walkable & (nuclei == 0) & jnp.isfinite(offer)
            new_cost = jnp.where(better, offer, new_cost)
            new_label = jnp.where(better, name, new_label)
        changed = jnp.any((new_cost != cost) | (new_label != label))
        return new_cost, new_label, changed

    state = (cost, nuclei, jnp.array(True))
    return lax.while_loop(lambda state: state[2], relax, state)[1]


def _price(plane: Plane, dy: int, dx: int, regularisation: float) -> Plane:
    """Cost of the step into each pixel from its neighbour (dy, dx) away."""
    difference = jnp.abs(_look(plane, dy, dx, None) - plane)
    around = lax.reduce_window(
        jnp.pad(difference, 1, mode="edge"), 0.0, lax.add, (3, 3), (1, 1), "VALID"
    )
    return jnp.sqrt(around**2 + (abs(dy) + abs(dx)) * regularisation**2)


def _look(plane: Array, dy: int, dx: int, fill: int | float | None) -> Array:
    edges = jnp.pad(plane, 1, mode="edge")
    padded = edges if fill is None else jnp.pad(plane, 1, constant_values=fill)
    height, width = plane.shape
    return lax.slice(padded, (1 + dy, 1 + dx), (1 + dy + height, 1 + dx + width))


def propagate_cpu(
    plane: np.ndarray, nuclei: np.ndarray, mask: np.ndarray, *, regularisation: float
) -> np.ndarray:
    """Grow nuclei over a mask, on the host; see `propagate_jax`."""
    return _walk(
        np.ascontiguousarray(plane, np.float32),
        np.ascontiguousarray(nuclei, np.int32),
        np.ascontiguousarray(mask | (nuclei > 0)),
        np.float32(regularisation),
    )


@numba.njit(cache=True)
@no_type_check  # annotations are checked at run time in tests, which numba cannot compile
def _walk(plane, nuclei, walkable, regularisation):
    """Dijkstra from all nuclei at once; heap entries are (cost, label, pixel)."""
    height, width = plane.shape
    cost = np.full(plane.shape, np.float32(np.inf))
    label = nuclei.copy()
    heap = [(np.float32(0.0), np.int32(0), 0)]
    heap.pop()
    for y in range(height):
        for x in range(width):
            if nuclei[y, x] > 0:
                cost[y, x] = 0.0
                heapq.heappush(heap, (np.float32(0.0), nuclei[y, x], y * width + x))
    while heap:
        paid, name, pixel = heapq.heappop(heap)
        y, x = pixel // width, pixel % width
        if paid > cost[y, x] or name > label[y, x]:
            continue  # a better offer came in after this one was queued
        for step in range(8):
            v, u = y + STEPS[step, 0], x + STEPS[step, 1]
            if v < 0 or u < 0 or v >= height or u >= width:
                continue
            if not walkable[v, u] or nuclei[v, u] > 0:
                continue
            offer = paid + _step_price(plane, v, u, y, x, regularisation)
            if offer < cost[v, u] or (offer == cost[v, u] and name < label[v, u]):
                cost[v, u], label[v, u] = offer, name
                heapq.heappush(heap, (offer, name, v * width + u))
    return label


@numba.njit(cache=True)
@no_type_check
def _step_price(plane, y, x, v, u, regularisation):
    height, width = plane.shape
    around = np.float32(0.0)
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            a, b = min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)
            c, d = min(max(v + dy, 0), height - 1), min(max(u + dx, 0), width - 1)
            around += abs(plane[a, b] - plane[c, d])
    steps = np.float32(abs(y - v) + abs(x - u))
    return np.float32(np.sqrt(around * around + steps * regularisation * regularisation))
