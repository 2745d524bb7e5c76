"""Chunks of a Zarr array that are not stored: left out since they are empty, or lost.

A writer may leave out a chunk that has the fill value throughout, and of one that was lost Zarr
makes the fill value, too. It was lost, as far as can be told, where the pixels around it are mostly
others (what is empty in an image does not end where a chunk does) and all planes next to it have a
chunk at that place (a mosaic lacks a tile in others, too). All else that is stored in part is read
as it is, and told before a run: `plates.readers.ome_zarr_stored`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

MOST_EMPTY = 0.5  # of the pixels around a chunk that was lost


class LostChunk(FileNotFoundError):
    """A chunk that the planes next to it have is not there; the text is its name in the array."""


def check_stored(
    array: Any,
    index: tuple[int, ...],
    plane: Shaped[np.ndarray, "..."],
    *,
    is_stored: Callable[[str], bool],
) -> None:
    """Refuse what Zarr has made of chunks that are not there, where they were lost.

    Args:
        array: Of the zarr package.
        index: Leading indices of what was read.
        plane: What was read there.
        is_stored: Whether the array has a chunk of that name; asked for as few as possible, and of
            a plane without chunks that are empty for none.

    Raises:
        FileNotFoundError: Nothing at all is stored of it.
        LostChunk: A part is not stored.
    """
    is_empty = plane == (0 if array.fill_value is None else array.fill_value)
    if not is_empty.any():
        return
    name = array.metadata.encode_chunk_key
    grid = array.shards or array.chunks  # of a shard all or nothing is there: it is one file
    counts = [-(-length // size) for length, size in zip(array.shape, grid, strict=True)]
    place = tuple(i // size for i, size in zip(index, grid, strict=False))
    sizes, parts = grid[len(index) :], list(np.ndindex(*counts[len(index) :]))
    empty = {part for part in parts if is_empty[_extent(part, sizes)].all()}
    if len(empty) == len(parts):
        if not any(is_stored(name((*place, *part))) for part in parts):
            raise FileNotFoundError(f"nothing is stored at {index}")
        return
    for part in sorted(empty):
        if _is_cut_out(is_empty, part, sizes=sizes, empty=empty):
            own = name((*place, *part))
            others = [name((*other, *part)) for other in _beside(place, counts)]
            if others and not is_stored(own) and all(map(is_stored, others)):
                raise LostChunk(own)


def _extent(part: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(i * size, (i + 1) * size) for i, size in zip(part, sizes, strict=True))


def _is_cut_out(
    is_empty: Bool[np.ndarray, "..."],
    part: tuple[int, ...],
    *,
    sizes: tuple[int, ...],
    empty: set[tuple[int, ...]],
) -> bool:
    """Whether most pixels around an empty chunk are not, as far as the chunks there are not."""
    around = []
    for axis, (i, size) in enumerate(zip(part, sizes, strict=True)):
        for step, line in ((-1, i * size - 1), (1, (i + 1) * size)):
            beside = (*part[:axis], i + step, *part[axis + 1 :])
            if 0 <= line < is_empty.shape[axis] and beside not in empty:
                extent = list(_extent(part, sizes))
                extent[axis] = slice(line, line + 1)
                around.append(is_empty[tuple(extent)].ravel())
    return bool(around) and bool(np.concatenate(around).mean() < MOST_EMPTY)


def _beside(place: tuple[int, ...], counts: list[int]) -> Iterator[tuple[int, ...]]:
    """The next planes along each axis: the channel before and after, and so on."""
    for axis, (i, count) in enumerate(zip(place, counts, strict=False)):
        for other in (i - 1, i + 1):
            if 0 <= other < count:
                yield (*place[:axis], other, *place[axis + 1 :])
