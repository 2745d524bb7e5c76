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
    framed = jnp.pad(plane, 1, mode="edge")
    difference = jnp.abs(_look(framed, dy, dx, None) - framed)
    around = lax.reduce_window(difference, 0.0, lax.add, (3, 3), (1, 1), "VALID")
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
    # A frame around the field that nobody may walk on spares every look beyond its border.
    label = np.pad(nuclei.astype(np.int32), 1)
    ground = np.pad(mask, 1) & (label == 0)
    seen = np.pad(np.asarray(plane, np.float32), 1, mode="edge")
    steps = STEPS @ (seen.shape[1], 1)
    prices = np.float32(np.abs(STEPS).sum(1) * regularisation**2)
    _walk(seen.ravel(), label.ravel(), ground.ravel(), steps, prices)
    return label[1:-1, 1:-1]


@numba.njit(cache=True)
@no_type_check  # annotations are checked at run time in tests, which numba cannot compile
def _walk(plane, label, ground, steps, prices):
    """Dijkstra from all nuclei at once, changing `label`.

    Heap entries are one integer, cost then pixel: the bits of floats from 0 sort as they do.
    """
    cost = np.where(label > 0, np.float32(0.0), np.float32(np.inf))
    bits = cost.view(np.uint32)
    heap = [np.uint64(pixel) for pixel in np.flatnonzero(label) if np.any(ground[pixel + steps])]
    heapq.heapify(heap)
    while heap:
        entry = heapq.heappop(heap)
        pixel = np.int64(entry & np.uint64(0xFFFFFFFF))
        if entry >> np.uint64(32) > bits[pixel]:
            continue  # a better offer came in after this one was queued
        paid, name = cost[pixel], label[pixel]
        for step in range(8):
            other = pixel + steps[step]
            if not ground[other] or cost[other] < paid:
                continue
            offer = paid + _price_of(plane, pixel, other, steps, prices[step])
            if offer < cost[other] or (offer == cost[other] and name < label[other]):
                cost[other], label[other] = offer, name
                heapq.heappush(heap, np.uint64(bits[other]) << np.uint64(32) | np.uint64(other))


@numba.njit(cache=True)
@no_type_check
def _price_of(plane, pixel, other, steps, distance):
    around = abs(plane[pixel] - plane[other])
    for step in steps:
        around += abs(plane[pixel + step] - plane[other + step])
    return np.float32(np.sqrt(around * around + distance))
