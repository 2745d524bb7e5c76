"""How evenly a plate was lit: illumination functions as files, read, checked and applied.

A corrected image is (image - dark) / flat. Flat fields are CellProfiler's illumination functions:
one `.npy` per channel, [height, width], above 0, about 1. Dark fields are in the units of scaled
images, 0 to 1 of the file's range. Fitting them is the task of `profiler.illuminate`.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float32

from plates.errors import BadPlate
from plates.imageset import path_column
from plates.loader import PixelFormat
from plates.readers.flatfield import read_flat_field

Surface: TypeAlias = Float32[np.ndarray, "height width"]  # of one channel

NAMES = (  # of a stain's function in a folder, the first that is there; the first is our own
    "{plate}/{stain}.npy",
    "{plate}/{plate}_Illum{stain}.npy",  # Cell Painting Gallery
    "{plate}_Illum{stain}.npy",
    "Illum{stain}.npy",
    "{stain}.npy",
)
CORNER = 0.1  # of a side: what counts as corner, and as centre


class Illumination(NamedTuple):
    """How a channel is lit, or with a last axis all of them.

    Attributes:
        flat: What a field is divided by, about 1.
        dark: What is taken off before, in units of scaled images.
    """

    flat: Float32[np.ndarray, "height width *channel"]
    dark: Float32[np.ndarray, "height width *channel"]


def even(pixel_format: PixelFormat) -> Illumination:
    """Leave a channel as it is."""
    flat = np.ones((pixel_format.height, pixel_format.width), np.float32)
    return Illumination(flat, np.zeros_like(flat))


def read_flat(path: Path, *, pixel_format: PixelFormat) -> Surface:
    """Read an illumination function of CellProfiler's, or one of ours.

    Raises:
        BadPlate: It is not there, no `.npy` of numbers, of another shape than the images, or
            0, negative or not a number anywhere.
    """
    flat = _read(path, pixel_format=pixel_format)
    bad = ~(flat > 0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise BadPlate(
            f"The illumination function {path} is {flat[row, column]:g} at row {row}, column "
            f"{column} and is to be above 0 everywhere: images are divided by it. Fit it again."
        )
    return flat


def read_dark(path: Path, *, pixel_format: PixelFormat) -> Surface:
    """Read a dark field, or give zeros where there is no such file.

    Raises:
        BadPlate: As `read_flat`, but for zeros.
    """
    if not path.exists():
        return np.zeros((pixel_format.height, pixel_format.width), np.float32)
    return _read(path, pixel_format=pixel_format)


def _read(path: Path, *, pixel_format: PixelFormat) -> Surface:
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError as reason:
        raise BadPlate(f"The illumination function {path} is not there.") from reason
    except (OSError, ValueError, EOFError) as reason:
        raise BadPlate(
            f"{path} is no illumination function: {reason}. Expected a .npy file of numbers, as "
            "CellProfiler's SaveImages writes it."
        ) from reason
    expected = (pixel_format.height, pixel_format.width)
    if found.ndim == 3 and found.shape[-1] == 1:
        found = found[..., 0]
    if found.dtype.kind not in "fiu" or found.shape != expected:
        raise BadPlate(
            f"The illumination function {path} is {found.dtype} of shape {found.shape}, and the "
            f"plate's images are {expected}. Fit it on images of that size; a function of binned "
            "images does not fit."
        )
    surface = found.astype(np.float32)
    if not np.isfinite(surface).all():
        raise BadPlate(
            f"The illumination function {path} has {int((~np.isfinite(surface)).sum())} pixels "
            "that are no number (NaN or infinite). Fit it again."
        )
    return surface


def to_npy(surface: Surface) -> bytes:
    """The file of a function, which CellProfiler's LoadData opens too."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(surface, np.float32), allow_pickle=False)
    return buffer.getvalue()


def find_flats(folder: Path, *, plate: str, stains: Sequence[str]) -> dict[str, Path]:
    """Find a plate's illumination functions in a folder, by the names of `NAMES`.

    Raises:
        BadPlate: There is no such folder, or none for a stain.
    """
    if not folder.is_dir():
        raise BadPlate(
            f"[illumination] method is {str(folder)!r}, which is no folder and none of none, "
            "mean, basic and vendor. Give a folder of CellProfiler's .npy functions."
        )
    found = {stain: _first(folder, plate, stain) for stain in stains}
    if lacking := [stain for stain, path in found.items() if path is None]:
        tried = ", ".join(name.format(plate=plate, stain=lacking[0]) for name in NAMES)
        raise BadPlate(
            f"{folder} has no illumination function of {', '.join(lacking)} for plate {plate}. "
            f"Looked for {tried}. Name the files so, or leave the stain out of the recipe."
        )
    return {stain: path for stain, path in found.items() if path is not None}


def _first(folder: Path, plate: str, stain: str) -> Path | None:
    paths = (folder / name.format(plate=plate, stain=stain) for name in NAMES)
    return next((path for path in paths if path.is_file()), None)


def vendor_addresses(
    planes: pl.DataFrame, sets: pl.DataFrame, *, stains: Sequence[str]
) -> dict[tuple[str, str], str]:
    """Look up where the microscope says how it lit each channel.

    Args:
        planes: From `plates.readers.scan`.
        sets: Image sets of the same planes.
        stains: Whose profiles are wanted.

    Returns:
        (plate, stain) -> address for `read_vendor`; only where there is one. Of a plate put
        together of several measurements it is one line for each, blank for those without.
    """
    if "flat_field" not in planes.columns:
        return {}
    known = planes.select("path", pl.col("flat_field").fill_null("")).unique("path")
    found = {}
    for stain in stains:
        files = sets.select("plate", path=pl.col(path_column(stain)).list.first()).drop_nulls()
        named = files.join(known, on="path", maintain_order="left").group_by("plate")
        lines = named.agg(pl.col("flat_field").unique(maintain_order=True).str.join("\n"))
        found |= {(plate, stain): said for plate, said in lines.rows() if said}
    return found


def read_vendor(address: str, *, pixel_format: PixelFormat) -> Illumination:
    """Read a microscope's own profile.

    Args:
        address: From `vendor_addresses`.
        pixel_format: Of the plate's images.

    Raises:
        BadPlate: It cannot be read, is of another shape, or is 0 or below somewhere; or the
            measurements of the plate have different ones.
    """
    first, *others = address.split("\n")
    light = _read_vendor(first, pixel_format) if first else None
    for other in others:
        same = _read_vendor(other, pixel_format) if other else None
        if light is None or same is None or not all(map(np.array_equal, light, same)):
            raise BadPlate(
                "The plate is put together of measurements with different flat-field profiles: "
                f"{first or 'none'} and {other or 'none'}. Give one measurement at a time, or fit "
                'a profile instead, with [illumination] method = "mean" or "basic".'
            )
    assert light is not None  # an address of blank lines is none
    return light


def _read_vendor(address: str, pixel_format: PixelFormat) -> Illumination:
    shape = (pixel_format.height, pixel_format.width)
    flat, dark = read_flat_field(address, shape=shape)
    if not (np.isfinite(flat).all() and (flat > 0).all() and np.isfinite(dark).all()):
        raise BadPlate(
            f"The microscope's flat-field profile {address} is not above 0 everywhere. Fit one "
            'instead, with [illumination] method = "mean" or "basic".'
        )
    return Illumination(flat, dark / np.float32(levels(pixel_format.dtype)))


def levels(dtype: np.dtype) -> int:
    """What images of a type are divided by when they are scaled: 1 for floats."""
    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1


def corner_to_centre(flat: Surface) -> float:
    """How much light the corners get, relative to the centre.

    >>> flat = np.ones((100, 100), np.float32)
    >>> flat[:10, :10] = flat[:10, -10:] = flat[-10:, :10] = flat[-10:, -10:] = 0.5
    >>> corner_to_centre(flat)
    0.5
    """
    surface = np.asarray(flat, np.float64)
    rows, columns = (max(1, round(size * CORNER)) for size in surface.shape)
    corners = [surface[r, c] for r in _ends(rows) for c in _ends(columns)]
    top, left = (
        (size - part) // 2 for size, part in zip(surface.shape, (rows, columns), strict=True)
    )
    centre = surface[top : top + rows, left : left + columns]
    return float(np.mean(corners) / centre.mean())


def _ends(size: int) -> tuple[slice, slice]:
    return slice(None, size), slice(-size, None)
