"""Measuring one field on the CPU: packed pixels, and the loop over the plan's runs."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import NamedTuple, TypeVar, no_type_check

import numba
import numpy as np

from profiler.measure.family import COMPARTMENTS, IMAGE, Over
from profiler.measure.memo import Memo
from profiler.measure.plan import Plan, Run
from profiler.measure.quantile import quantile

# Below `@no_type_check`: annotations are checked at run time in tests, which numba cannot compile.
compiled = partial(numba.njit, cache=True, nogil=True)

T = TypeVar("T")


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
    _memo: Memo = field(default_factory=Memo, repr=False, compare=False)

    def once(self, make: Callable[..., T], **options: object) -> T:
        """What `make(objects, **options)` returns, made once whoever asks."""
        return self._memo.get(make, self, **options)

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
    _of_plane: Memo = field(default_factory=Memo, repr=False, compare=False)
    _memo: Memo = field(default_factory=Memo, repr=False, compare=False)

    def once(self, make: Callable[..., T], **options: object) -> T:
        """What `make(plane, **options)` returns, made once for all compartments and the image."""
        return self._of_plane.get(make, self.plane, **options)

    def derive(self, make: Callable[..., T], **options: object) -> T:
        """What `make(signal, **options)` returns, made once for all pairs with this signal."""
        return self._memo.get(make, self, **options)

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
    def shift(self) -> np.ndarray:
        """From each object's centre to its mean row and column weighted by intensity, [2, cell]."""
        objects = self.objects
        return _moments(self.values, objects.places, objects.centre, objects.offsets) / self.total

    @cached_property
    def centre(self) -> np.ndarray:
        """Mean row and column, weighted by intensity, as in `Objects.centre`; [2, cell]."""
        return self.objects.centre + self.shift

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


class FieldTable(NamedTuple):
    """What was measured in one field.

    Attributes:
        features: Of the cells, [cell, column] float32.
        image: Of the field itself, [image column] float32.
        area: Of each compartment's objects, [compartment, cell].
    """

    features: np.ndarray
    image: np.ndarray
    area: np.ndarray


def measure_field(
    image: np.ndarray, labels: Mapping[str, np.ndarray], runs: tuple[Run, ...], *, plan: Plan
) -> FieldTable:
    """Measure one field; columns are those of `runs`, one after another."""
    packed = {name: pack(label, max_cells=plan.max_cells) for name, label in labels.items()}
    if any(run.compartment == IMAGE for run in runs):
        packed[IMAGE] = pack(np.ones(image.shape[:2], np.int32), max_cells=1)
    planes = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    channels = [(plane, Memo()) for plane in planes]
    seen = {name: [Signal(one, *channel) for channel in channels] for name, one in packed.items()}

    calls = [(run, pick) for run in runs for pick in run.picks]
    with ThreadPoolExecutor(plan.threads) as pool:
        blocks = list(pool.map(lambda call: _call(call[0], call[1], packed, seen), calls))

    features = [np.empty((0, plan.max_cells), np.float32)]
    of_image = [np.empty((0, 1), np.float32)]
    for (run, _), block in zip(calls, blocks, strict=True):
        (of_image if run.compartment == IMAGE else features).append(block)
    areas = np.stack([packed[name].area for name in COMPARTMENTS])
    return FieldTable(np.concatenate(features).T, np.concatenate(of_image)[:, 0], areas)


def _call(
    run: Run,
    pick: tuple[int, ...],
    packed: Mapping[str, Objects],
    seen: Mapping[str, list[Signal]],
) -> np.ndarray:
    objects = packed[run.compartment]
    match run.family.over:
        case Over.OBJECTS:
            given = (objects,)
        case Over.CELL:
            given = (seen[name][pick[0]] for name in COMPARTMENTS)
        case _:
            given = (seen[run.compartment][channel] for channel in pick)
    with np.errstate(divide="ignore", invalid="ignore"):
        block = np.stack(list(run.family.cpu(*given))).astype(np.float32)
    block[~np.isfinite(block) | (objects.area == 0)] = np.nan
    return block


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
def _moments(values, places, centre, offsets):
    """Sums of the way from each object's centre times what is above its lowest value."""
    moments = np.zeros((2, len(offsets) - 1))
    for cell in range(len(offsets) - 1):
        lowest = np.inf
        for i in range(offsets[cell], offsets[cell + 1]):
            lowest = min(lowest, values[i])
        for i in range(offsets[cell], offsets[cell + 1]):
            above = values[i] - lowest  # all 0 in a constant object
            moments[0, cell] += (places[0, i] - centre[0, cell]) * above
            moments[1, cell] += (places[1, i] - centre[1, cell]) * above
    return moments


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
