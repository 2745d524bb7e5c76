"""How the light of each object divides among bright areas of different sizes."""

import math
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from plates.errors import BadRecipe
from profiler.measure import cpu, device
from profiler.measure.family import IMAGE, FeatureFamily, Over
from profiler.measure.granularity.foreground import Scales, axis, foreground
from profiler.measure.granularity.sieve import LANES, sieved_cpu, sieved_jax

ROWS = 8  # of the image that an accelerator sums at a time


class Settings(NamedTuple):
    """What a recipe can set; see `granularity`."""

    scales: Scales
    radius: int
    length: int


class Sieved(NamedTuple):
    """A plane's foreground, and what is left of it after each step, in the order of `sieve`."""

    foreground: Any
    left: Any


def objects_cpu(signal: cpu.Signal, *, settings: Settings) -> tuple[np.ndarray, ...]:
    """Measure every object's spectrum in one channel, on the CPU."""
    objects = signal.objects
    left = signal.once(_sieved_cpu, settings=settings).left
    shares = objects.once(_shares, scales=settings.scales)
    means = _totals(left, *shares)[:, : settings.length].T / objects.area
    return _spectrum_cpu(signal.total / objects.area, means)


def image_cpu(signal: cpu.Signal, *, settings: Settings) -> tuple[np.ndarray, ...]:
    """Measure the spectrum of a whole channel, on the CPU."""
    small, left = signal.once(_sieved_cpu, settings=settings)
    inside = _inside(signal.plane.shape, settings.scales)
    # In two steps, as numpy is slow to sum along the last axis but one.
    means = left[inside].mean(axis=0, dtype=np.float64).mean(axis=0)[: settings.length, None]
    return _spectrum_cpu(small[inside].mean(keepdims=True, dtype=np.float64)[0], means)


def _sieved_cpu(plane: np.ndarray, *, settings: Settings) -> Sieved:
    small = foreground(plane, scales=settings.scales, radius=settings.radius)
    return Sieved(small, sieved_cpu(small, length=settings.length))


def _inside(shape: tuple[int, ...], scales: Scales) -> tuple[slice, ...]:
    """The small image without a last row or column that lies outside the plane."""
    return tuple(slice(np.count_nonzero(axis(size, scales).to_small.inside)) for size in shape)


def _spectrum_cpu(start: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, ...]:
    falls = -np.diff(np.concatenate([start[None], means]), axis=0)
    return tuple(falls * 100 / start)


class Shares(NamedTuple):
    """How much of each pixel of the small image an object holds, interpolated to full size.

    The mean over an object of an interpolated image is a weighted sum of the small one.

    Attributes:
        weights: Of the pixels of each object's box in the small image, object after object.
        offsets: Where each object's weights begin, [cell + 1].
        boxes: First row, first column, and the row and column after the last, [4, cell].
    """

    weights: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray


def _shares(objects: cpu.Objects, *, scales: Scales) -> Shares:
    rows, columns = (axis(size, scales).from_small for size in objects.labels.shape)
    return Shares(*_weigh(objects.order, objects.offsets, objects.boxes, rows, columns))


@no_type_check
@cpu.compiled()
def _weigh(order, offsets, boxes, rows, columns):
    width, cells = len(columns.low), len(offsets) - 1
    small = np.zeros((4, cells), np.int64)
    first = np.zeros(cells + 1, np.int64)
    for cell in range(cells):
        if offsets[cell] < offsets[cell + 1]:
            top, left, bottom, right = boxes[:, cell]
            small[0, cell], small[1, cell] = rows.low[top], columns.low[left]
            small[2, cell] = rows.high[bottom - 1] + 1
            small[3, cell] = columns.high[right - 1] + 1
        box = small[:, cell]
        first[cell + 1] = first[cell] + (box[2] - box[0]) * (box[3] - box[1])
    weights = np.zeros(first[-1])
    for cell in range(cells):
        top, left, _, right = small[:, cell]
        y = boxes[0, cell]
        for i in range(offsets[cell], offsets[cell + 1]):
            while order[i] >= (y + 1) * width:  # in raster order: cheaper than to divide
                y += 1
            x = order[i] - y * width
            if not (rows.inside[y] and columns.inside[x]):
                continue
            at = first[cell] + (rows.low[y] - top) * (right - left) + columns.low[x] - left
            down = (rows.high[y] - rows.low[y]) * (right - left)
            aside = columns.high[x] - columns.low[x]
            below, beside = rows.part[y], columns.part[x]
            weights[at] += (1 - below) * (1 - beside)
            weights[at + aside] += (1 - below) * beside
            weights[at + down] += below * (1 - beside)
            weights[at + down + aside] += below * beside
    return weights, first, small


@no_type_check
@cpu.compiled()
def _totals(left, weights, offsets, boxes):
    """Sum each object's interpolated images, [cell, step]."""
    steps = left.shape[2]
    totals = np.zeros((len(offsets) - 1, steps))
    for cell in range(len(totals)):
        i = offsets[cell]
        for y in range(boxes[0, cell], boxes[2, cell]):
            for x in range(boxes[1, cell], boxes[3, cell]):
                if weights[i] > 0:
                    for first in range(0, steps, LANES):
                        for step in range(first, first + LANES):
                            totals[cell, step] += weights[i] * left[y, x, step]
                i += 1
    return totals


def objects_jax(signal: device.Signal, *, settings: Settings) -> tuple[jax.Array, ...]:
    """Measure every object's spectrum in one channel, on an accelerator."""
    left = signal.once(_sieved_jax, settings=settings).left
    start, *falls = _totals_jax(left, signal, settings.scales) / signal.objects.area[None]
    return tuple(fall * 100 / start for fall in falls)


def image_jax(signal: device.Signal, *, settings: Settings) -> tuple[jax.Array, ...]:
    """Measure the spectrum of a whole channel, on an accelerator."""
    small, left = signal.once(_sieved_jax, settings=settings)
    inside = _inside(signal.plane.shape, settings.scales)
    falls = -jnp.diff(jnp.concatenate([small[None], left]), axis=0)[:, *inside]
    percent = 100 / small[inside].mean()
    return tuple(falls.mean(axis=(1, 2))[:, None] * percent)


def _sieved_jax(plane: jax.Array, *, settings: Settings) -> Sieved:
    small = foreground(plane, scales=settings.scales, radius=settings.radius)
    return Sieved(small, sieved_jax(small, length=settings.length))


def _totals_jax(left: jax.Array, signal: device.Signal, scales: Scales) -> jax.Array:
    """Sum the plane and its fall in each step over each object, [1 + step, cell].

    Falls pixel by pixel: the difference of two sums would lose a small one's digits. Some rows at
    a time, times the objects' masks: fat operations, where scatters would queue on a GPU.
    """
    objects, (height, width) = signal.objects, signal.plane.shape
    rows, columns = (
        axis(size, scales).from_small.matrix(samples)
        for size, samples in zip(signal.plane.shape, left.shape[1:], strict=True)
    )
    cells, blocks = len(objects.offsets) - 1, math.ceil(height / ROWS)
    fill = ((0, blocks * ROWS - height), (0, 0))
    owner = jnp.pad(objects.owner.reshape(height, width), fill, constant_values=cells)
    images = jnp.concatenate([left[:1], left[:-1] - left[1:]])

    def add(totals: jax.Array, block: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        plane, owner, rows = block
        full = jnp.einsum("rh,khw,xw->krx", rows, images, columns, precision="highest")
        falls = jnp.stack([plane, plane - full[0], *full[1:]])
        masks = jax.nn.one_hot(owner.ravel(), cells, dtype=left.dtype)
        return totals + jnp.matmul(falls.reshape(len(falls), -1), masks, precision="highest"), None

    padded = (jnp.pad(signal.plane, fill), owner, jnp.pad(rows, fill))
    per_block = tuple(each.reshape(blocks, ROWS, -1) for each in padded)
    return lax.scan(add, jnp.zeros((1 + len(left), cells)), per_block)[0]


def granularity(
    *,
    subsample: Any = 0.25,
    background_subsample: Any = 0.25,
    radius: Any = 10,
    length: Any = 16,
) -> tuple[FeatureFamily, FeatureFamily]:
    """How much light lies in bright areas of each size: the granular spectrum, in percent.

    The plane is subsampled and rid of its background, its opening by a disc. Step by step, bright
    areas that an erosion by a cross wipes out are taken away; those that survive stay whole.
    Feature `i` is how much the mean falls in step i, in percent of the mean at the start: light
    in areas about 2 i - 1 pixels of the small image wide. All of it is done to the whole plane;
    an object's mean is over its pixels, the small image interpolated back.

    Feature 1 of an object counts from the mean of the plane as it was, so that it holds the
    background too; of the Image, from the plane without its background, as in CellProfiler. NaN
    where that mean is 0; CellProfiler divides by 2.2e-16 there, for 0s or vast numbers.

    Source: CellProfiler 4.2.8, MeasureGranularity.

    Args:
        subsample: Pixels of the small image for a pixel of the plane, along each axis.
        background_subsample: Pixels of the background for a pixel of the small image, likewise.
        radius: Of the disc, in pixels of the background.
        length: Steps.

    Returns:
        The families of the objects and of the Image, the same for the same options.

    Raises:
        BadRecipe: An option of another type or out of range.
    """
    for name, value in (("subsample", subsample), ("background_subsample", background_subsample)):
        if not _is(value, int, float) or not 0 < value <= 1:
            raise BadRecipe(
                f"Granularity's {name} is {value!r}; expected a number above 0 and at most 1."
            )
    for name, value in (("radius", radius), ("length", length)):
        if not _is(value, int) or value < 1:
            raise BadRecipe(f"Granularity's {name} is {value!r}; expected a whole number from 1.")
    return _families(Settings(Scales(subsample, background_subsample), radius, length))


def _is(value: Any, *types: type) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


@lru_cache
def _families(settings: Settings) -> tuple[FeatureFamily, FeatureFamily]:
    of_objects = FeatureFamily(
        "Granularity",
        Over.CHANNEL,
        tuple(f"{step}_{{}}" for step in range(1, settings.length + 1)),
        cpu=partial(objects_cpu, settings=settings),
        jax=partial(objects_jax, settings=settings),
        needs_px=math.floor(1 / settings.scales.subsample) + 1,
        about=granularity.__doc__ or "",
    )
    of_image = replace(
        of_objects,
        cpu=partial(image_cpu, settings=settings),
        jax=partial(image_jax, settings=settings),
        compartments=(IMAGE,),
    )
    return of_objects, of_image
