"""From one image and its labels to a field that windows can be cut from. Host side, NumPy."""

import numpy as np
from scipy import ndimage

from profiler.segment.heads.instances import consecutive
from profiler.segment.normalise import CEILING, HIGH, LOW
from profiler.segment.training.example import Field

BETWEEN_WEIGHT = 4  # of pixels between touching nuclei: few, and what merges hang on
BETWEEN_PX = 5  # side of the square in which two nuclei touch, at the training diameter


def prepare(
    name: str,
    image: np.ndarray,
    labels: np.ndarray,
    *,
    diameter_px: float,
    ignore: int | None,
    typical_px: float | None = None,
) -> Field:
    """Make a field of an image and its labels.

    Args:
        name: What messages call it.
        image: Any unit, [height, width] or [height, width, channel].
        labels: 0 for background, one id for each object, integers, [height, width].
        diameter_px: What the median object is brought to in training.
        ignore: Value of `labels` where nobody has looked; such pixels count in no loss.
        typical_px: How wide objects would be where there are none, as in other fields; None
            leaves such a field as it is.
    """
    image = normalise_host(image)
    known = np.ones(labels.shape, bool) if ignore is None else labels != ignore
    labels = np.where(known, labels, 0)
    median = median_diameter(labels) or typical_px
    scale = diameter_px / median if median else 1.0
    if scale < 1.0:
        image, labels, known = _shrink(image, labels, known, scale)
        scale = 1.0
    weight = np.where(_between(labels, scale), BETWEEN_WEIGHT, 1) * known
    return Field(
        name=name,
        image=image.astype(np.float16),
        labels=_small(labels),
        weight=weight.astype(np.uint8),
        centres=_centres(labels),
        scale=float(scale),
    )


def normalise_host(image: np.ndarray) -> np.ndarray:
    """`profiler.segment.normalise.normalise` without a device."""
    image = image.astype(np.float32)
    sample = image[::2, ::2]
    low, high = np.percentile(sample, [LOW, HIGH], axis=(0, 1))
    high = np.where(high > low, high, sample.max(axis=(0, 1)))
    spread = np.where(high > low, high - low, np.inf)
    return np.clip((image - low) / spread, -1.0, CEILING).astype(np.float32)


def median_diameter(labels: np.ndarray) -> float:
    """Diameter of the disc of the median object's area, pixels; 0 without objects."""
    area = np.bincount(labels.ravel())[1:]
    area = area[area > 0]
    return float(2 * np.sqrt(np.median(area) / np.pi)) if area.size else 0.0


def _shrink(
    image: np.ndarray, labels: np.ndarray, known: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    smooth = ndimage.gaussian_filter(image, 0.4 * (1 / scale - 1), mode="nearest", axes=(0, 1))
    how = {"grid_mode": True, "mode": "nearest"}
    stains = (1.0,) * (image.ndim - 2)
    return (
        np.asarray(ndimage.zoom(smooth, (scale, scale, *stains), order=1, **how)),
        np.asarray(ndimage.zoom(labels, scale, order=0, **how)),
        np.asarray(ndimage.zoom(known.astype(np.uint8), scale, order=0, **how)) > 0,
    )


def _small(labels: np.ndarray) -> np.ndarray:
    numbered = consecutive(labels)
    return numbered.astype(np.min_scalar_type(int(numbered.max())))


def _between(labels: np.ndarray, scale: float) -> np.ndarray:
    """Pixels with two different nuclei in their neighbourhood."""
    side = max(3, 2 * round((BETWEEN_PX / scale - 1) / 2) + 1)
    most = ndimage.maximum_filter(labels, side)
    least = ndimage.minimum_filter(np.where(labels > 0, labels, np.iinfo(labels.dtype).max), side)
    return (most > 0) & (most != least)


def _centres(labels: np.ndarray) -> np.ndarray:
    found = ndimage.find_objects(labels)
    middles = [[(s.start + s.stop) / 2 for s in box] for box in found if box is not None]
    return np.array(middles, np.float32).reshape(-1, 2)
