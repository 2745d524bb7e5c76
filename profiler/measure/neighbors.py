"""Who lies beside each object: how many, how close, and how much of its outline they touch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool

from plates.errors import BadRecipe, lookup
from profiler.measure import cpu, device
from profiler.measure.family import COMPARTMENTS, FeatureFamily, Over


class Neighbors(NamedTuple):
    """An object among the others of its compartment, those on the field's border included.

    The names end in the distance in pixels, as `_5`, or in `_Adjacent`, which is the distance 1:
    pixels that share a side. "Closest" goes by the centres, whatever the distance; of two equally
    close the lower label. Where there is no such other, they are NaN; CellProfiler's are 0.

    Source: CellProfiler 4.2.8, MeasureObjectNeighbors. It numbers the closest where two centres
    coincide by chance, and has NaN for angles that rounding takes beyond 0 or 180.

    Attributes:
        NumberOfNeighbors: Other objects with a pixel within the distance d of one of its own.
        PercentTouching: Share of its outline that has another's pixel within d + 1/2, in percent.
            The outline are pixels that have one of their 8 neighbours elsewhere or outside the
            image.
        FirstClosestObjectNumber: Label of the closest.
        FirstClosestDistance: From centre to centre, in pixels.
        SecondClosestObjectNumber: Label of the second closest.
        SecondClosestDistance: From centre to centre, in pixels.
        AngleBetweenNeighbors: Between the lines to these two, 0 to 180 degrees; NaN where one of
            the distances is 0.
    """

    NumberOfNeighbors: Any
    PercentTouching: Any
    FirstClosestObjectNumber: Any
    FirstClosestDistance: Any
    SecondClosestObjectNumber: Any
    SecondClosestDistance: Any
    AngleBetweenNeighbors: Any


@dataclass(frozen=True)
class NeighborsCpu:
    """Looks around every object, on the CPU.

    Attributes:
        within_px: How far.
    """

    within_px: int

    def __call__(self, objects: cpu.Objects) -> Neighbors:
        """Measure every object's neighbours."""
        runs, outline = objects.once(_runs), objects.once(_outline_cpu)
        count, touching = _around(objects.labels, runs, *outline, self.within_px)
        return Neighbors(count, touching, *objects.once(_closest_cpu))


def _runs(objects: cpu.Objects) -> np.ndarray:
    return _run_ends(objects.labels)


def _outline_cpu(objects: cpu.Objects) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of each object's outline, packed as the objects are."""
    return _kept(_edge8(objects.labels).reshape(-1), objects.order, objects.offsets)


def _closest_cpu(objects: cpu.Objects) -> np.ndarray:
    return _closest(objects.boxes[:2] + objects.centre, objects.area)


@no_type_check
@cpu.compiled()
def _edge8(labels):
    """Whether one of a pixel's 8 neighbours has another label or is outside the image."""
    height, width = labels.shape
    edge = np.ones((height, width), np.bool_)
    for y in range(1, height - 1):
        above, row, below = labels[y - 1], labels[y], labels[y + 1]
        for x in range(1, width - 1):
            own = row[x]
            edge[y, x] = (
                (above[x - 1] != own) | (above[x] != own) | (above[x + 1] != own)
                | (row[x - 1] != own) | (row[x + 1] != own)
                | (below[x - 1] != own) | (below[x] != own) | (below[x + 1] != own)
            )  # fmt: skip
    return edge


@no_type_check
@cpu.compiled()
def _kept(keep, order, offsets):
    """Those of the packed pixels that are to be kept, packed."""
    kept, bounds, size = np.empty_like(order), np.zeros_like(offsets), 0
    for cell in range(len(offsets) - 1):
        for i in range(offsets[cell], offsets[cell + 1]):
            kept[size] = order[i]
            size += keep[order[i]]
        bounds[cell + 1] = size
    return kept[:size], bounds


@no_type_check
@cpu.compiled()
def _run_ends(labels):
    """Column where the run of equal labels that holds each pixel ends, [height, width]."""
    height, width = labels.shape
    ends = np.empty((height, width), np.int32)
    for y in range(height):
        end = width
        for x in range(width - 1, -1, -1):
            if x + 1 < width and labels[y, x] != labels[y, x + 1]:
                end = x + 1
            ends[y, x] = end
    return ends


@no_type_check
@cpu.compiled()
def _around(labels, ends, outline, offsets, within):
    """Number of neighbours and percentage of the outline that touches them, [2, cell]."""
    height, width = labels.shape
    cells = len(offsets) - 1
    counted_for = np.zeros(cells + 1, np.int32)
    found = np.zeros((2, cells))
    for cell in range(cells):
        own = cell + 1
        pixels = outline[offsets[cell] : offsets[cell + 1]]
        for pixel in pixels:
            y, x = pixel // width, pixel % width
            is_touching = False
            for v in range(max(y - within, 0), min(y + within + 1, height)):
                room = within * (within + 1) - (v - y) ** 2  # (d + 1/2)^2, in integers
                reach = int(np.sqrt(room))
                u, stop = max(x - reach, 0), min(x + reach + 1, width)
                while u < stop:  # from run to run: most pixels see one or two in a row
                    other, end = labels[v, u], ends[v, u]
                    if 0 < other <= cells and other != own:
                        is_touching = True
                        nearest = min(max(x, u), end - 1)
                        if counted_for[other] != own and (nearest - x) ** 2 <= room - within:
                            counted_for[other] = own
                            found[0, cell] += 1
                    u = end
            found[1, cell] += is_touching
        found[1, cell] *= 100 / max(len(pixels), 1)
    return found


@no_type_check
@cpu.compiled()
def _closest(centre, area):
    """Label and distance of the closest and the second, and the angle between; [5, cell]."""
    cells = len(area)
    found = np.full((5, cells), np.nan)
    for cell in range(cells):
        if area[cell] == 0:
            continue
        first, second = -1, -1
        near, next_near = np.inf, np.inf
        for other in range(cells):
            if other == cell or area[other] == 0:
                continue
            dy, dx = centre[0, other] - centre[0, cell], centre[1, other] - centre[1, cell]
            away = np.sqrt(dy * dy + dx * dx)
            if away < near:
                second, next_near = first, near
                first, near = other, away
            elif away < next_near:
                second, next_near = other, away
        if first >= 0:
            found[0, cell], found[1, cell] = first + 1, near
        if second >= 0:
            found[2, cell], found[3, cell] = second + 1, next_near
            a, b = centre[:, first] - centre[:, cell], centre[:, second] - centre[:, cell]
            turn = np.arctan2(abs(a[0] * b[1] - a[1] * b[0]), a[0] * b[0] + a[1] * b[1])
            found[4, cell] = np.degrees(turn) if near > 0 else np.nan
    return found


@dataclass(frozen=True)
class NeighborsJax:
    """Looks around every object, on an accelerator.

    Attributes:
        within_px: How far.
    """

    within_px: int

    def __call__(self, objects: device.Objects) -> Neighbors:
        """Measure every object's neighbours."""
        outline = _outline(objects.labels)
        touching = objects.total((outline & _touched(objects.labels, self.within_px)).ravel() * 1.0)
        share = 100 * touching / objects.total(outline.ravel() * 1.0)
        count = _near(objects, self.within_px).sum(axis=1)
        return Neighbors(count, share, *_closest_jax(objects))


def _disc(square: int) -> np.ndarray:
    """Steps other than none of at most this squared length, [step, 2]."""
    reach = int(np.sqrt(square))
    steps = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    length = (steps**2).sum(axis=1)
    return steps[(length > 0) & (length <= square)]


def _outline(labels: Array) -> Bool[Array, "height width"]:
    """Whether a pixel of an object has one of its 8 neighbours elsewhere or outside the image."""
    around = [device.shifted(labels, dy, dx, -1) for dy, dx in _disc(2).tolist()]
    return (labels > 0) & (jnp.stack(around) != labels[None]).any(axis=0)


def _looking(labels: Array, within: int) -> Callable[[Array], Array]:
    """A function of a step in the disc: what each pixel sees there, 0 outside the image."""
    padded = jnp.pad(labels, within)
    return lambda step: lax.dynamic_slice(padded, within + step, labels.shape)


def _touched(labels: Array, within: int) -> Bool[Array, "height width"]:
    """Whether each pixel has another object's within (d + 1/2)."""
    steps, look = jnp.asarray(_disc(within * (within + 1))), _looking(labels, within)

    def step(i: Array, touched: Array) -> Array:
        seen = look(steps[i])
        return touched | (seen > 0) & (seen != labels)

    return lax.fori_loop(0, len(steps), step, jnp.zeros(labels.shape, bool))


def _near(objects: device.Objects, within: int) -> Bool[Array, "cell cell"]:
    """Whether two objects have pixels within the distance."""
    labels, cells = objects.labels, len(objects.area)
    half = _disc(within**2)  # the other half sees the same pairs
    steps, look = jnp.asarray(half[len(half) // 2 :]), _looking(labels, within)

    def step(i: Array, near: Array) -> Array:
        seen = look(steps[i])
        is_pair = (labels > 0) & (seen > 0) & (labels != seen)
        own = jnp.where(is_pair, labels - 1, cells)
        return near.at[own, seen - 1].set(True, mode="drop")

    near = lax.fori_loop(0, len(steps), step, jnp.zeros((cells, cells), bool))
    return near | near.T


def _closest_jax(objects: device.Objects) -> tuple[Array, ...]:
    centre = jnp.where(objects.area[None] > 0, objects.boxes[:2] + objects.centre, jnp.inf)
    cells = jnp.arange(centre.shape[1])
    towards = centre[:, None, :] - centre[:, :, None]
    away = jnp.hypot(*towards).at[cells, cells].set(jnp.inf)
    away = jnp.where(jnp.isfinite(away), away, jnp.inf)
    first = away.argmin(axis=1)
    near = away[cells, first]
    away = away.at[cells, first].set(jnp.inf)
    second = away.argmin(axis=1)
    next_near = away[cells, second]
    a, b = towards[:, cells, first], towards[:, cells, second]
    turn = jnp.arctan2(jnp.abs(a[0] * b[1] - a[1] * b[0]), a[0] * b[0] + a[1] * b[1])
    turn = jnp.where(near > 0, jnp.degrees(turn), jnp.nan)
    return (
        *(jnp.where(jnp.isfinite(near), value, jnp.nan) for value in (first + 1, near)),
        *(
            jnp.where(jnp.isfinite(next_near), value, jnp.nan)
            for value in (second + 1, next_near, turn)
        ),
    )


JUMP = MappingProxyType({"Nuclei": (1,), "Cells": (5,)})


def neighbors(
    *,
    within_px: Any = JUMP,
    adjacent: Any = ("Cells",),
) -> tuple[FeatureFamily, ...]:
    """Measure neighbours within distances, by default those of the JUMP consortium's tables.

    Args:
        within_px: Compartment -> distance in pixels, at least 1, or several.
        adjacent: List of compartments whose neighbours are those that share a side with an object.

    Raises:
        BadRecipe: A distance that is not an integer from 1, or nothing to measure.
        UnknownName: A compartment that does not exist.
    """
    if not isinstance(within_px, Mapping) or not isinstance(adjacent, list | tuple):
        raise BadRecipe(
            f"Neighbors found within_px = {within_px!r} and adjacent = {adjacent!r}; expected "
            "compartments with their distances, within_px = {Cells = [5]}, and a list of "
            'compartments, adjacent = ["Cells"].'
        )
    wanted = {
        (name, str(px)): _checked(px) for name, given in within_px.items() for px in _several(given)
    }
    wanted |= {(name, "Adjacent"): 1 for name in adjacent}
    if not wanted:
        raise BadRecipe("Neighbors has nothing to measure: within_px and adjacent are empty.")
    return tuple(_family(name, suffix, px) for (name, suffix), px in wanted.items())


def _several(given: Any) -> Sequence[Any]:
    return given if isinstance(given, list | tuple) else (given,)


def _checked(px: Any) -> int:
    if isinstance(px, int) and not isinstance(px, bool) and px >= 1:
        return px
    raise BadRecipe(f"Neighbors found within_px = {px!r}; expected whole pixels, at least 1.")


def _family(compartment: str, suffix: str, within_px: int) -> FeatureFamily:
    lookup(dict.fromkeys(COMPARTMENTS), kind="compartment", name=compartment)
    return FeatureFamily(
        "Neighbors",
        Over.OBJECTS,
        tuple(f"{name}_{suffix}" for name in Neighbors._fields),
        cpu=NeighborsCpu(within_px),
        jax=NeighborsJax(within_px),
        compartments=(compartment,),
        about=Neighbors.__doc__ or "",
    )
