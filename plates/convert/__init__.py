"""Any plate that can be read -> one OME-Zarr plate or one HDF5 file per plate.

A plate is written under another name and renamed when it is whole, so that what has its name is
complete. A plane that cannot be read is told in the field's event and recorded as absent in the
new plate: no zeros stand for it.
"""

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import polars as pl

from plates.address import remote_address
from plates.convert.hdf5 import Hdf5Plate
from plates.convert.ome_zarr import ZarrPlate
from plates.convert.part import held_part, keep
from plates.convert.profiles import Wanted, named, surfaces
from plates.convert.stack import Stack, Unread, read_stack
from plates.errors import BadImage, BadPlate, lookup
from plates.imageset import FieldKey
from plates.readers import scan
from plates.readers.flatfield import FlatField

READING = 4  # planes at a time
POSITION = ("plate", "well", "site")  # its planes go into one array, whatever their time


class FieldConverted(NamedTuple):
    """A field that was written.

    Attributes:
        key: Which; all its time points, whatever the key says.
        planes: How many of its planes.
        unread: The others.
        plate: Where its plate will be when it is whole, if any plane of it can be read.
    """

    key: FieldKey
    planes: int
    unread: tuple[Unread, ...]
    plate: Path


class ProfileLost(NamedTuple):
    """A shading profile of the microscope that cannot be taken along.

    Attributes:
        channel: Whose.
        message: Why.
        plate: As of `FieldConverted`.
    """

    channel: str
    message: str
    plate: Path


Converted: TypeAlias = FieldConverted | ProfileLost


class Plate(Protocol):
    """A plate being written."""

    def add(self, key: FieldKey, stack: Stack) -> None:
        """Write a field."""
        ...

    def shade(self, name: str, profile: FlatField) -> None:
        """Write a shading profile for images of one size."""
        ...

    def finish(self) -> None:
        """Write what only the whole plate tells."""
        ...

    def close(self) -> None:
        """Let go of it, whole or not."""
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
) -> Generator[Converted, None, None]:
    """Write the plates of a folder anew.

    Args:
        source: As `plates.readers.scan` takes it.
        out: Folder for `<plate>.zarr` or `<plate>.h5`, made if need be.
        to: Name in `FORMATS`.
        reader: As for `scan`.
        pattern: As for `scan`.

    Returns:
        A generator of events, one per field, in order, and after them one per shading profile
        that is lost; nothing is done before it is asked.

    Raises:
        UnknownName: There is no such format or reader.
        BadPlate: `out` is an address or a file, the source cannot be scanned, a plate is being
            written by another command or cannot be written, or, after all others were written, one
            of that name was there already, or not one plane of one can be read.
    """
    form = lookup(FORMATS, kind="format", name=to)
    _check_folder(out)
    planes = scan(source, reader=reader, pattern=pattern)
    empty, there = [], []
    for (plate,), rows in planes.group_by("plate", maintain_order=True):
        if os.path.lexists(path := out / f"{plate}{form.suffix}"):
            there.append(str(path))  # of an earlier command, perhaps, that was stopped
        elif not (yield from _converted(rows, path, form=form)):
            empty.append(str(plate))
    if there or empty:
        raise BadPlate(" ".join(_left_out(there, empty)))


def _left_out(there: list[str], empty: list[str]) -> Iterator[str]:
    """Say which plates were not written, and why."""
    if there:
        are, them = ("are", "them") if len(there) > 1 else ("is", "it")
        yield (
            f"{', '.join(there)} {are} there already. Move {them} away, or choose another folder. "
            "Plates that were not there are written."
        )
    if empty:
        yield (
            f"Not one plane of {', '.join(empty)} can be read, so no plate was written of it. Each "
            "plane was told with its reason; copy the images again."
        )


def _check_folder(out: Path) -> None:
    if address := remote_address(out):
        raise BadPlate(
            f"{address} is an address, and plates are written into folders of this machine only. "
            "Choose a folder, and copy the plate when it is whole."
        )
    with suppress(PermissionError):  # told when something is written to it
        if out.exists() and not out.is_dir():
            raise BadPlate(f"{out} is a file. Give a folder; plates are written into it.")


def _converted(rows: pl.DataFrame, path: Path, *, form: Format) -> Generator[Converted, None, int]:
    """Write a plate; returns how many planes of it could be read, without any it is not kept."""
    try:
        with held_part(path) as part:
            written = yield from _written(rows, path, form=form, part=part)
            if written:
                keep(part, path)
            return written
    except OSError as reason:
        if isinstance(reason, BadImage):
            raise
        raise BadPlate(
            f"{path} cannot be written: {reason.strerror or reason}. What was written of it was "
            "removed."
        ) from reason


def _written(
    rows: pl.DataFrame, path: Path, *, form: Format, part: Path
) -> Generator[Converted, None, int]:
    written, wanted = 0, dict[str, Wanted]()
    # All writing is one other thread's: Python raises an interrupt in the main one, and within a
    # library that writes, it would leave files or threads behind.
    with ThreadPoolExecutor(READING) as readers, ThreadPoolExecutor(1) as writer:
        plate = writer.submit(form.open, part, rows).result()
        try:
            for key, field in rows.group_by(POSITION, maintain_order=True):
                stack, unread = read_stack(field, rows, pool=readers)
                if stack:
                    writer.submit(plate.add, FieldKey(*key), named(stack, wanted)).result()
                done = int(stack.has_plane.sum()) if stack else 0
                written += done
                yield FieldConverted(FieldKey(*key), done, unread, path)
            for address, profile in wanted.items():
                for found in surfaces(address, profile):
                    if isinstance(found, str):
                        yield ProfileLost(profile.channel, found, path)
                    else:
                        writer.submit(plate.shade, profile.name, found).result()
            writer.submit(plate.finish).result()
        finally:
            writer.submit(plate.close).result()
    return written
