"""A field's planes, read into one array, with what is known of them."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Shaped

from plates.errors import BadImage, BadPlate
from plates.pixels import read_plane
from plates.readers.noted import AXIS

MOST_PLANES = 10_000  # of a field, where a hundred times fewer are there
Kind: TypeAlias = tuple[tuple[int, ...], np.dtype]


class Unread(NamedTuple):
    """A plane that could not be converted, with a short code and a sentence."""

    channel: str
    code: str
    message: str


class Stack(NamedTuple):
    """A field's planes in one array, [timepoint, channel, z, height, width]."""

    images: Shaped[np.ndarray, "timepoint channel z height width"]
    has_plane: Bool[np.ndarray, "timepoint channel z"]
    rows: pl.DataFrame


def read_stack(
    field: pl.DataFrame, plate: pl.DataFrame, *, pool: ThreadPoolExecutor
) -> tuple[Stack | None, tuple[Unread, ...]]:
    """Read a field.

    Args:
        field: Its rows of the plane table.
        plate: All rows of its plate, for the channels that others have.
        pool: Reads several planes at a time.

    Returns:
        The stack, or None if no plane can be read, and the planes that cannot: those of another
        shape or type than most of the field, too.

    Raises:
        BadPlate: Its numbers of time points and z planes need more memory than there is.
    """
    channels = channels_of(plate)
    rows = list(field.select("timepoint", "channel", "z", "path").iter_rows())
    read = list(pool.map(_read, (row[-1] for row in rows)))
    kinds = Counter((p.shape, p.dtype) for p in read if isinstance(p, np.ndarray))
    if not kinds:
        return None, tuple(_unread(row[1], plane) for row, plane in zip(rows, read, strict=True))
    ((usual, _),) = kinds.most_common(1)
    size = (largest(field, "timepoint"), len(channels), largest(field, "z"))
    stack = Stack(_room(size, usual, field=field), np.zeros(size, bool), field)
    unread = []
    for (time, channel, z, path), plane in zip(rows, read, strict=True):
        plane = _fitting(plane, usual, path=path)
        if isinstance(plane, BadImage):
            unread.append(_unread(channel, plane))
            continue
        place = time - 1, channels.index(channel), z - 1
        stack.images[place], stack.has_plane[place] = plane, True
    return stack, tuple(unread)


def _read(path: str) -> np.ndarray | BadImage:
    try:
        return read_plane(path).pixels
    except BadImage as problem:
        return problem


def _room(size: tuple[int, ...], kind: Kind, *, field: pl.DataFrame) -> np.ndarray:
    """The array for all of a field, unless its numbers are dates or the like."""
    shape, dtype = kind
    try:
        if prod(size) > max(MOST_PLANES, 100 * field.height):
            raise MemoryError
        return np.zeros((*size, *shape), dtype)
    except MemoryError as reason:
        plate, well, site = field.select("plate", "well", "site").row(0)
        raise BadPlate(
            f"Plate {plate}, well {well}, site {site} goes up to timepoint {size[0]} and z "
            f"{size[2]}, so it would be an array of {prod(size):,} planes for {field.height} that "
            "are there, and there is no room in memory. If the numbers are dates or the like, read "
            "the names by a pattern that counts."
        ) from reason


def _fitting(plane: np.ndarray | BadImage, usual: Kind, *, path: str) -> Any:
    if isinstance(plane, BadImage) or (plane.shape, plane.dtype) == usual:
        return plane
    (height, width), dtype = usual
    return BadImage(
        f"{path} is {plane.shape[0]} x {plane.shape[1]} {plane.dtype}, but most planes of its "
        f"field are {height} x {width} {dtype}.",
        code="wrong_shape",
    )


def _unread(channel: str, problem: np.ndarray | BadImage) -> Unread:
    assert isinstance(problem, BadImage)
    return Unread(channel, problem.code, str(problem))


def largest(planes: pl.DataFrame, column: str) -> int:
    """Largest number in a column of counts."""
    return int(planes[column].to_numpy().max())


def channels_of(plate: pl.DataFrame) -> list[str]:
    """The channels of a plate, sorted."""
    return plate["channel"].unique().sort().to_list()


def known(rows: pl.DataFrame, column: str) -> Any:
    """A field's value of a column, if its planes that say agree on one."""
    values = rows[column].drop_nulls().unique()
    return values[0] if len(values) == 1 else None


def along(rows: pl.DataFrame, axis: str, column: str) -> list[float | None]:
    """A position for each step of an axis: of its first plane, or None where it is not known."""
    known = rows.filter(pl.col(column).is_not_null()).group_by(axis).agg(pl.col(column).min())
    at = dict(known.iter_rows())
    return [at.get(step) for step in range(1, largest(rows, axis) + 1)]


def noted(rows: pl.DataFrame, channels: Sequence[str]) -> dict[str, list[Any]]:
    """What is known of a field, a value or None for each step of an axis, by column.

    Args:
        rows: Of the field.
        channels: Of its plate.

    Returns:
        Columns of `plates.readers.noted.AXIS`, without those of which nothing is known.
    """
    by_channel = [rows.filter(channel=channel) for channel in channels]
    along_c = {name: [known(r, name) for r in by_channel] for name, a in AXIS.items() if a == "c"}
    steps = {"z_um": along(rows, "z", "z_um"), "time_s": along(rows, "timepoint", "time_s")}
    return {n: v for n, v in (along_c | steps).items() if any(value is not None for value in v)}
