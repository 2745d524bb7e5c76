"""Crops as a network should learn to see them: turned, shifted and dimmed on the device."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial, reduce
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import random
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from profiler.embed.network.encoder import CropBatch

BLUR_REACH = 3  # pixels, twice the widest blur's sigma

CropPixels = Float[Array, "side side channel"]
Most: TypeAlias = Mapping[str, Any]  # the numbers of an `AugmentConfig` by name


@dataclass(frozen=True)
class AugmentConfig:
    """How far training crops stray from the cells they show. Every crop is turned and mirrored.

    Attributes:
        zoom: Scale from 1 / zoom to zoom, log-uniform; size tells phenotypes apart, so keep it
            near 1.
        stretch: Ratio of the sides from 1 / stretch to stretch, log-uniform.
        shift_px: Most shift, in each direction, pixels.
        gain: Brightness from 1 / gain to gain, log-uniform, of each stain alone.
        gamma: Exponent of intensities from 1 / gamma to gamma, log-uniform, of each stain alone.
        blur: Share of crops that are blurred, by up to 1.2 px.
        noise: Most standard deviation of the noise that half of the crops get, as a share of the
            crop's brightest pixel.
        drop: Share of crops whose stains may go dark, each with probability one half, but never
            all; for crops of several stains.
    """

    zoom: float = 1.15
    stretch: float = 1.1
    shift_px: float = 3.0
    gain: float = 1.5
    gamma: float = 1.2
    blur: float = 0.1
    noise: float = 0.03
    drop: float = 0.0


def augment(key: Array, crops: CropBatch, *, config: AugmentConfig) -> CropBatch:
    """Turn, mirror, scale, shift and dim a batch; the same key gives the same crops."""
    return _augmented(key, crops, asdict(config))


@jax.jit  # by numbers, not by settings: one program for all of them
def _augmented(key: Array, crops: CropBatch, most: Most) -> CropBatch:
    return jax.vmap(partial(_one, most=most))(random.split(key, len(crops)), crops)


def _one(key: Array, crop: CropPixels, *, most: Most) -> CropPixels:
    draw_key, grain_key = random.split(key)
    channels = crop.shape[-1]
    # Drawn at once, because every draw apart makes the program longer to compile.
    drawn = random.uniform(draw_key, (12 + 3 * channels,))
    place, light, fate, by_stain = jnp.split(drawn, (6, 10, 12))
    gamma, gain, dark = by_stain.reshape(3, 1, 1, channels)
    rows, columns = _where(place, crop.shape[0], most)
    read = partial(map_coordinates, coordinates=[rows, columns], order=1, mode="nearest")
    crop = jax.vmap(read, in_axes=-1, out_axes=-1)(crop)
    top = jnp.maximum(crop.max((0, 1), keepdims=True), 1e-6)
    light_top = most["gain"] ** (2 * gain - 1) * top
    crop = light_top * jnp.maximum(crop / top, 1e-6) ** (most["gamma"] ** (2 * gamma - 1))
    sigma = jnp.where(light[0] < most["blur"], 0.3 + 0.9 * light[1], 1e-3)
    noise = jnp.where(light[2] < 0.5, most["noise"] * light[3], 0.0)
    crop = _blur(crop, sigma) + noise * light_top * random.normal(grain_key, crop.shape)
    return crop * _alive(fate, dark, most)


def _where(place: Float[Array, "6"], side: int, most: Most) -> tuple[Array, Array]:
    """Where in its crop each pixel is read: rows, columns."""
    turn = 2 * jnp.pi * place[0]
    mirror = jnp.where(place[1] < 0.5, 1.0, -1.0)
    zoom = most["zoom"] ** (2 * place[2] - 1)
    stretch = most["stretch"] ** (place[3] - 0.5)
    down, right = most["shift_px"] * (2 * place[4:] - 1)
    span = jnp.arange(side) - (side - 1) / 2
    y, x = jnp.meshgrid(span * mirror * stretch / zoom, span / stretch / zoom, indexing="ij")
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    middle = (side - 1) / 2
    return middle + down + cos * y - sin * x, middle + right + sin * y + cos * x


def _blur(crop: CropPixels, sigma: Float[Array, ""]) -> CropPixels:
    """Gaussian blur of any width in one program; a tiny sigma leaves the crop as it is."""
    steps = jnp.arange(-BLUR_REACH, BLUR_REACH + 1)
    taps = jnp.exp(-0.5 * (steps / sigma) ** 2)
    taps = taps / taps.sum()
    side = crop.shape[0]
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (BLUR_REACH, BLUR_REACH)
        padded = jnp.pad(crop, pad, mode="edge")
        parts = [
            taps[i] * jax.lax.slice_in_dim(padded, i, i + side, axis=axis)
            for i in range(2 * BLUR_REACH + 1)
        ]
        crop = reduce(jnp.add, parts)
    return crop


def _alive(fate: Float[Array, "2"], dark: Float[Array, "1 1 channel"], most: Most) -> Array:
    """Which stains are not dropped: all, or about half, but one at least."""
    channels = dark.shape[-1]
    spared = jnp.arange(channels) == (fate[1] * channels).astype(jnp.int32)
    return (dark < 0.5) | spared[None, None] | (fate[0] >= most["drop"])
