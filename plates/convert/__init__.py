"""Any plate that can be read -> one OME-Zarr plate or one HDF5 file per plate.

A plate is written under another name and renamed when it is whole, so that what has its name is
complete. A plane that cannot be read is told in the field's event and recorded as absent in the
new plate: no zeros stand for it.
"""

import shutil
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl

from plates.convert.hdf5 import Hdf5Plate
from plates.convert.ome_zarr import ZarrPlate
from plates.convert.stack import Stack, Unread, read_stack
from plates.errors import BadImage, BadPlate, lookup
from plates.imageset import FieldKey
from plates.readers import scan

READING = 4  # planes at a time
POSITION = ("plate", "well", "site")  # its planes go into one array, whatever their time


class FieldConverted(NamedTuple):
    """A field that was written.

    Attributes:
        key: Which; all its time points, whatever the key says.
        planes: How many of its planes.
        unread: The others.
        plate: Where its plate will be when it is whole.
    """

    key: FieldKey
    planes: int
    unread: tuple[Unread, ...]
    plate: Path


class Plate(Protocol):
    """A plate being written."""

    def add(self, key: FieldKey, stack: Stack) -> None:
        """Write a field."""
        ...

    def close(self) -> None:
        """Write what only the whole plate tells."""
        ...


class Format(NamedTuple):
    """How a plate is written: the end of its name, and what opens it, given all its planes."""

    suffix: str
    open: Callable[[Path, pl.DataFrame], Plate]


FORMATS = {
    "ome-zarr": Format(".zarr", partial(ZarrPlate, version="0.5")),
    "ome-zarr-0.4": Format(".zarr", partial(ZarrPlate, version="0.4")),
    "hdf5": Format(".h5", Hdf5Plate),
}


def convert(
    source: Path | str, out: Path, *, to: str, reader: str = "auto", pattern: str | None = None
) -> Generator[FieldConverted, None, None]:
    """Write the plates of a folder anew.

    Args:
        source: As `plates.readers.scan` takes it.
        out: Folder for `<plate>.zarr` or `<plate>.h5`, made if need be.
        to: Name in `FORMATS`.
        reader: As for `scan`.
        pattern: As for `scan`.

    Returns:
        A generator of events, one per field, in order; nothing is done before it is asked.

    Raises:
        UnknownName: There is no such format or reader.
        BadPlate: The source cannot be scanned, a plate of that name is there already, or it
            cannot be written.
    """
    form = lookup(FORMATS, kind="format", name=to)
    planes = scan(source, reader=reader, pattern=pattern)
    for (plate,), rows in planes.group_by("plate", maintain_order=True):
        yield from _converted(rows, out / f"{plate}{form.suffix}", form=form)


def _converted(
    rows: pl.DataFrame, path: Path, *, form: Format
) -> Generator[FieldConverted, None, None]:
    if path.exists():
        raise BadPlate(f"{path} is there already. Move it away, or choose another folder.")
    part = path.with_name(f".{path.name}.part")
    try:
        _remove(part)
        part.parent.mkdir(parents=True, exist_ok=True)
        plate = form.open(part, rows)
        with ThreadPoolExecutor(READING) as pool:
            for key, field in rows.group_by(POSITION, maintain_order=True):
                stack, unread = read_stack(field, rows, pool=pool)
                if stack:
                    plate.add(FieldKey(*key), stack)
                done = int(stack.has_plane.sum()) if stack else 0
                yield FieldConverted(FieldKey(*key), done, unread, path)
        plate.close()
        part.rename(path)
    except OSError as reason:
        if isinstance(reason, BadPlate | BadImage):
            raise
        raise BadPlate(
            f"{path} cannot be written: {reason.strerror or reason}. What was written of it was "
            "removed."
        ) from reason
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
