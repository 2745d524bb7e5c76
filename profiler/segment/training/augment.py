"""Crops as a network should learn to see them, turned and dimmed on the device."""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import random
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int

from profiler.segment.training.example import Crops, Windows

BEND_EVERY_PX = 32  # spacing of the grid whose corners elastic deformation moves
BLUR_REACH = 4  # pixels, over twice the widest blur's sigma


@dataclass(frozen=True)
class AugmentConfig:
    """How far training crops stray from the images they come from.

    Attributes:
        size: Side of a crop, pixels.
        zoom: Scale from 1 / zoom to zoom around the training diameter, log-uniform.
        bend_px: Standard deviation of the elastic deformation.
        gamma: Exponent of intensities from 1 / gamma to gamma, log-uniform; moves where
            the edge of a blurred nucleus seems to be, so keep it near 1.
        blur: Share of crops that are blurred, by up to 1.5 px.
        noise: Most standard deviation of the noise that half of the crops get.
        invert: Share of crops with dark nuclei on a bright background.
        empty: Share of crops without any cell: noise over a smooth background.
        lacking: Share of crops of which only the first stain is shown, the others being zeros, as
            are those that an image lacks.
    """

    size: int = 192
    zoom: float = 1.4
    bend_px: float = 1.5
    gamma: float = 1.25
    blur: float = 0.2
    noise: float = 0.08
    invert: float = 0.0
    empty: float = 0.03
    lacking: float = 0.0

    @property
    def window(self) -> int:
        """Side of the window that holds a crop however it is turned and scaled, pixels."""
        return math.ceil(self.size * math.sqrt(2) * self.zoom + 8 * self.bend_px)


@partial(jax.jit, static_argnames="config")
def augment(key: Array, windows: Windows, *, config: AugmentConfig) -> Crops:
    """Turn, mirror, scale, bend and dim a batch; the same key gives the same crops."""
    keys = random.split(key, windows.image.shape[0])
    return jax.vmap(partial(_one, config=config))(keys, windows)


def _one(key: Array, window: Windows, *, config: AugmentConfig) -> Crops:
    where_key, light_key, empty_key, lack_key = random.split(key, 4)
    side, _, channels = window.image.shape
    at = _where(where_key, side, window.scale, config)
    planes = jnp.moveaxis(window.image.astype(jnp.float32), -1, 0)
    planes = jax.vmap(lambda plane: map_coordinates(plane, at, order=1, mode="nearest"))(planes)
    weight = map_coordinates(window.weight.astype(jnp.float32), at, order=0, mode="nearest")
    labels = warp_labels(window.labels, *at)
    planes = jax.vmap(partial(_light, config=config))(random.split(light_key, channels), planes)

    is_empty = random.uniform(empty_key) < config.empty
    blank = jax.vmap(partial(_blank, size=config.size))(random.split(empty_key, channels))
    is_lacking = random.uniform(lack_key) < config.lacking
    is_there = jnp.any(window.image != 0, axis=(0, 1))
    is_shown = (jnp.arange(channels) == 0) | (is_there & ~is_lacking)
    image = jnp.moveaxis(jnp.where(is_empty, blank, planes), 0, -1)
    return Crops(
        jnp.where(is_shown, image, 0.0),
        jnp.where(is_empty, 0, labels),
        jnp.where(is_empty, 1.0, weight),
    )


def warp_labels(
    labels: Int[Array, "side side"], rows: Float[Array, "*at"], columns: Float[Array, "*at"]
) -> Int[Array, "*at"]:
    """Read labels between their pixels: of the four around a place, the one that weighs most.

    Edges stay as smooth as bilinear interpolation of each label's own mask would leave them.
    """
    last = labels.shape[0] - 1
    top, left = jnp.floor(rows), jnp.floor(columns)
    share = [(1 - rows + top, rows - top), (1 - columns + left, columns - left)]
    corners, weights = [], []
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = (jnp.clip(v, 0, last).astype(jnp.int32) for v in (top + dy, left + dx))
            corners.append(labels[y, x])
            weights.append(share[0][dy] * share[1][dx])
    votes = [
        sum(
            jnp.where(other == own, weight, 0.0)
            for other, weight in zip(corners, weights, strict=True)
        )
        for own in corners
    ]
    return jnp.take_along_axis(jnp.stack(corners), jnp.stack(votes).argmax(0)[None], 0)[0]


def _where(
    key: Array, side: int, scale: Float[Array, ""], config: AugmentConfig
) -> list[Float[Array, "size size"]]:
    """Where in its window each pixel of a crop lies: rows, columns."""
    turn_key, zoom_key, mirror_key, bend_key = random.split(key, 4)
    turn = random.uniform(turn_key, maxval=2 * jnp.pi)
    mirror = jnp.where(random.bernoulli(mirror_key), 1.0, -1.0)
    zoom = scale * config.zoom ** random.uniform(zoom_key, minval=-1.0)
    span = (jnp.arange(config.size) - (config.size - 1) / 2) / zoom
    y, x = jnp.meshgrid(span * mirror, span, indexing="ij")
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    bend = config.bend_px / zoom * _smooth_noise(bend_key, config.size, BEND_EVERY_PX, parts=2)
    middle = (side - 1) / 2
    return [middle + cos * y - sin * x + bend[0], middle + sin * y + cos * x + bend[1]]


def _smooth_noise(key: Array, size: int, every: int, *, parts: int) -> Float[Array, "parts _ _"]:
    """Normal noise on a coarse grid, interpolated to [parts, size, size]."""
    corners = size // every + 2
    grid = random.normal(key, (parts, corners, corners))
    return jax.image.resize(grid, (parts, size, size), "cubic")


def _light(key: Array, plane: Float[Array, "size size"], config: AugmentConfig):
    """Gamma, inversion, blur, noise, gain and offset, in the order a microscope adds them."""
    keys = random.split(key, 9)
    draw = [random.uniform(k) for k in keys[:8]]
    gamma = config.gamma ** (2 * draw[0] - 1)
    plane = jnp.clip(plane, 1e-6, None) ** gamma + jnp.clip(plane, None, 0)
    plane = jnp.where(draw[1] < config.invert, 1.0 - plane, plane)
    sigma = jnp.where(draw[2] < config.blur, 0.3 + 1.2 * draw[3], 1e-3)
    plane = _blur(plane, sigma)
    noise = config.noise * draw[4] * (draw[5] < 0.5)
    plane = plane + noise * random.normal(keys[8], plane.shape)
    return (0.75 + 0.5 * draw[6]) * plane + 0.16 * (draw[7] - 0.5)


def _blur(plane: Float[Array, "size size"], sigma: Float[Array, ""]) -> Float[Array, "size size"]:
    """Gaussian blur of any width in one program; a tiny sigma leaves the plane as it is."""
    steps = jnp.arange(-BLUR_REACH, BLUR_REACH + 1)
    taps = jnp.exp(-0.5 * (steps / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (BLUR_REACH, BLUR_REACH)
        padded = jnp.pad(plane, pad, mode="edge")
        length = plane.shape[axis]
        parts = [
            tap * jax.lax.slice_in_dim(padded, start, start + length, axis=axis)
            for start, tap in enumerate(taps)
        ]
        plane = jnp.stack(parts).sum(0)
    return plane


def _blank(key: Array, size: int) -> Float[Array, "size size"]:
    """A field without cells, normalised as the real ones are: its noise fills the range."""
    grain_key, smooth_key, sharp_key, share_key = random.split(key, 4)
    grain = _blur(random.normal(grain_key, (size, size)), 0.05 + 1.4 * random.uniform(sharp_key))
    smooth = _smooth_noise(smooth_key, size, size // 3, parts=1)[0]
    plane = grain / grain.std() + 2.0 * random.uniform(share_key) * smooth / smooth.std()
    return (plane / plane.std() + 2.33) / 5.2  # a normal's 1st percentile to 0, 99.8th to 1
