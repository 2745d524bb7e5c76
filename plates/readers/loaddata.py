"""CellProfiler's LoadData CSV: one line per field, one pair of columns per channel.

`FileName_Orig<channel>` with `PathName_Orig<channel>`, or `URL_Orig<channel>`; plain
`FileName_<channel>` where nothing is called Orig. Relative paths start at the CSV's folder.
Columns of illumination functions (`Illum`) and object masks are no channels. Addresses that
fsspec knows (`s3://...`) stay as they are and are fetched when they are needed.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl

from plates.address import is_remote
from plates.errors import BadPlate
from plates.readers.folder import is_there, plate_name, tables_with
from plates.readers.reader import PlaneRow, Reader, table
from plates.table import find_column, read_table, wells_of, whole_numbers

FILE, URL = "FileName_", "URL_"
STORES = ("s3", "gs", "gcs", "az", "abfs", "http", "https", "memory")  # what fsspec opens
PLATE = ("plate", "assay_plate_barcode", "plate_barcode", "barcode")
NUMBERS = {
    "site": ("site", "field", "fieldid"),
    "z": ("z", "zplane", "planeid"),
    "timepoint": ("timepoint", "t"),
}


def matches(source: Path) -> bool:
    """Whether the source is a LoadData CSV, or a folder with one at its top."""
    return bool(_indices(source))


def _indices(source: Path) -> list[Path]:
    return tables_with(source, lambda columns: any(n.startswith((FILE, URL)) for n in columns))


def scan(source: Path) -> pl.DataFrame:
    """List every plane that a LoadData CSV names.

    Args:
        source: The CSV, or a folder with exactly one.

    Returns:
        One row per plane; files that are not there are listed too, so that
        their fields get a reason. The plate is `Metadata_Plate`, else the folder's name.

    Raises:
        BadPlate: The CSV is ambiguous, lacks wells or files, names an address of no known
            kind, or none of its files is there.
    """
    path = _index(source)
    planes = listed(path)
    files = planes["path"]
    if not any(is_remote(file) or is_there(file) for file in files):
        raise BadPlate(
            f"None of the {len(files)} files that {path} names is there; the first is "
            f"{files[0]}. Correct the paths in the CSV (relative ones start at its folder), or "
            "read the images' folder with reader='pattern'."
        )
    return planes


def listed(path: Path) -> pl.DataFrame:
    """List every plane that one CSV names, whether it is there or not.

    Raises:
        BadPlate: The CSV lacks wells or files, or names an address of no known kind.
    """
    lines = read_table(path, error=BadPlate)
    channels = _channels(lines.columns)
    if not channels:
        raise BadPlate(
            f"{path} names no image. Found the columns {', '.join(lines.columns)}; expected "
            "FileName_Orig<channel> with PathName_Orig<channel>, or URL_Orig<channel>."
        )
    return table(_planes(lines, path=path, channels=channels))


def _index(source: Path) -> Path:
    found = _indices(source)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise BadPlate(
            f"Expected one LoadData CSV (columns FileName_... or URL_...) in {source}, found: "
            f"{names}. Give the file itself in place of the folder."
        )
    return found[0]


def _channels(columns: list[str]) -> dict[str, tuple[str, ...]]:
    """Channel -> the columns that may name its file, the preferred first."""
    named = [c for c in columns if c.startswith((FILE, URL))]
    originals = [c for c in named if c.startswith((f"{FILE}Orig", f"{URL}Orig"))]
    channels: dict[str, tuple[str, ...]] = {}
    for column in sorted(originals or [c for c in named if "_Illum" not in c]):
        channel = column.removeprefix(FILE).removeprefix(URL).removeprefix("Orig")
        channels[channel] = (*channels.get(channel, ()), column)
    return channels


def _planes(
    lines: pl.DataFrame, *, path: Path, channels: dict[str, tuple[str, ...]]
) -> Iterator[PlaneRow]:
    where = _metadata(lines)
    wells = wells_of(where, path=path, error=BadPlate)
    plate = find_column(where.columns, PLATE, error=BadPlate)
    numbers = {name: _numbers(where, name=name, path=path) for name in NUMBERS}
    for index, row in enumerate(lines.iter_rows(named=True)):
        files = {name: _file(row, columns, path=path) for name, columns in channels.items()}
        if not any(files.values()):
            raise BadPlate(f"{path}, row {index + 1} below the header names no file at all.")
        site, z, timepoint = (numbers[name][index] for name in NUMBERS)
        name = row[plate] if plate else plate_name(path.parent)
        for channel, file in files.items():
            if file:  # an empty cell is a channel that this field lacks
                yield PlaneRow(name or "", wells[index], site, channel, z, timepoint, file)


def _metadata(lines: pl.DataFrame) -> pl.DataFrame:
    """The columns that say where, without measurements that might share their names."""
    named = [name for name in lines.columns if name.startswith("Metadata_")]
    return lines.select(named or lines.columns)


def _numbers(where: pl.DataFrame, *, name: str, path: Path) -> list[int]:
    column = find_column(where.columns, NUMBERS[name], error=BadPlate)
    return whole_numbers(where, column, path=path, error=BadPlate).to_list()


def _file(row: dict[str, str | None], columns: tuple[str, ...], *, path: Path) -> str | None:
    for column in columns:
        if text := row[column]:
            if column.startswith(URL):
                return located(text, index=path)
            home = row.get(column.replace(FILE, "PathName_", 1)) or ""
            return located(f"{home.rstrip('/')}/{text}" if home else text, index=path)
    return None


def located(address: str, *, index: Path) -> str:
    """Where a file lies that a table names: here, relative to the table, or at a store's address.

    Raises:
        BadPlate: The address is of a kind that cannot be read, such as "ftp:".
    """
    scheme = urlsplit(address).scheme.lower()
    if len(scheme) < 2:  # none, or a Windows drive
        return str(index.parent / address)
    if scheme == "file":
        return str(index.parent / unquote(urlsplit(address).path))
    if scheme in STORES and is_remote(address):
        return address
    raise BadPlate(
        f"{index} names {address}, which cannot be read. Expected a path, or an address that "
        f"starts with {', '.join(STORES)}; or download the images and put the paths in."
    )


LOADDATA = Reader(
    "loaddata", f"a CellProfiler LoadData CSV (columns {FILE}... or {URL}...)", matches, scan
)
