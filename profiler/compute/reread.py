"""A run's fields read again: the pixels that it measured, and the same cells in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import tifffile

from plates.errors import BadPlate, BadRun
from plates.imageset import FieldKey
from plates.loader import PixelFormat
from plates.pixels import FileStamp, is_unchanged, project, read_plane
from profiler.compute.field import segment_config, to_unit
from profiler.compute.pictures import label_path
from profiler.compute.same_cells import centres_of, check_same, known_well
from profiler.embed.crops import CropConfig, cut_crops, zoom_for
from profiler.illuminate.exposure import Light, correct
from profiler.illuminate.run import light_of
from profiler.recipe import Recipe
from profiler.segment.segmenter import Segmenter, load_segmenter
from profiler.store.run import read_facts

WELLS = 8  # whose tables are remembered: fields come well by well, or wells take turns


class FieldCells(NamedTuple):
    """The cells of one field, row i is object number i + 1.

    Attributes:
        pixels: Crops of the stains that the network sees, 0 to 1, [cell, side, side, channel].
        inside: Which pixels are the cell's, nucleus and all around it.
        is_whole: Whether the crop lies within the field.
    """

    pixels: np.ndarray
    inside: np.ndarray
    is_whole: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where fields come from, and how their cells are cut.

    Attributes:
        out: The run folder.
        recipe: That it was made with.
        stains: That the network sees, in its order.
        crops: As it takes them.
        pixel_sizes: Plate -> micrometres per pixel of its fields, where that is known.
    """

    out: Path
    recipe: Recipe
    stains: tuple[str, ...]
    crops: CropConfig
    pixel_sizes: Mapping[str, float | None] = field(default_factory=dict)


Reader: TypeAlias = Callable[[FieldKey], FieldCells]


def field_reader(source: Source) -> Reader:
    """Make a function that reads a field again and cuts its cells.

    It raises BadPlate where the field's images are gone or changed, BadRun where other cells are
    found in them than the run has, by number or by where they lie, and BadRecipe where crops are
    larger than the field.
    """
    segmenter = load_segmenter(segment_config(source.recipe))
    known = lru_cache(WELLS)(partial(known_well, source.out))

    def read(key: FieldKey) -> FieldCells:
        well = known(key.plate, key.well)
        raw = _pixels(source, key, _stamps(source, key, well.footer))
        light = _light(source, key.plate, raw)
        images = to_unit(raw[None])
        if light is not None:
            images = correct(images, light, has_levels=np.issubdtype(raw.dtype, np.integer))
        kept = labels = _kept_labels(source.out, key)
        if labels is None:
            _check_weights(source.out, segmenter)
            found = segmenter.segment(images)
            labels = np.asarray(found.nuclei[0]), np.asarray(found.cells[0])
        check_same(key, labels, well, is_kept=kept is not None)
        size = source.pixel_sizes.get(key.plate)
        return _cut(source, images[0], *labels, pixel_size_um=size)

    return read


def _check_weights(out: Path, segmenter: Segmenter) -> None:
    made_with = read_facts(out).weights
    if made_with != segmenter.weights:
        raise BadRun(
            f"The cells of {out} were found by other networks (sha256 {str(made_with)[:12]}...) "
            f"than its recipe names now ({segmenter.weights[:12]}...), and it keeps no label "
            "images. Run the plate again first."
        )


def _pixels(source: Source, key: FieldKey, stamps: list[FileStamp]) -> np.ndarray:
    """Raw grey levels of all stains, [height, width, channel]."""
    odd = [stamp.path for stamp in stamps if not is_unchanged(stamp, stamp.path)]
    if odd:
        raise BadPlate(
            f"{len(odd)} of {len(stamps)} files that the run read {key.plate} {key.well} site "
            f"{key.site} from are gone or changed, such as {odd[0]}. The pixels are needed: "
            "put the images back where they were, or run the plate again from where they are now."
        )
    stains = list(source.recipe.images.channels)
    depth, rest = divmod(len(stamps), len(stains))
    if rest:
        raise BadPlate(
            f"{key.plate} {key.well} site {key.site}: {len(stamps)} files for {len(stains)} "
            "stains; fields are read again only where each stain has as many z planes."
        )
    stacks = [stamps[i * depth : (i + 1) * depth] for i in range(len(stains))]
    how = source.recipe.images.projection
    planes = [
        project([read_plane(each.path).pixels for each in stack], how=how) for stack in stacks
    ]
    return np.stack(planes, axis=-1)


def _stamps(source: Source, key: FieldKey, footer: Mapping[str, Any]) -> list[FileStamp]:
    stamps = {
        (site, time): [FileStamp(*each) for each in files] for site, time, files in footer["inputs"]
    }[key.site, key.timepoint]
    # How the plate is lit is the last of the files that a field was computed from.
    return stamps if source.recipe.illumination.method == "none" else stamps[:-1]


def _light(source: Source, plate: str, raw: np.ndarray) -> Light | None:
    if source.recipe.illumination.method == "none":
        return None
    height, width, _ = raw.shape
    pixel_format = PixelFormat(height, width, raw.dtype)
    light = light_of(source.out, source.recipe, plate, pixel_format)
    if isinstance(light, str):
        raise BadPlate(light)
    return light


def _kept_labels(out: Path, key: FieldKey) -> tuple[np.ndarray, np.ndarray] | None:
    """The label images that the run kept, if it did."""
    for has_times in (False, True):
        paths = [label_path(out, key, name, has_times=has_times) for name in ("nuclei", "cells")]
        if all(path.is_file() for path in paths):
            nuclei, cells = (tifffile.imread(path).astype(np.int32) for path in paths)
            return nuclei, cells
    return None


def _cut(
    source: Source,
    image: jax.Array,
    nuclei: np.ndarray,
    cells: np.ndarray,
    *,
    pixel_size_um: float | None,
) -> FieldCells:
    """Cut crops where the run did: around nuclei, or around cells that are shown alone."""
    shape = nuclei.shape[0], nuclei.shape[1]
    zoom = zoom_for(shape, config=source.crops, pixel_size_um=pixel_size_um)
    channels = np.array([list(source.recipe.images.channels).index(s) for s in source.stains])
    around = cells if source.crops.is_masked else nuclei
    cut = _cutter(source.crops, zoom, source.recipe.segment.max_cells)
    found = jax.device_get(cut(image[..., channels], jnp.asarray(around, jnp.int32)))
    count = int(nuclei.max(initial=0))
    inside = found.inside[:count]
    if not source.crops.is_masked:
        inside = _whole_cells(nuclei, cells, side=source.crops.side, zoom=zoom)
    return FieldCells(found.pixels[:count], inside, ~found.is_padded[:count])


@cache
def _cutter(crops: CropConfig, zoom: float, max_cells: int) -> Callable:
    return jax.jit(partial(cut_crops, config=crops, zoom=zoom, max_cells=max_cells))


def _whole_cells(nuclei: np.ndarray, cells: np.ndarray, *, side: int, zoom: float) -> np.ndarray:
    """Which pixels of crops around nuclei belong to the cell, [cell, side, side]."""
    count = int(nuclei.max(initial=0))
    centres = np.nan_to_num(centres_of(nuclei))
    corners = np.floor((centres + 0.5) * zoom).astype(int) - side // 2
    steps = np.arange(side) + 0.5
    inside = np.zeros((count, side, side), bool)
    for number, (top, left) in enumerate(corners):
        rows, is_row = _pixels_at((top + steps) / zoom, cells.shape[0])
        columns, is_column = _pixels_at((left + steps) / zoom, cells.shape[1])
        is_there = is_row[:, None] & is_column
        seen = cells[np.ix_(rows, columns)]
        inside[number] = is_there & (seen == number + 1)
    return inside


def _pixels_at(where: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixel at each place along an axis, and whether the place is on the field."""
    at = np.floor(where).astype(int)
    return at.clip(0, length - 1), (at >= 0) & (at < length)
