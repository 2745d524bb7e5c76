"""What a reader looks like to the rest of the engine."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

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
        "path": pl.String,  # file, or place in one: see `plates.address`
    }
)
METADATA = pl.Schema(  # each null where the format does not say
    {
        "channel_name": pl.String,  # dye or filter; a recipe may use it in place of `channel`
        "wavelength_nm": pl.Float64,  # emission
        "pixel_size_um": pl.Float64,
        "magnification": pl.Float64,
        "objective": pl.String,
        "z_um": pl.Float64,  # position of the plane, from wherever the microscope counts
        "time_s": pl.Float64,  # since the plate's first plane
        "flat_field": pl.String,  # the microscope's own shading profile, see `readers.flatfield`
    }
)
PLANE = ("plate", "well", "site", "channel", "z", "timepoint")  # at most one file for each
COUNTS = ("site", "z", "timepoint")
NOT_UTF_8 = re.compile(r"[\ud800-\udfff]")  # what Python makes of such bytes in a name
NAMES = ("channel_name", "objective")
ABOVE_ZERO = ("wavelength_nm", "pixel_size_um", "magnification")
SAME_SIZE = 0.02  # relative: calibrations of one objective differ by less, objectives by more


MOST_PLANES = 1_000_000  # of one field; an index that says more is damaged, or an attack


class PlaneRow(NamedTuple):
    """One row of the plane table; the fields are the columns `PLANES`, then `METADATA`."""

    plate: str
    well: str
    site: int
    channel: str
    z: int
    timepoint: int
    path: str
    channel_name: str | None = None
    wavelength_nm: float | None = None
    pixel_size_um: float | None = None
    magnification: float | None = None
    objective: str | None = None
    z_um: float | None = None
    time_s: float | None = None
    flat_field: str | None = None


@dataclass(frozen=True)
class Reader:
    """A way images are stored: how to recognise it and how to list its planes.

    Attributes:
        name: What users call it.
        needs: What `matches` looks for, to complete "it needs ...".
        matches: Whether a folder (or an index file) is of this kind. Cheap, never raises.
        scan: One row per plane, columns `PLANES` and any of `METADATA`, in any order; reads
            indexes and headers, never pixels.
    """

    name: str
    needs: str
    matches: Callable[[Path], bool]
    scan: Callable[[Path], pl.DataFrame]


def power(objective: str | None) -> float | None:
    """Magnification that an objective's name tells.

    >>> power("20X Plan Apo Lambda"), power("100x/1.49"), power("Plan Apo")
    (20.0, 100.0, None)
    """
    found = re.search(r"(\d+(?:\.\d+)?)\s*x\b", objective or "", re.IGNORECASE)
    return float(found[1]) if found else None


def check_field(sizes: Iterable[int], *, path: object) -> None:
    """Refuse a field of more planes than there can be, before they are listed.

    Raises:
        BadPlate: There are more than `MOST_PLANES`.
    """
    if (planes := prod(sizes)) > MOST_PLANES:
        raise BadPlate(
            f"{path} says that one field has {planes:,} planes; more than {MOST_PLANES:,} cannot "
            "be. The index is damaged; export the plate again."
        )


def table(rows: Iterable[PlaneRow]) -> pl.DataFrame:
    """Lay rows out as a plane table; sites, z and time that start at 0 are moved to start at 1.

    Sites are moved plate by plate, so that no plate's sites hang on which others lie beside it; z
    and time in all plates alike, as a recipe's one number for them is meant for all.

    Raises:
        BadPlate: A name is not UTF-8, which no table can hold.
    """
    listed, schema = list(rows), pl.Schema({**PLANES, **METADATA})
    try:
        planes = pl.DataFrame(listed, schema=schema, orient="row")
    except UnicodeEncodeError as reason:
        odd = next((row.path for row in listed if NOT_UTF_8.search(row.path)), reason.object)
        raise BadPlate(
            f"The name {odd!r} is not UTF-8, so no table can hold it. Rename the file "
            "or folder, or copy the plate again with a program that keeps names."
        ) from reason
    first = {name: pl.col(name).min() for name in COUNTS}
    first["site"] = first["site"].over("plate")
    starts_at_zero = {name: (first[name] == 0).cast(planes.schema[name]) for name in COUNTS}
    return planes.with_columns(pl.col(name) + by for name, by in starts_at_zero.items())


def checked(planes: pl.DataFrame, *, source: Path) -> pl.DataFrame:
    """Hold a reader's table to the contract, whatever the reader.

    Returns:
        The planes sorted by plate, row, column, site, channel, z and time, with every column
        of `METADATA`; names that are blank and sizes that are not above 0 say nothing, so they
        are null.

    Raises:
        BadPlate: There is no plane, one plane has two files, a channel was taken at two
            magnifications, or a plate's name is not fit to be a folder's.
    """
    if planes.is_empty():
        raise BadPlate(f"{source} holds no image plane that could be read. Check the folder.")
    for name in planes["plate"].unique().sort():
        _check_plate_name(name, source=source)
    lacking = {name: dtype for name, dtype in METADATA.items() if name not in planes.columns}
    planes = planes.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in lacking.items())
    planes = planes.with_columns(
        *(_where(name, pl.col(name).is_finite() & (pl.col(name) > 0)) for name in ABOVE_ZERO),
        *(_where(name, pl.col(name).str.strip_chars() != "") for name in NAMES),
    )
    # A well's name grows from three letters to four after row Z, so length first is row by row.
    longer = pl.col("well").str.len_chars()
    planes = planes.sort("plate", longer, "well", "site", "channel", "z", "timepoint", "path")
    _check_twice(planes)
    _check_one_size(planes)
    return planes.select(*PLANES, *METADATA)


def _where(column: str, says_something: pl.Expr) -> pl.Expr:
    return pl.when(says_something).then(pl.col(column))


def _check_plate_name(name: str, *, source: Path) -> None:
    """Results go to a folder of the plate's name: it must not lead elsewhere."""
    if not name.strip() or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise BadPlate(
            f"The plate in {source} is called {name!r}, which cannot be the name of a folder of "
            "results. Expected a barcode or name without slashes or a leading dot. Correct it in "
            "the index or table that says so, or have file names read instead: in [images] of the "
            'recipe, reader = "pattern".'
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


def _check_one_size(planes: pl.DataFrame) -> None:
    """Sizes in um of cells seen at two magnifications agree, but their pixels do not.

    Where pixel sizes are not known, magnifications tell; where they are, two magnifications may
    have the same one, with cameras that bin.
    """
    for (plate, channel), group in planes.group_by("plate", "channel", maintain_order=True):
        name = f"Plate {plate}, channel {channel}"
        sized = group.drop_nulls("pixel_size_um")
        _check_agree(sized, "pixel_size_um", name=name, what="pixels", unit=" um")
        if len(sized) < len(group):
            powers = group.drop_nulls("magnification")
            _check_agree(powers, "magnification", name=name, what="an objective", unit="x")


def _check_agree(planes: pl.DataFrame, column: str, *, name: str, what: str, unit: str) -> None:
    if planes.is_empty():
        return
    ordered = planes.sort(column, maintain_order=True)
    small, large = ordered.row(0, named=True), ordered.row(-1, named=True)
    if large[column] > (1 + SAME_SIZE) * small[column]:
        raise BadPlate(
            f"{name} mixes magnifications: {what} of {small[column]:.4g}{unit} (well "
            f"{small['well']}, {small['path']}) and of {large[column]:.4g}{unit} (well "
            f"{large['well']}, {large['path']}). Give the folder of one measurement, or name the "
            "wells of one of them."
        )
