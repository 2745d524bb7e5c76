"""What a reader looks like to the rest of the engine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from plates.errors import BadPlate

PLANES = pl.Schema(
    {
        "plate": pl.String,  # barcode or folder name
        "well": pl.String,  # "B03"
        "site": pl.Int32,  # position in the well, from 1
        "channel": pl.String,  # as the microscope names it; the recipe maps stains to it
        "z": pl.Int32,  # plane of the stack, from 1
        "timepoint": pl.Int32,  # from 1
        "path": pl.String,
    }
)
PLANE = ("plate", "well", "site", "channel", "z", "timepoint")  # at most one file for each


@dataclass(frozen=True)
class Reader:
    """A way images are stored: how to recognise it and how to list its planes.

    Attributes:
        name: What users call it.
        needs: What `matches` looks for, to complete "it needs ...".
        matches: Whether a folder (or an index file) is of this kind. Cheap, never raises.
        scan: One row per plane, columns `PLANES`, in any order; opens no image.
    """

    name: str
    needs: str
    matches: Callable[[Path], bool]
    scan: Callable[[Path], pl.DataFrame]


def checked(planes: pl.DataFrame, *, source: Path) -> pl.DataFrame:
    """Hold a reader's table to the contract, whatever the reader.

    Returns:
        The planes sorted by plate, row, column, site, channel, z and time.

    Raises:
        BadPlate: There is no plane, one plane has two files, or a plate's name is not
            fit to be a folder's.
    """
    if planes.is_empty():
        raise BadPlate(f"{source} holds no image plane that could be read. Check the folder.")
    for name in planes["plate"].unique().sort():
        _check_plate_name(name)
    # A well's name grows from three letters to four after row Z, so length first is row by row.
    longer = pl.col("well").str.len_chars()
    planes = planes.sort("plate", longer, "well", "site", "channel", "z", "timepoint", "path")
    _check_twice(planes)
    return planes


def _check_plate_name(name: str) -> None:
    """Results go to a folder of the plate's name: it must not lead elsewhere."""
    if not name.strip() or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise BadPlate(
            f"The plate is called {name!r}, which cannot be the name of a folder of results. "
            "Expected a barcode or name without slashes or a leading dot."
        )


def _check_twice(planes: pl.DataFrame) -> None:
    twice = planes.filter(planes.select(PLANE).is_duplicated())
    if len(twice):
        first, second = twice.head(2).iter_rows(named=True)
        raise BadPlate(
            f"Plate {first['plate']}, well {first['well']}, site {first['site']}, channel "
            f"{first['channel']}, z {first['z']}, timepoint {first['timepoint']} has two files: "
            f"{first['path']} and {second['path']} ({len(twice)} files are such copies). Remove "
            "one, give one plate at a time, or use a pattern whose groups tell them apart."
        )
