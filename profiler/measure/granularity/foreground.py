"""What stands out of a plane: subsampled, and above its background."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage


class Scales(NamedTuple):
    """How small the images are made.

    Attributes:
        subsample: Samples of the small image for a pixel of the plane, along each axis.
        background_subsample: Samples of the background for one of the small image, likewise.
    """

    subsample: float
    background_subsample: float


class Taps(NamedTuple):
    """Where to interpolate along an axis, 0 where not inside.

    Attributes:
        low: Sample before each place.
        high: Sample after it.
        part: How far it lies from one to the other, 0 to 1.
        inside: Whether it lies between the first sample and the last.
    """

    low: np.ndarray
    high: np.ndarray
    part: np.ndarray
    inside: np.ndarray

    def matrix(self, size: int) -> np.ndarray:
        """The weight of each of an axis's samples at each place, [place, sample]."""
        weights = np.zeros((len(self.low), size), np.float32)
        places = np.flatnonzero(self.inside)
        np.add.at(weights, (places, self.low[places]), 1 - self.part[places])
        np.add.at(weights, (places, self.high[places]), self.part[places])
        return weights


class Axis(NamedTuple):
    """How one axis is resampled: to the small image, to its background, and both ways back.

    `cover` is how much of each sample of the background lies in the plane.
    """

    to_small: Taps
    to_background: Taps
    from_background: Taps
    from_small: Taps
    cover: np.ndarray


@lru_cache
def axis(size: int, scales: Scales) -> Axis:
    """Plan the sampling of an axis of so many pixels, as CellProfiler 4.2.8 does it."""
    # Sizes keep their fractions, and the scales are made from those.
    small = size * scales.subsample
    background = small * scales.background_subsample
    samples = np.arange(math.ceil(small))
    coarse = np.arange(math.ceil(background)) / scales.background_subsample
    to_small = _taps(samples / scales.subsample, size)
    return Axis(
        to_small,
        _taps(coarse, len(samples)),
        _taps(samples * ((background - 1) / (small - 1)), len(coarse)),
        _taps(np.arange(size) * ((small - 1) / (size - 1)), len(samples)),
        ndimage.map_coordinates(to_small.inside.astype(float), [coarse]),
    )


def _taps(at: np.ndarray, size: int) -> Taps:
    # Rounding carries the last sample of some sizes past the end, where CellProfiler has a 0.
    inside = (at >= 0) & (at <= size - 1)
    low = np.clip(np.floor(at), 0, size - 1).astype(np.int32)
    high = np.minimum(low + 1, size - 1).astype(np.int32)
    return Taps(low, high, np.where(inside, at - low, 0), inside)


def foreground(plane: Any, *, scales: Scales, radius: int) -> Any:
    """Subsample a plane and take its background away: its opening by a disc.

    Args:
        plane: Intensities, [height, width]; numpy or JAX.
        scales: Of the small image and its background.
        radius: Of the disc, in samples of the background.

    Returns:
        The small image; 0 where the background is higher.

    Source:
        CellProfiler 4.2.8, MeasureGranularity; checked in tests/measure/test_granularity.py.
    """
    xp = plane.__array_namespace__()
    rows, columns = (axis(size, scales) for size in plane.shape)
    is_covered = rows.cover[:, None] * columns.cover > 0.9
    small = _sampled(plane, rows.to_small, columns.to_small)
    coarse = _sampled(small, rows.to_background, columns.to_background)
    lowest = eroded(xp.where(is_covered, coarse, 0), radius)
    opened = -eroded(-xp.where(is_covered, lowest, 0), radius)
    return xp.maximum(small - _sampled(opened, rows.from_background, columns.from_background), 0)


def _sampled(image: Any, rows: Taps, columns: Taps) -> Any:
    """Interpolate an image."""
    xp, dtype = image.__array_namespace__(), image.dtype
    for taps in (rows, columns):
        low = image[taps.low]
        if taps.part.any():
            # In this form, exact where the image is constant.
            low = low + taps.part[:, None] * (image[taps.high] - low)
        image = xp.where(taps.inside[:, None], low, 0).T
    return image.astype(dtype)


def eroded(image: Any, radius: int) -> Any:
    """The lowest value within a radius of each pixel, inside the image; numpy or JAX.

    >>> eroded(np.array([[3.0, 1, 2, 4, 5]]), 1)
    array([[1., 1., 1., 2., 4.]])
    """
    xp = image.__array_namespace__()
    height, width = image.shape
    padded = xp.pad(image, radius, constant_values=xp.inf)
    chord = padded[:, radius : radius + width]  # lowest of the pixels up to `reach` left or right
    lowest = image
    for reach in range(radius + 1):
        for start in {radius - reach, radius + reach}:
            chord = xp.minimum(chord, padded[:, start : start + width])
        for dy in range(-radius, radius + 1):
            if math.isqrt(radius**2 - dy**2) == reach:
                lowest = xp.minimum(lowest, chord[radius + dy : radius + dy + height])
    return lowest
