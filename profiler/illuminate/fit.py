"""One pass over a sample of fields, and the illumination functions that come of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float, Float32
from scipy import ndimage

from plates.illumination import Illumination, levels
from plates.loader import Batch, PixelFormat, batches
from plates.pixels import FileStamp
from profiler.illuminate.basic import fit_basic
from profiler.illuminate.mean import SIDE, block_edges, blocks, fit_mean

LEAST = 8  # fields: the cells of fewer do not average out

Image: TypeAlias = Float32[np.ndarray, "height width channel"]


@dataclass(frozen=True)
class FitSettings:
    """How functions are fitted.

    Attributes:
        method: "mean" or "basic".
        degree: Of the polynomial that smooths the mean.
        smoothness: Of BaSiC's fields, as a factor on the weights of its authors.
        has_dark: Whether BaSiC looks for a dark field.
        dark_level: Grey level of the camera in the dark, in the files' units, taken off before
            either method.
    """

    method: str
    degree: int
    smoothness: float
    has_dark: bool
    dark_level: float


class Sample(NamedTuple):
    """What is kept of a stream of fields: its size does not depend on how many there were.

    Attributes:
        fields: How many could be read.
        mean: Of those, [height, width, channel], scaled; float64.
        small: Each shrunk to `SIDE`, [field, rows, columns, channel] float32.
        inputs: Stamp of each file that was read, of fields that failed too.
    """

    fields: int
    mean: np.ndarray
    small: np.ndarray
    inputs: tuple[FileStamp, ...]


def choose(sets: pl.DataFrame, *, fields: int, seed: int) -> pl.DataFrame:
    """Draw a sample of a plate's fields, the same for the same plate and seed."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(sets.height, size=min(fields, sets.height), replace=False)
    return sets[np.sort(drawn)]


def read_sample(
    sets: pl.DataFrame, *, stains: tuple[str, ...], pixel_format: PixelFormat, projection: str
) -> Sample:
    """Read fields one by one, and keep their sum and what they look like from afar."""
    loaded = batches(
        sets, channels=stains, pixel_format=pixel_format, size=1, projection=projection
    )
    return gather(loaded, pixel_format=pixel_format, channels=len(stains))


def gather(loaded: Iterable[Batch], *, pixel_format: PixelFormat, channels: int) -> Sample:
    """Reduce a stream of batches."""
    total = np.zeros((pixel_format.height, pixel_format.width, channels))
    small, inputs = [], []
    for batch in loaded:
        for image in _scaled(batch, pixel_format):
            total += image
            small.append(shrink(image))
        inputs.extend(stamp for key in sorted(batch.inputs) for stamp in batch.inputs[key])
    shape = (0, *(min(size, SIDE) for size in total.shape[:2]), channels)
    stack = np.stack(small) if small else np.empty(shape, np.float32)
    return Sample(len(small), total / max(len(small), 1), stack, tuple(inputs))


def _scaled(batch: Batch, pixel_format: PixelFormat) -> Iterator[Image]:
    most = np.float32(levels(pixel_format.dtype))
    for image in batch.images[: len(batch.keys)]:
        yield image.astype(np.float32) / most


def shrink(image: Image) -> Float32[np.ndarray, "rows columns channel"]:
    """Means of blocks, at most `SIDE` a side, of every channel."""
    planes = [blocks(image[..., c]) for c in range(image.shape[-1])]
    return np.stack(planes, axis=-1).astype(np.float32)


def fit(sample: Sample, *, settings: FitSettings, pixel_format: PixelFormat) -> list[Illumination]:
    """Fit the function of every channel, in the order of the sample's last axis."""
    dark = settings.dark_level / levels(pixel_format.dtype)
    shape = (pixel_format.height, pixel_format.width)
    fitted = []
    for c in range(sample.mean.shape[-1]):
        if settings.method == "mean":
            flat = fit_mean(sample.mean[..., c] - dark, degree=settings.degree)
            fitted.append(Illumination(flat, np.full(shape, dark, np.float32)))
            continue
        options = {"smoothness": settings.smoothness, "has_dark": settings.has_dark}
        light = fit_basic(sample.small[..., c] - np.float32(dark), **options)
        flat = stretch(light.flat, shape)
        own = stretch(light.dark, shape) + np.float32(dark)
        fitted.append(Illumination(flat / flat.mean(), own))
    return fitted


def stretch(
    small: Float[np.ndarray, "rows columns"], shape: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """Bring a surface of block means to full size, by straight lines between the middles."""
    grid = np.meshgrid(*map(_places, shape, small.shape), indexing="ij")
    return ndimage.map_coordinates(small, grid, order=1, mode="nearest").astype(np.float32)


def _places(size: int, parts: int) -> np.ndarray:
    """Where each pixel lies among the middles of blocks, the outer ones held."""
    edges = block_edges(size, most=parts)
    return np.interp(np.arange(size) + 0.5, (edges[:-1] + edges[1:]) / 2, np.arange(parts))
