"""Bring a field's nuclei to the size a network was trained at, in a few fixed steps.

Fields are enlarged or shrunk by powers of the square root of two, so that a handful of
programs serve images of every magnification; what is left, 19% at most, the network
has seen in training.
"""

import math
from collections.abc import Callable, Container
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from profiler.segment.confidence.belief import Maps, as_maps
from profiler.segment.decoding.nuclei import Nuclei, number
from profiler.segment.heads.head import Head
from profiler.segment.joining.joiner import Joiner
from profiler.segment.joining.joints import Grey, Pixels
from profiler.shapes import Labels, Stains

MOST_STEPS = 4  # of a factor of the square root of two: four times larger or smaller
LOOKS = 3  # times a field is segmented to find its scale, at most
NOTHING_FOUND = (2.0, 0.5)  # where to look then


class Seen(NamedTuple):
    """The nuclei of one field, and what the network believes of its pixels."""

    nuclei: Nuclei
    maps: Maps

    @property
    def labels(self) -> Labels:
        """Of the nuclei."""
        return self.nuclei.labels


Found = TypeVar("Found", Nuclei, Seen)


def scale_for(diameter_px: float, *, trained_px: float) -> float:
    """Scale, of those allowed, that brings nuclei nearest to the trained diameter.

    >>> scale_for(30.0, trained_px=28.0), scale_for(7.0, trained_px=28.0)
    (1.0, 4.0)
    """
    steps = round(2 * math.log2(trained_px / diameter_px))
    return 2.0 ** (max(-MOST_STEPS, min(MOST_STEPS, steps)) / 2)


def sizes_served(trained_px: float) -> tuple[float, float]:
    """Smallest and largest diameter that can be brought to the trained one, in pixels.

    >>> [round(size) for size in sizes_served(28.0)]
    [6, 133]
    """
    most = 2.0 ** ((MOST_STEPS + 0.5) / 2)
    return trained_px / most, trained_px * most


def typical_diameter(labels: np.ndarray) -> float | None:
    """Diameter of the disc as large as the nucleus that the median foreground pixel is in.

    By pixels, not by nuclei: specks and fragments weigh little.

    Args:
        labels: [height, width], 0 background.

    Returns:
        Pixels; None without nuclei.
    """
    area = np.sort(np.bincount(labels.ravel())[1:])
    if not area.any():
        return None
    middle = np.searchsorted(np.cumsum(area), area.sum() / 2)
    return float(2 * np.sqrt(area[middle] / np.pi))


def see_at(predict: Callable[[Stains], Any], field: Stains, head: Head, *, scale: float) -> Seen:
    """Find nuclei in a field that the network sees enlarged or shrunk by `scale`.

    Where the head allows it, the prediction is brought back before nuclei are told apart: on
    either side of 1 this scored better than labels brought back (DSB2018 training images).

    Args:
        predict: From a normalised field of any size to its prediction.
        field: Normalised, [height, width] or [height, width, channel].
        head: How predictions become nuclei, with its settings in pixels of `field`.
        scale: Factor on height and width.
    """
    own = field.shape[:2]
    shape = tuple(max(1, round(length * scale)) for length in own)
    there = field if scale == 1.0 else jax.image.resize(field, shape + field.shape[2:], "linear")
    seen = predict(there)
    if scale != 1.0 and head.resizable:
        seen = jax.tree.map(partial(_to, own), seen)
    maps = as_maps(head.believe(seen), own)
    if scale == 1.0 or head.resizable:
        return Seen(head.decode(seen, head.settings), maps)
    least = head.settings.min_area_px
    found = head.decode(seen, replace(head.settings, min_area_px=max(1, round(least * scale**2))))
    labels = jax.image.resize(found.labels, own, "nearest")
    roots = jnp.where(labels > 0, labels - 1, labels.size)
    return Seen(number(roots, min_area_px=least, dropped=found.dropped), maps)


def put_together(together: Joiner, seen: Seen, grey: Grey, *, scale: float) -> Seen:
    """Let a joiner put pieces of one nucleus together, in a field seen at a scale."""
    pixels = Pixels(seen.labels, grey, seen.maps)
    return seen._replace(nuclei=together(seen.nuclei, pixels, scale))


def _to(shape: tuple[int, ...], maps: Array) -> Array:
    return jax.image.resize(maps, (*shape, *maps.shape[2:]), "linear")


def find_scale(
    find: Callable[[Stains, float], Found], field: Stains, *, trained_px: float
) -> Found:
    """Find nuclei at the scale that suits them, estimated from the nuclei themselves.

    The field is segmented as it is. If what is found is not of the trained size, it is
    segmented again at the scale that makes it so, and once more if that shows another
    size. A field in which nothing is found is looked at larger, then smaller.

    Args:
        find: From a field and a scale to nuclei.
        field: [height, width] or [height, width, channel].
        trained_px: Diameter the network was trained at.
    """
    scale, off, tried = 1.0, {}, {}
    while scale not in tried and len(tried) < LOOKS:
        tried[scale] = find(field, scale)
        diameter = typical_diameter(np.asarray(tried[scale].labels))
        off[scale] = abs(math.log(diameter * scale / trained_px)) if diameter else math.inf
        scale = _next(diameter, tried, trained_px=trained_px)
    return tried[min(off, key=off.__getitem__)]


def _next(diameter: float | None, tried: Container[float], *, trained_px: float) -> float:
    if diameter is not None:
        return scale_for(diameter, trained_px=trained_px)
    return next((scale for scale in NOTHING_FOUND if scale not in tried), 1.0)
