"""This project's plates in HDF5: one file a plate, one dataset a field.

    /                           attributes: format "plate-profiler", version 2, plate, channels
    /B03/1/images               site 1 of well B03, [timepoint, channel, z, height, width]; one
                                chunk a plane; attributes: columns of the plane table, with a
                                value for each channel, z or timepoint as `AXIS` says
    /B03/1/has_plane            [timepoint, channel, z], false where there was no image
    /illumination/1/1080x1080   a shading profile, see `plates.readers.noted`

`plates.convert` writes it. In attributes NaN and "" are values that are not known; one without any
is left out. Version 1 has channel_names and wavelengths_nm at the top, a single pixel_size_um,
magnification and objective for a field, and no profiles.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plates.address import item_of
from plates.errors import BadPlate
from plates.hdf import groups
from plates.imageset import FieldKey
from plates.readers.folder import indexes
from plates.readers.mirror import opened
from plates.readers.noted import AXIS, PROFILES, profile_of
from plates.readers.reader import METADATA, PlaneRow, Reader, check_field, table
from plates.remote import RemoteFile
from plates.table import as_count
from plates.well import parse_well

SUFFIXES = ("*.h5", "*.hdf5")
FORMAT, VERSION, VERSIONS = "plate-profiler", 2, (1, 2)
OF_PLATE = {"channel_name": "channel_names", "wavelength_nm": "wavelengths_nm"}  # in version 1
IMAGES, HAS_PLANE = "images", "has_plane"


def matches(source: Path) -> bool:
    """Whether there is a plate of this project's making near the top."""
    return bool(_plates(source))


def _plates(source: Path) -> list[Path]:
    return [path for path in indexes(source, *SUFFIXES, depth=1) if _format(path) == FORMAT]


def _format(path: Path) -> str | None:
    import h5py

    with opened(path, again=True) as file:
        try:
            with h5py.File(file, "r") as store:
                return str(store.attrs.get("format", ""))
        except Exception:  # h5py raises almost anything on damaged bytes; `check_whole` says so
            return None


def check_whole(source: Path, *patterns: str) -> None:
    """Refuse HDF5 files that cannot be opened: they would else be left out unsaid.

    Args:
        source: A folder, or such a file itself.
        patterns: Of the names of files that should be HDF5.

    Raises:
        BadPlate: One cannot; the message names it.
        OSError: A store cannot be asked.
    """
    for path in indexes(source, *patterns, depth=1):
        with opened(path, again=True) as file:
            _check_opens(file, path=path)


def _check_opens(file: Path | RemoteFile, *, path: Path) -> None:
    import h5py

    try:
        h5py.File(file, "r").close()
    except OSError as reason:
        if "unable to lock file" in str(reason):
            raise BadPlate(
                f"{path} is locked: another program is writing it, or its file system cannot "
                f"lock files ({reason}). Wait until it is written; if nobody writes it, set "
                "HDF5_USE_FILE_LOCKING=FALSE."
            ) from reason
        raise BadPlate(
            f"{path} cannot be opened as HDF5, so it is damaged or cut short: {reason}. Copy "
            "it again, or move it away."
        ) from reason


def scan(source: Path) -> pl.DataFrame:
    """List every plane of one or more plates.

    Returns:
        One row per plane that was there; `path` names file, dataset and place.

    Raises:
        BadPlate: A file is damaged or of a later version.
    """
    check_whole(source, *SUFFIXES)
    damaged = "is damaged: {}. Convert the plate again."
    return table(row for path in _plates(source) for row in rows_of(path, _fields, damaged=damaged))


def rows_of(
    path: Path, read: Callable[[Path, Any], Iterator[PlaneRow]], *, damaged: str
) -> Iterator[PlaneRow]:
    """Read the rows of one file, here or in a store.

    Args:
        path: The file.
        read: From its path and what h5py opens to its rows.
        damaged: What to say of it, and to do, where it cannot be read; `{}` is why.

    Raises:
        BadPlate: It is damaged, or what `read` raises.
        OSError: A store cannot be asked.
    """
    import h5py

    with opened(path, again=True) as file:
        try:
            with h5py.File(file, "r") as store:
                yield from read(path, store)
        except BadPlate:
            raise
        except Exception as reason:  # h5py raises almost anything on damaged bytes
            raise BadPlate(f"{path} {damaged.format(reason)}") from reason


def _fields(path: Path, store: Any) -> Iterator[PlaneRow]:
    version = store.attrs.get("version")
    if version not in VERSIONS:
        raise BadPlate(
            f"{path} is a plate of version {version}; this release reads "
            f"{' and '.join(map(str, VERSIONS))}. Update plate-profiler."
        )
    plate = dict(store.attrs)
    for well, sites in groups(store):
        for site, field in () if well == PROFILES else groups(sites):
            key = FieldKey(str(plate["plate"]), _well(well, path=path), site_number(site))
            yield from _field(path, field, key=key, plate=plate)


def site_number(name: str) -> int:
    """A site from the name of its group.

    Raises:
        ValueError: It is no number, or none that a site has.
    """
    number = as_count(name)
    if number is None:
        raise ValueError(f"{name!r} is no number of a site")
    return number


def _well(name: str, *, path: Path) -> str:
    try:
        return parse_well(name)
    except BadPlate as reason:
        raise BadPlate(f"{path}: {reason} Convert the plate again.") from reason


def _field(
    path: Path, field: Any, *, key: FieldKey, plate: Mapping[str, Any]
) -> Iterator[PlaneRow]:
    images, has_plane = field[IMAGES], field[HAS_PLANE]
    check_field(has_plane.shape, path=path)
    if images.ndim != 5 or has_plane.shape != images.shape[:3]:
        raise ValueError(f"{images.name} is {images.shape}, and its has_plane {has_plane.shape}")
    sizes = dict(zip("tcz", has_plane.shape, strict=True))
    channels = [str(channel) for channel in plate["channels"]]
    if len(channels) != sizes["c"]:
        raise ValueError(f"{images.name} has {sizes['c']} channels, but {len(channels)} are named")
    noted = _noted(images.attrs, plate, sizes=sizes, path=path)
    for place in np.argwhere(np.asarray(has_plane)).tolist():
        at = dict(zip("tcz", place, strict=True))
        yield PlaneRow(
            *key[:3],
            channel=channels[at["c"]],
            z=at["z"] + 1,
            timepoint=at["t"] + 1,
            path=item_of(path, *place, dataset=images.name),
            **{name: values[at[AXIS[name]]] for name, values in noted.items()},
        )


def _noted(
    said: Any, plate: Mapping[str, Any], *, sizes: Mapping[str, int], path: Path
) -> dict[str, list[Any]]:
    """Columns of the plane table that a field says, each with a value a step of its `AXIS`."""
    found = {name: plate[old] for name, old in OF_PLATE.items() if old in plate}
    found |= {name: said[name] for name in AXIS if name in said}
    noted = {name: _values(name, found[name], count=sizes[AXIS[name]]) for name in found}
    names = noted.get("flat_field", [])
    addresses = [None if n is None else profile_of(path, n, is_dataset=True) for n in names]
    return noted | ({"flat_field": addresses} if names else {})


def _values(name: str, raw: Any, *, count: int) -> list[Any]:
    """One for each step; the one of a field of version 1 holds for all."""
    found = np.asarray(raw)
    if found.shape not in ((), (count,)):
        raise ValueError(f"{name} has the shape {found.shape}, expected {count} values")
    values = np.broadcast_to(found, (count,)).tolist()
    if METADATA[name].is_numeric():
        return [None if np.isnan(value) else float(value) for value in values]
    return [str(value) or None for value in values]


HDF5 = Reader("hdf5", "an HDF5 file that `profiler convert` wrote", matches, scan)
