"""One picture per cell, cut on the device from the field that was just segmented."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import floor, inf
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ops import segment_sum
from jaxtyping import Array, Bool, Float

from plates.errors import BadRecipe
from profiler.shapes import Image, Labels

ROUNDING = 1e-6  # pixels, far above what a product of two floats is off by
MOST_ZOOM = 32.0  # a field of 4x looks so at 100x; beyond, a pixel size is in another unit
MOST = 2**31 - 1  # that an int32 counts to
FINE = 8  # bits of a coordinate that are summed apart where sums would be larger


@dataclass(frozen=True)
class CropConfig:
    """What a crop shows.

    Attributes:
        side: Pixels of a crop, each way.
        pixel_size_um: Size of these pixels, which fields are resampled to; None leaves fields
            as they are.
        is_masked: Whether all that is not the cell is set to 0.
    """

    side: int = 64
    pixel_size_um: float | None = None
    is_masked: bool = False


class Crops(NamedTuple):
    """Cells of a field, one crop each; row i is label i + 1.

    Attributes:
        pixels: [cell, side, side, channel], in the unit of the image; zeros for absent labels.
        inside: Whether a pixel belongs to the cell, [cell, side, side].
        present: Whether the label occurs.
        is_padded: Whether the crop reaches beyond the field; its outermost pixels are repeated
            there.
    """

    pixels: Float[Array, "cell side side channel"]
    inside: Bool[Array, "cell side side"]
    present: Bool[Array, " cell"]
    is_padded: Bool[Array, " cell"]


def cut_crops(
    image: Image, labels: Labels, *, config: CropConfig, zoom: float, max_cells: int
) -> Crops:
    """Cut the crop of every cell of one field, centred on its centroid.

    Pure and traceable: a driver maps it over a batch. The pixel that holds the centroid becomes
    pixel `side // 2` of the crop; without resampling, crops are copies of the image's pixels.

    Args:
        image: Intensities, [height, width, channel].
        labels: 0 for background, 1 to `max_cells` for cells, [height, width].
        config: Side, and whether what lies around the cell is shown.
        zoom: From `zoom_for`: crop pixels for each pixel of the field. Below 1 the field is
            smoothed first, so that nothing aliases.
        max_cells: Rows to return; labels above have none.

    Returns:
        The same crop of a cell whatever else is in the field's batch.
    """
    centres, present = _centres(labels, max_cells)
    image, labels = _resampled(image, labels, zoom)
    at = jnp.floor((centres + 0.5) * zoom).astype(jnp.int32)  # the pixel that holds the centroid
    corners = jnp.where(present[:, None], at, 0) - config.side // 2
    last = jnp.array(labels.shape, jnp.int32) - config.side
    is_padded = present & ((corners < 0) | (corners > last[None])).any(axis=1)

    cells = jnp.arange(1, max_cells + 1, dtype=jnp.int32)
    squares = partial(_squares, corners=corners, side=config.side)
    inside = (squares(labels[..., None])[..., 0] == cells[:, None, None]) & ~_outside(
        corners, labels.shape, config.side
    )
    shown = inside if config.is_masked else present[:, None, None]
    pixels = jnp.where(shown[..., None], squares(image), 0)
    return Crops(pixels, inside, present, is_padded)


def zoom_for(
    shape: tuple[int, int],
    *,
    config: CropConfig,
    pixel_size_um: float | None = None,
    model: str | None = None,
) -> float:
    """Crop pixels for each pixel of a field, checked before anything is compiled.

    Args:
        shape: Height and width of the field, pixels.
        config: The crops to be cut.
        pixel_size_um: Of the field.
        model: Name of the encoder whose crops they are, for messages.

    Raises:
        BadRecipe: The field's pixel size is no size, needed and unknown, or out of all proportion;
            or crops are larger than the field.

    >>> zoom_for((1080, 1080), config=CropConfig(64, pixel_size_um=0.65), pixel_size_um=0.325)
    0.5
    """
    whose = f"The crops of the encoder {model!r}" if model else "The crops"
    if pixel_size_um is not None and not 0 < pixel_size_um < inf:
        raise BadRecipe(
            f"Found a pixel size of {pixel_size_um:g} um; expected a finite number above 0. Give "
            "the size of the images' pixels, in micrometres."
        )
    if config.pixel_size_um is not None and pixel_size_um is None:
        raise BadRecipe(
            f"{whose} have {config.pixel_size_um:g} um per pixel, but the field's own pixel size "
            "is not known. Give it in the recipe ([embed] pixel_size_um), or take crops at the "
            "field's pixels."
        )
    zoom = 1.0
    if config.pixel_size_um is not None and pixel_size_um is not None:
        zoom = pixel_size_um / config.pixel_size_um
    if zoom > MOST_ZOOM:
        raise BadRecipe(
            f"{whose} have {config.pixel_size_um:g} um per pixel, and the field's pixels would be "
            f"{zoom:.4g} times as large, {pixel_size_um:g} um. Give their size in micrometres "
            "([embed] pixel_size_um), not in nanometres."
        )
    height, width = _zoomed(shape, zoom)
    if config.side > min(height, width):
        seen = "" if zoom == 1.0 else f", {height} x {width} at the crops' pixel size"
        raise BadRecipe(
            f"{whose} are {config.side} x {config.side} pixels, larger than the field, which has "
            f"{shape[0]} x {shape[1]}{seen}. Take an encoder with smaller crops ([embed] model), "
            "such as the shipped 'cells' (64 x 64), or fields that were not cut so small."
        )
    return zoom


def _zoomed(shape: tuple[int, ...], zoom: float) -> tuple[int, int]:
    """Height and width of a field at the crops' pixel size.

    Whole pixels only; 0.3 / 0.1 is just below 3, and must not cost the last one.
    """
    height, width = (floor(length * zoom + ROUNDING) for length in shape)
    return height, width


def _centres(labels: Labels, max_cells: int) -> tuple[Array, Array]:
    """Centroids in pixels, [cell, 2], and whether the label occurs; integer sums are exact."""
    places = [jnp.broadcast_to(i, labels.shape).ravel() for i in _grid(labels.shape)]
    owner = labels.ravel()
    total = partial(segment_sum, segment_ids=owner, num_segments=max_cells + 1)
    area = total(jnp.ones_like(owner))[1:]
    counted = jnp.maximum(area, 1)[:, None]

    def means(parts: Sequence[Array]) -> Array:
        return jnp.stack([total(part)[1:] for part in parts], axis=-1) / counted

    def in_two() -> Array:
        coarse, fine = ([place >> FINE for place in places], [place % 2**FINE for place in places])
        return means(coarse) * 2**FINE + means(fine)

    centres = means(places)
    most = MOST // max(labels.shape)  # pixels whose coordinates an int32 surely sums
    if labels.size > most:
        is_large = area > most
        parted = jax.lax.cond(is_large.any(), in_two, lambda: centres)
        centres = jnp.where(is_large[:, None], parted, centres)
    return centres, area > 0


def _grid(shape: tuple[int, ...]) -> tuple[Array, Array]:
    height, width = shape
    rows, columns = (jnp.arange(length, dtype=jnp.int32) for length in (height, width))
    return rows[:, None], columns[None, :]


def _resampled(image: Image, labels: Labels, zoom: float) -> tuple[Array, Array]:
    """Bring a field to the crops' pixel size: linear, smoothed where pixels grow."""
    if zoom == 1.0:
        return image, labels
    height, width = _zoomed(labels.shape, zoom)
    shape = (height, width, image.shape[-1])
    scale, none = jnp.full(2, zoom, jnp.float32), jnp.zeros(2, jnp.float32)
    image = jax.image.scale_and_translate(image, shape, (0, 1), scale, none, "linear")
    rows, columns = (((i + 0.5) / zoom).astype(jnp.int32) for i in _grid((height, width)))
    return image, labels[rows, columns]


def _squares(values: Array, *, corners: Array, side: int) -> Array:
    """Cut [cell, side, side, ...] at the corners; beyond the border, the border is repeated."""
    steps = jnp.arange(side, dtype=jnp.int32)
    rows, columns = (
        jnp.clip(corners[:, axis, None] + steps[None], 0, values.shape[axis] - 1) for axis in (0, 1)
    )
    return values[rows[:, :, None], columns[:, None, :]]


def _outside(corners: Array, shape: tuple[int, ...], side: int) -> Array:
    """Which pixels of the crops lie beyond the field, [cell, side, side]."""
    steps = jnp.arange(side, dtype=jnp.int32)
    rows, columns = (corners[:, axis, None] + steps[None] for axis in (0, 1))
    above_below = (rows < 0) | (rows >= shape[0])
    left_right = (columns < 0) | (columns >= shape[1])
    return above_below[:, :, None] | left_right[:, None, :]
