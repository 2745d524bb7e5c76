"""Measuring one field on the CPU: packed pixels, and the loop over the plan's runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import no_type_check

import numba
import numpy as np

from profiler.measure.family import Over
from profiler.measure.plan import Plan, Run
from profiler.measure.quantile import quantile

# Below `@no_type_check`: annotations are checked at run time in tests, which numba cannot compile.
compiled = partial(numba.njit, cache=True, nogil=True)


@dataclass(frozen=True)
class Objects:
    """One compartment's objects; "pixel" runs over the foreground, object after object.

    Attributes:
        labels: The label image, [height, width] int32.
        order: Index of each pixel in the flat image, in raster order within an object, [pixel].
        offsets: Pixels `offsets[i]` to `offsets[i + 1]` are those of label i + 1, [cell + 1].
        boxes: First row, first column, and the row and column after the last, [4, cell].
    """

    labels: np.ndarray
    order: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray

    @cached_property
    def area(self) -> np.ndarray:
        """Pixels of each object, [cell]; 0 for an absent label."""
        return np.diff(self.offsets)

    @cached_property
    def places(self) -> np.ndarray:
        """Row and column of each pixel from the corner of its object's box, [2, pixel]."""
        return _places(self.order, self.offsets, self.boxes, self.labels.shape[1])

    @cached_property
    def centre(self) -> np.ndarray:
        """Mean row and column of each object from the corner of its box, [2, cell]."""
        return np.stack([self.total(place) for place in self.places]) / self.area

    @cached_property
    def is_edge(self) -> np.ndarray:
        """Whether a pixel has one of its 4 neighbours, inside the image, elsewhere; [pixel]."""
        return _edge(self.labels, self.order)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum [pixel] values over each object, [cell]."""
        return _totals(values, self.offsets)

    def ordered(self, values: np.ndarray) -> np.ndarray:
        """Sort [pixel] values within each object."""
        values = values.copy()
        for start, stop in pairwise(self.offsets[: self.last + 1]):
            values[start:stop].sort()
        return values

    @cached_property
    def last(self) -> int:
        """The largest label in the image."""
        return int(np.flatnonzero(self.area)[-1]) + 1 if len(self.order) else 0


@dataclass(frozen=True)
class Signal:
    """One channel, seen through one compartment's objects.

    Attributes:
        objects: The compartment.
        plane: The channel's image, [height, width].
    """

    objects: Objects
    plane: np.ndarray

    @cached_property
    def values(self) -> np.ndarray:
        """The intensity of each pixel of the objects, [pixel]."""
        return self.plane.reshape(-1)[self.objects.order]

    @cached_property
    def ordered(self) -> np.ndarray:
        """The values, sorted within each object, [pixel]."""
        return self.objects.ordered(self.values)

    @cached_property
    def total(self) -> np.ndarray:
        """Integrated intensity, [cell]."""
        return self.objects.total(self.values)

    @cached_property
    def centre(self) -> np.ndarray:
        """Mean row and column, weighted by intensity, as in `Objects.centre`; [2, cell]."""
        weighted = (self.objects.total(place * self.values) for place in self.objects.places)
        return np.stack(list(weighted)) / self.total

    @cached_property
    def brightest(self) -> np.ndarray:
        """Index in the flat image of each object's first brightest pixel, [cell]."""
        return _brightest(self.values, self.objects.order, self.objects.offsets)

    def quantile(self, fraction: float) -> np.ndarray:
        """CellProfiler's quantile of each object's values, [cell]."""
        return quantile(self.ordered, self.objects.offsets, fraction)


def pack(labels: np.ndarray, *, max_cells: int) -> Objects:
    """Gather the pixels of each label up to max_cells of one field."""
    labels = np.ascontiguousarray(labels, np.int32)
    return Objects(labels, *_pack(labels, max_cells))


def measure_field(
    image: np.ndarray, labels: Mapping[str, np.ndarray], runs: tuple[Run, ...], *, plan: Plan
) -> tuple[np.ndarray, np.ndarray]:
    """Measure one field.

    Returns:
        The runs' columns one after another, [cell, column] float32, and the area of each
        compartment's objects, [compartment, cell].
    """
    planes = np.moveaxis(image, -1, 0)  # views: each signal gathers its own pixels
    packed = {name: pack(label, max_cells=plan.max_cells) for name, label in labels.items()}
    seen = {name: [Signal(one, plane) for plane in planes] for name, one in packed.items()}
    blocks = [_block(run, packed, seen) for run in runs]
    empty = np.empty((0, plan.max_cells), np.float32)
    areas = np.stack([objects.area for objects in packed.values()])
    return np.concatenate([empty, *blocks]).T, areas


def _block(run: Run, packed: dict[str, Objects], seen: dict[str, list[Signal]]) -> np.ndarray:
    objects = packed[run.compartment]
    with np.errstate(divide="ignore", invalid="ignore"):
        block = np.concatenate([_call(run, pick, objects, seen) for pick in run.picks])
    block[~np.isfinite(block) | (objects.area == 0)] = np.nan
    return block


def _call(
    run: Run, pick: tuple[int, ...], objects: Objects, seen: dict[str, list[Signal]]
) -> np.ndarray:
    match run.family.over:
        case Over.OBJECTS:
            given = (objects,)
        case Over.CELL:
            given = (signals[pick[0]] for signals in seen.values())
        case _:
            given = (seen[run.compartment][channel] for channel in pick)
    return np.stack(list(run.family.cpu(*given))).astype(np.float32)


@no_type_check
@compiled()
def _pack(labels, max_cells):
    width = labels.shape[1]
    flat = labels.ravel()
    offsets = np.zeros(max_cells + 1, np.int64)
    for label in flat:
        if 0 < label <= max_cells:
            offsets[label] += 1
    for cell in range(max_cells):
        offsets[cell + 1] += offsets[cell]
    free = offsets.copy()
    order = np.empty(offsets[-1], np.int64)
    for pixel in range(len(flat)):
        if 0 < flat[pixel] <= max_cells:
            order[free[flat[pixel] - 1]] = pixel
            free[flat[pixel] - 1] += 1
    boxes = np.zeros((4, max_cells), np.int64)
    for cell in range(max_cells):
        start, stop = offsets[cell], offsets[cell + 1]
        if start == stop:
            continue
        left, right = width, 0
        for i in range(start, stop):
            column = order[i] % width
            left, right = min(left, column), max(right, column + 1)
        boxes[0, cell], boxes[1, cell] = order[start] // width, left
        boxes[2, cell], boxes[3, cell] = order[stop - 1] // width + 1, right
    return order, offsets, boxes


@no_type_check
@compiled()
def _places(order, offsets, boxes, width):
    places = np.empty((2, len(order)), np.float32)
    for cell in range(len(offsets) - 1):
        for i in range(offsets[cell], offsets[cell + 1]):
            places[0, i] = order[i] // width - boxes[0, cell]
            places[1, i] = order[i] % width - boxes[1, cell]
    return places


@no_type_check
@compiled()
def _edge(labels, order):
    height, width = labels.shape
    edge = np.zeros(len(order), np.bool_)
    for i, pixel in enumerate(order):
        y, x = pixel // width, pixel % width
        own = labels[y, x]
        edge[i] = (
            (y > 0 and labels[y - 1, x] != own)
            or (x > 0 and labels[y, x - 1] != own)
            or (y + 1 < height and labels[y + 1, x] != own)
            or (x + 1 < width and labels[y, x + 1] != own)
        )
    return edge


@no_type_check
@compiled()
def _totals(values, offsets):
    totals = np.zeros(len(offsets) - 1)
    for cell in range(len(totals)):
        for i in range(offsets[cell], offsets[cell + 1]):
            totals[cell] += values[i]
    return totals


@no_type_check
@compiled()
def _brightest(values, order, offsets):
    brightest = np.zeros(len(offsets) - 1, np.int64)
    for cell in range(len(brightest)):
        best = -np.inf
        for i in range(offsets[cell], offsets[cell + 1]):
            if values[i] > best:
                best = values[i]
                brightest[cell] = order[i]
    return brightest
