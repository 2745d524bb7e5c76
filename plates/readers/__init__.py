"""A microscope's folder in, one row per image plane out."""

import os
import reprlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from plates.address import parse_address, remote_address
from plates.errors import BadPlate, BadRecipe, ProfilingError, lookup
from plates.readers import ome_zarr
from plates.readers import pattern as by_pattern
from plates.readers.cellh5 import CELLH5
from plates.readers.cellh5 import SUFFIXES as HDF5_SUFFIXES
from plates.readers.cellvoyager import CELLVOYAGER
from plates.readers.folder import files_below, image_files
from plates.readers.gallery import GALLERY
from plates.readers.harmony import HARMONY
from plates.readers.hdf5 import HDF5, check_whole
from plates.readers.imagexpress import IMAGEXPRESS
from plates.readers.incell import INCELL
from plates.readers.loaddata import LOADDATA
from plates.readers.mirror import scan_mirrored
from plates.readers.ome_tiff import OME_TIFF
from plates.readers.ome_zarr import OME_ZARR
from plates.readers.pattern import PATTERN
from plates.readers.reader import Reader, checked
from plates.readers.samplesheet import SAMPLESHEET
from plates.readers.scanr import SCANR
from plates.remote import read_json

# In the order they are tried: a table that somebody wrote is trusted before a microscope's index,
# and an index before file names.
READERS = {
    reader.name: reader
    for reader in (
        LOADDATA, SAMPLESHEET, GALLERY, CELLVOYAGER, HARMONY, INCELL, SCANR, OME_ZARR, HDF5,
        CELLH5, OME_TIFF, IMAGEXPRESS, PATTERN,
    )
}  # fmt: skip
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".7z", ".rar")


def scan(folder: Path | str, *, reader: str = "auto", pattern: str | None = None) -> pl.DataFrame:
    """List every image plane of a plate, without reading any pixel.

    Args:
        folder: The plate's folder, or an index file such as a LoadData CSV, here or at an
            address that fsspec knows (`s3://bucket/plate`).
        reader: Name in `READERS`, or "auto" for the first that matches.
        pattern: Regular expression for file names, or a built-in pattern's name
            (see `plates.readers.pattern`); the pattern reader then does the reading.

    Returns:
        One row per plane, columns `PLANES` and then `METADATA` of `plates.readers.reader`,
        sorted by plate, row, column, site, channel, z.

    Raises:
        BadPlate: The folder is missing, empty, unreadable or of no known format, its index is
            damaged, a plane has two files, or a channel was taken at two magnifications.
        UnknownName: There is no such reader or built-in pattern.
        BadRecipe: The pattern is not one, or another reader was asked for with it.
    """
    if pattern is not None and reader not in ("auto", PATTERN.name):
        raise BadRecipe(f"A file name pattern needs reader = 'pattern', not {reader!r}.")
    if reader != "auto":
        lookup(READERS, kind="reader", name=reader)
    address = remote_address(folder)
    if address is None:
        return _scan(Path(folder), reader=reader, pattern=pattern)
    if pattern is None and reader in ("auto", OME_ZARR.name) and ome_zarr.matches(address):
        return _read(partial(ome_zarr.scan, address), source=Path(address))
    return scan_mirrored(address, partial(_scan, reader=reader, pattern=pattern))


def _scan(source: Path, *, reader: str, pattern: str | None) -> pl.DataFrame:
    files = _files(source)

    def read() -> pl.DataFrame:
        if pattern is not None:
            return by_pattern.scan(source, pattern=pattern)
        chosen = READERS[reader] if reader != "auto" else _detected(source, files)
        return chosen.scan(source)

    return _read(read, source=source)


def _read(scan: Callable[[], pl.DataFrame], *, source: Path) -> pl.DataFrame:
    """Call a reader; whatever a damaged index makes it raise is told as damage."""
    try:
        return checked(scan(), source=source)
    except ProfilingError:
        raise
    except OSError as reason:
        name = reason.filename or source
        raise BadPlate(f"{name} cannot be read: {reason.strerror or reason}.") from reason
    except Exception as reason:  # damage takes more forms than a reader can foresee
        said = f"{type(reason).__name__}: {reprlib.repr(str(reason))}"
        raise BadPlate(
            f"{source}: the index is damaged: {said}. Copy it again, export the plate again, or "
            "give a pattern for its file names."
        ) from reason


def _files(source: Path) -> list[Path]:
    """Files of a source, or why there are none."""
    try:
        exists, is_file = source.exists(), source.is_file()
    except OSError as reason:
        raise BadPlate(f"{source} cannot be read: {reason.strerror}.") from reason
    if not exists:
        raise BadPlate(f"There is no {source}. Check the path, and that the drive is there.")
    files = [source] if is_file else files_below(source)
    if not files:
        raise BadPlate(f"The folder {source} is empty. Expected a plate's images.")
    return files


def _detected(source: Path, files: list[Path]) -> Reader:
    for reader in READERS.values():
        if reader.matches(source):
            return reader
    _check_indexes(source)
    if source.suffix.lower() in ARCHIVES:
        raise BadPlate(
            f"{source} is an archive, and no plate is read out of one. Unpack it, and give the "
            "folder."
        )
    tried = "; ".join(f"{name} needs {reader.needs}" for name, reader in READERS.items())
    first = ", ".join(path.name for path in files[:3])
    raise BadPlate(
        f"No reader fits {source}. Tried: {tried}. Files there: {len(files)}, first: {first}. "
        "Point at the folder of one plate, or give a pattern for its file names."
    )


def _check_indexes(source: Path) -> None:
    """Say so where no reader knows a plate because the file that tells what it is is damaged."""
    check_whole(source, *HDF5_SUFFIXES)
    for name in (".zattrs", "zarr.json"):
        read_json(str(source), name)


def unused_images(folder: Path | str, planes: pl.DataFrame) -> list[Path]:
    """Images in a folder that a scan did not take, so that a run can say so.

    Args:
        folder: As given to `scan`.
        planes: What `scan` returned.

    Returns:
        Their paths, fit to be printed: what is not UTF-8 in a name is written out in hexadecimal.
        None for a remote folder, which is not searched again.
    """
    source = Path(folder)
    home = source if source.is_dir() else source.parent
    if remote_address(folder) or not home.is_dir():
        return []
    taken = {Path(parse_address(path).file).resolve() for path in planes["path"]}
    return [_printable(path) for path in image_files(home) if path.resolve() not in taken]


def _printable(path: Path) -> Path:
    return Path(os.fsencode(path).decode(errors="backslashreplace"))
