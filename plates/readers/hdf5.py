"""This project's plates in HDF5: one file a plate, one dataset a field.

    /                    attributes: format "plate-profiler", version 1, plate, channels, and for
                         each channel channel_names, wavelengths_nm (empty, NaN: not known)
    /B03/1/images        site 1 of well B03, [timepoint, channel, z, height, width]; one chunk a
                         plane; attributes pixel_size_um, magnification, objective, z_um, time_s
    /B03/1/has_plane     [timepoint, channel, z], false where there was no image

`plates.convert` writes it. Attributes that are not known are left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plates.address import item_of
from plates.errors import BadPlate
from plates.hdf import groups
from plates.imageset import FieldKey
from plates.readers.folder import indexes
from plates.readers.reader import PlaneRow, Reader, check_field, table
from plates.table import as_count
from plates.well import parse_well

SUFFIXES = ("*.h5", "*.hdf5")
FORMAT, VERSION = "plate-profiler", 1
IMAGES, HAS_PLANE = "images", "has_plane"


def matches(source: Path) -> bool:
    """Whether there is a plate of this project's making near the top."""
    return bool(_plates(source))


def _plates(source: Path) -> list[Path]:
    return [path for path in indexes(source, *SUFFIXES, depth=1) if _format(path) == FORMAT]


def _format(path: Path) -> str | None:
    import h5py

    try:
        with h5py.File(path, "r") as store:
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
    """
    import h5py

    for path in indexes(source, *patterns, depth=1):
        try:
            h5py.File(path, "r").close()
        except OSError as reason:
            raise BadPlate(
                f"{path} cannot be opened as HDF5, so it is damaged or cut short: {reason}. Copy "
                "it again (a plate in a store must be copied here first), or move it away."
            ) from reason


def scan(source: Path) -> pl.DataFrame:
    """List every plane of one or more plates.

    Returns:
        One row per plane that was there; `path` names file, dataset and place.

    Raises:
        BadPlate: A file is damaged or of a later version.
    """
    check_whole(source, *SUFFIXES)
    return table(row for path in _plates(source) for row in _planes(path))


def _planes(path: Path) -> Iterator[PlaneRow]:
    import h5py

    try:
        with h5py.File(path, "r") as store:
            version = store.attrs.get("version")
            if version != VERSION:
                raise BadPlate(
                    f"{path} is a plate of version {version}; this release reads {VERSION}. "
                    "Update plate-profiler."
                )
            for well, sites in groups(store):
                for site, field in groups(sites):
                    key = FieldKey(str(store.attrs["plate"]), parse_well(well), site_number(site))
                    yield from _field(path, field, key=key, plate=store.attrs)
    except BadPlate:
        raise
    except Exception as reason:  # h5py raises almost anything on damaged bytes
        raise BadPlate(f"{path} is damaged: {reason}. Convert the plate again.") from reason


def site_number(name: str) -> int:
    """A site from the name of its group.

    Raises:
        ValueError: It is no number, or none that a site has.
    """
    number = as_count(name)
    if number is None:
        raise ValueError(f"{name!r} is no number of a site")
    return number


def _field(path: Path, field: Any, *, key: FieldKey, plate: Any) -> Iterator[PlaneRow]:
    images = field[IMAGES]
    check_field(field[HAS_PLANE].shape, path=path)
    has_plane, said = np.asarray(field[HAS_PLANE]), images.attrs
    for time, channel, z in np.argwhere(has_plane).tolist():
        wavelength = float(plate["wavelengths_nm"][channel])
        yield PlaneRow(
            *key[:3],
            channel=str(plate["channels"][channel]),
            z=z + 1,
            timepoint=time + 1,
            path=item_of(path, time, channel, z, dataset=images.name),
            channel_name=str(plate["channel_names"][channel]) or None,
            wavelength_nm=None if np.isnan(wavelength) else wavelength,
            pixel_size_um=_number(said, "pixel_size_um"),
            magnification=_number(said, "magnification"),
            objective=str(said["objective"]) if "objective" in said else None,
            z_um=float(said["z_um"][z]) if "z_um" in said else None,
            time_s=float(said["time_s"][time]) if "time_s" in said else None,
        )


def _number(attributes: Any, name: str) -> float | None:
    return float(attributes[name]) if name in attributes else None


HDF5 = Reader("hdf5", "an HDF5 file that `profiler convert` wrote", matches, scan)
