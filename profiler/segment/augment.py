"""Random crops of labelled fields, as a network should learn to see them. Host side, NumPy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from profiler.segment.normalise import CEILING, HIGH, LOW
from profiler.segment.prediction import Prediction
from profiler.segment.targets import targets
from profiler.segment.train import Example


class LabelledField(NamedTuple):
    """One training image.

    Attributes:
        plane: Nuclear stain, any unit, [height, width].
        labels: Its nuclei, [height, width].
    """

    plane: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class AugmentConfig:
    """How far training crops stray from the images they come from.

    Attributes:
        size: Side of a crop, pixels.
        batch: Crops in a step.
        zoom: Scale from 1 / zoom to zoom, log-uniform.
        diameter: Range of median nuclear diameters, in pixels, that crops are brought
            into before zooming, so that no image asks for more context than a crop holds.
        gamma: Exponent of intensities from 1 / gamma to gamma, log-uniform; moves where
            the edge of a blurred nucleus seems to be, so the last steps want it near 1.
        blur: Share of crops that are blurred.
        empty: Share of crops without any cell: noise over a smooth background.
    """

    size: int = 192
    batch: int = 6
    zoom: float = 1.6
    diameter: tuple[float, float] = (12.0, 60.0)
    gamma: float = 1.6
    blur: float = 0.3
    empty: float = 0.04


def examples(
    fields: Sequence[LabelledField],
    weights: Sequence[float],
    config: AugmentConfig,
    *,
    seed: int,
) -> Iterator[Example]:
    """Yield training batches for ever; the same seed gives the same batches."""
    rng = np.random.default_rng(seed)
    share = np.asarray(weights, float) / np.sum(weights)
    while True:
        chosen = rng.choice(len(fields), config.batch, p=share)
        crops = [_crop(fields[index], config, rng) for index in chosen]
        planes, truth = zip(*crops, strict=True)
        foreground, distance = (np.stack(part) for part in zip(*truth, strict=True))
        target = Prediction(jnp.asarray(foreground), jnp.asarray(distance))
        yield Example(np.stack(planes)[..., None].astype(np.float32), target)


def normalise_host(plane: np.ndarray) -> np.ndarray:
    """`profiler.segment.normalise.normalise` without a device."""
    plane = plane.astype(np.float32)
    low, high = np.percentile(plane[::2, ::2], [LOW, HIGH])
    return np.clip((plane - low) / max(high - low, 1e-12), -1.0, CEILING).astype(np.float32)


def _crop(field: LabelledField, config: AugmentConfig, rng: np.random.Generator):
    if rng.random() < config.empty:
        plane = _empty(config.size, rng)
        labels = np.zeros(plane.shape, np.int32)
    else:
        plane, labels = _warp(field, config, rng)
    return _intensities(plane, config, rng), targets(labels)


def _empty(size: int, rng: np.random.Generator) -> np.ndarray:
    """A field without cells, normalised as the real ones are: its noise fills the range."""
    smooth = ndimage.gaussian_filter(rng.normal(size=(size, size)), size * rng.uniform(0.1, 0.5))
    grain = ndimage.gaussian_filter(rng.normal(size=(size, size)), rng.uniform(0.0, 1.5))
    plane = grain / grain.std() + rng.uniform(0, 3) * smooth / smooth.std()
    return normalise_host(plane)


def _warp(field: LabelledField, config: AugmentConfig, rng: np.random.Generator):
    """Rotate, mirror, scale and cut, in one interpolation."""
    zoom = _zoom(field.labels, config, rng)
    turn = rng.uniform(0, 2 * np.pi)
    mirror = rng.choice([-1.0, 1.0])
    cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
    matrix = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    shape = np.array(field.plane.shape)
    centre = rng.uniform(0, 1, 2) * (shape - 1)
    offset = centre - matrix @ np.full(2, (config.size - 1) / 2)
    where = {"offset": offset, "output_shape": (config.size, config.size)}
    plane = ndimage.affine_transform(field.plane, matrix, order=1, mode="reflect", **where)
    labels = ndimage.affine_transform(field.labels, matrix, order=0, mode="reflect", **where)
    return plane, labels


def _zoom(labels: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> float:
    area = np.bincount(labels.ravel())[1:]
    area = area[area > 0]
    diameter = 2 * np.sqrt(np.median(area) / np.pi) if area.size else config.diameter[0]
    into_range = np.clip(diameter, *config.diameter) / diameter
    return into_range * config.zoom ** rng.uniform(-1, 1)


def _intensities(plane: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    gamma = config.gamma ** rng.uniform(-1, 1)
    plane = np.clip(plane, 0, None) ** gamma + np.clip(plane, None, 0)
    if rng.random() < config.blur:
        plane = ndimage.gaussian_filter(plane, rng.uniform(0.3, 1.5))
    if rng.random() < 0.5:
        plane = plane + rng.normal(0, rng.uniform(0, 0.08), plane.shape)
    gain, shift = rng.uniform(0.75, 1.25), rng.uniform(-0.08, 0.08)
    return (gain * plane + shift).astype(np.float32)
