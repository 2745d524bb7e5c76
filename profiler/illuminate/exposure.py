"""Fields corrected for the light they were taken in, and judged by numbers, on the device.

The numbers are measured for every field, whatever the recipe measures, because
`profiler.quality` learns from them which fields to believe. Each pixel is read once for block
means; all else is made of those, so that they cost little beside segmenting.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from profiler.shapes import Image, Images, Plane

LEAST_PX = 64  # side of a field that can be judged
TILES = 8  # along a side: tiles are larger than cells
FAINT = 1e-12
NO_DETAIL = 1e-4  # ratio of variances that counts as none

Number: TypeAlias = Float[Array, ""]
Small: TypeAlias = Float[Array, "_ _"]  # a plane of block means


class Exposure(NamedTuple):
    """How a field was taken, one channel at a time; NaN for fields below 64 pixels a side.

    Detail is the variance of the Laplacian, as the covariance of two halves of the pixels (of
    each square of four, those on one diagonal and those on the other): the camera's noise, which
    they do not share, drops out, so that a blurred field does not look sharp for its noise.

    Attributes:
        FineDetail: Logarithm of the detail of 2 x 2 block means over that of 4 x 4 ones: the
            lower the more blurred, at the least -9.2; NaN where there is nothing to see.
        CoarseDetail: The same of 4 x 4 over 8 x 8 block means.
        PowerSlope: Of the logarithm of the power over that of the spatial frequency, up to waves
            of 8 pixels: the lower the more blurred.
        PercentMaximal: Share of the pixels at the field's largest value, in percent, before
            correction.
        Max: Largest value, before correction.
        Background: 10th percentile of 4 x 4 block means.
        Signal: 99th percentile of those less the background.
        Contrast: From the 10th to the 99.8th percentile of 4 x 4 block means, each less its
            tile's mean, over what tells neighbouring pixels apart: about 1 for noise, however it
            is lit, and far more with one nucleus.
        BrightTile: Brightest of 8 x 8 tiles less the median one.
        DarkTile: Darkest of the tiles less the background, as a share of the median one; 1 where
            there is no light.
        Peak: Brightest 4 x 4 block mean less the background.
    """

    FineDetail: Number
    CoarseDetail: Number
    PowerSlope: Number
    PercentMaximal: Number
    Max: Number
    Background: Number
    Signal: Number
    Contrast: Number
    BrightTile: Number
    DarkTile: Number
    Peak: Number


def exposure_columns(stains: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the numbers, all of the first stain first.

    >>> exposure_columns(("DNA",))[:2]
    ('Image_QC_FineDetail_DNA', 'Image_QC_CoarseDetail_DNA')
    """
    return tuple(f"Image_QC_{name}_{stain}" for stain in stains for name in Exposure._fields)


def expose(raw: Images, images: Images) -> Float[Array, "batch column"]:
    """Judge how fields were taken.

    Args:
        raw: Scaled, as they came.
        images: The same, corrected for their light.

    Returns:
        In the order of `exposure_columns`.
    """
    # Plane by plane: for a batch the compiler sums in another order, and the last bit would differ.
    return jnp.stack([_expose_field(*pair) for pair in zip(raw, images, strict=True)])


def _expose_field(raw: Image, image: Image) -> Float[Array, " column"]:
    if min(raw.shape[:2]) < LEAST_PX:
        return jnp.full(raw.shape[-1] * len(Exposure._fields), jnp.nan, jnp.float32)
    stains = range(raw.shape[-1])
    return jnp.concatenate([_numbers(raw[..., stain], image[..., stain]) for stain in stains])


@jax.jit
def _numbers(raw: Plane, plane: Plane) -> Float[Array, " number"]:
    return jnp.stack(expose_plane(raw, plane))


def expose_plane(raw: Plane, plane: Plane) -> Exposure:
    """Judge how one channel of a field was taken."""
    one, other = _diagonals(plane)
    two = (one + other) / 2
    four = _halved(two)
    halves = [(one, other)]
    for _ in range(2):
        halves.append((_halved(halves[-1][0]), _halved(halves[-1][1])))
    fine, middle, coarse = (_detail(*pair) for pair in halves)
    low, high = _quantiles(four, high=0.99)
    between = jnp.sqrt(((one - other) ** 2).mean())
    tiles = jnp.sort(_tiles(four).ravel())
    dim, bright = _quantiles(_within_tiles(four), high=0.998)
    typical = tiles[tiles.size // 2]
    lit = typical - low
    most = raw.max()
    return Exposure(
        _log_ratio(fine, middle),
        _log_ratio(middle, coarse),
        _slope(four),
        100 * (raw == most).mean(),
        most,
        low,
        high - low,
        jnp.where(bright > dim, (bright - dim) / jnp.maximum(between, FAINT), 0),
        tiles[-1] - typical,
        jnp.where(lit > FAINT, (tiles[0] - low) / jnp.maximum(lit, FAINT), 1),
        four.max() - low,
    )


def _diagonals(plane: Small) -> tuple[Small, Small]:
    """Means of the pixels on either diagonal of each square of four."""
    height, width = (size // 2 * 2 for size in plane.shape)
    a, b = plane[:height:2, :width:2], plane[:height:2, 1:width:2]
    c, d = plane[1:height:2, :width:2], plane[1:height:2, 1:width:2]
    return (a + d) / 2, (b + c) / 2


def _halved(plane: Small) -> Small:
    one, other = _diagonals(plane)
    return (one + other) / 2


def _detail(one: Small, other: Small) -> Number:
    """Covariance of the Laplacians of two pictures of the same."""
    return (_laplacian(one) * _laplacian(other)).mean()


def _laplacian(plane: Small) -> Small:
    around = plane[:-2, 1:-1] + plane[2:, 1:-1] + plane[1:-1, :-2] + plane[1:-1, 2:]
    return around - 4 * plane[1:-1, 1:-1]


def _log_ratio(fine: Number, coarse: Number) -> Number:
    share = jnp.maximum(fine, 0) / jnp.maximum(coarse, FAINT)
    return jnp.where(coarse > FAINT, jnp.log(jnp.maximum(share, NO_DETAIL)), jnp.nan)


def _tiles(plane: Small) -> Float[Array, "row column"]:
    """Means of equal tiles; what is left over at the far borders is left out."""
    height, width = (size // TILES for size in plane.shape)
    cut = plane[: height * TILES, : width * TILES]
    return cut.reshape(TILES, height, TILES, width).mean(axis=(1, 3))


def _within_tiles(plane: Small) -> Small:
    """What is left without the tiles' means."""
    tiles = _tiles(plane)
    height, width = (size // TILES for size in plane.shape)
    spread = jnp.repeat(jnp.repeat(tiles, height, axis=0), width, axis=1)
    return plane[: height * TILES, : width * TILES] - spread


def _quantiles(plane: Small, *, high: float) -> tuple[Number, Number]:
    """The 10th percentile and a high one, of every fourth value."""
    seen = jnp.sort(plane[::2, ::2].ravel())
    lower, upper = (seen[round(share * (seen.size - 1))] for share in (0.1, high))
    return lower, upper


class _Rings(NamedTuple):
    """Where in a spectrum the rings of equal frequency are: index of each, and their radius."""

    ring: np.ndarray
    radius: np.ndarray


@lru_cache
def _rings(height: int, width: int) -> _Rings:
    """Rings of a spectrum, in waves along the shorter side, up to waves of 2 pixels."""
    side = min(height, width)
    down = np.fft.fftfreq(height)[:, None] * side
    across = np.fft.rfftfreq(width)[None, :] * side
    ring = np.rint(np.hypot(down, across)).astype(np.int32)
    last = side // 2
    return _Rings(np.where(ring > last, 0, ring), np.arange(1, last + 1))


def _slope(plane: Small) -> Number:
    rings = _rings(*plane.shape)
    power = jnp.abs(jnp.fft.rfft2(plane - plane.mean())) ** 2
    summed = jax.ops.segment_sum(power.ravel(), rings.ring.ravel(), len(rings.radius) + 1)[1:]
    count = np.bincount(rings.ring.ravel(), minlength=len(rings.radius) + 1)[1:]
    y = jnp.log(jnp.maximum(summed / count, FAINT**2))
    x = np.log(rings.radius) - np.log(rings.radius).mean()
    slope = (jnp.asarray(x, jnp.float32) * y).sum() / float(x @ x)
    return jnp.where(plane.max() > plane.min(), slope, jnp.nan)


@dataclass(frozen=True, eq=False)
class Light:
    """The illumination functions of a plate; they stay on each device they were used on.

    Attributes:
        flat: What fields are divided by, [height, width, channel].
        dark: What is taken off before, in units of scaled images.
    """

    flat: Float32[np.ndarray, "height width channel"]
    dark: Float32[np.ndarray, "height width channel"]

    def at(self, device: Any) -> tuple[Array, Array]:
        """Flat and dark field on a device."""
        return _at(self, device)


@lru_cache(maxsize=16)
def _at(light: Light, device: Any) -> tuple[Array, Array]:
    return jax.device_put((light.flat, light.dark), device)


def correct(images: Images, light: Light, *, has_levels: bool) -> Images:
    """Take the light of a plate out of its fields.

    Args:
        images: Scaled, on one device.
        light: Of their plate.
        has_levels: Whether they were integers: results then stay within 0 and 1, as
            CellProfiler's CorrectIlluminationApply keeps them.
    """
    (device,) = images.devices()
    return _correct(images, *light.at(device), has_levels=has_levels)


@partial(jax.jit, static_argnames="has_levels")
def _correct(images: Images, flat: Array, dark: Array, *, has_levels: bool) -> Images:
    even = (images - dark[None]) / flat[None]
    return jnp.clip(even, 0, 1) if has_levels else even
