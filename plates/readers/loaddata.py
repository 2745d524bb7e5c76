"""CellProfiler's LoadData CSV: one line per field, one pair of columns per channel.

`FileName_Orig<channel>` with `PathName_Orig<channel>`, or `URL_Orig<channel>`; plain
`FileName_<channel>` where the channel has no column called Orig. Relative paths start at the
CSV's folder. Illumination functions, masks, outlines and objects (`DNAIllum`) are no channels.
`Frame_<channel>`, counted from 0, is the page of a TIFF. Addresses that fsspec knows (`s3://...`)
stay as they are and are fetched when they are needed.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl

from plates.address import is_remote, page_of, parse_address
from plates.errors import BadPlate
from plates.readers.folder import is_there, plate_name, tables_with
from plates.readers.reader import PlaneRow, Reader, table
from plates.table import agreed_column, agreed_numbers, as_whole, read_table, wells_of

FILE, URL, ORIGINAL = "FileName_", "URL_", "Orig"
TIFF = (".tif", ".tiff")
DERIVED = ("Illum", "Mask", "Masks", "Outlines", "Objects")  # made from images; no channels
PLAIN, CORRECTED = "load_data.csv", "load_data_with_illum.csv"  # of the same images
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
        source: The CSV, or a folder with exactly one; `load_data_with_illum.csv` beside
            `load_data.csv` does not count.

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
    if not any(is_remote(file) or is_there(parse_address(file).file) for file in files):
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
    if PLAIN in (path.name for path in found):
        found = [path for path in found if path.name != CORRECTED]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise BadPlate(
            f"Expected one LoadData CSV (columns FileName_... or URL_...) in {source}, found: "
            f"{names}. Give the file itself in place of the folder."
        )
    return found[0]


def _channels(columns: list[str]) -> dict[str, tuple[str, ...]]:
    """Channel -> the columns that may name its file, the preferred first."""
    images = [(c, _image(c)) for c in columns if c.startswith((FILE, URL)) and not _is_derived(c)]
    originals = {image for _, image in images if image.startswith(ORIGINAL)}
    channels: dict[str, tuple[str, ...]] = {}
    for column, image in sorted(images):
        if image in originals or f"{ORIGINAL}{image}" not in originals:
            channel = image.removeprefix(ORIGINAL)
            channels[channel] = (*channels.get(channel, ()), column)
    return channels


def _is_derived(column: str) -> bool:
    name = _image(column).removeprefix(ORIGINAL)
    return name.startswith(DERIVED) or name.endswith(DERIVED) or "_Illum" in name


def _image(column: str) -> str:
    """What CellProfiler calls the image whose file or address a column holds."""
    return column.removeprefix(FILE).removeprefix(URL)


def _planes(
    lines: pl.DataFrame, *, path: Path, channels: dict[str, tuple[str, ...]]
) -> Iterator[PlaneRow]:
    where = _metadata(lines)
    wells = wells_of(where, path=path, error=BadPlate)
    plates = _plates(where, path=path)
    numbers = {
        name: agreed_numbers(where, columns, path=path, error=BadPlate).to_list()
        for name, columns in NUMBERS.items()
    }
    for index, row in enumerate(lines.iter_rows(named=True)):
        files = {name: _file(row, columns, path=path) for name, columns in channels.items()}
        if not any(files.values()):
            raise BadPlate(f"{path}, row {index + 1} below the header names no file at all.")
        site, z, timepoint = (numbers[name][index] for name in NUMBERS)
        for channel, file in files.items():
            if file:  # an empty cell is a channel that this field lacks
                yield PlaneRow(plates[index], wells[index], site, channel, z, timepoint, file)


def _metadata(lines: pl.DataFrame) -> pl.DataFrame:
    """The columns that say where, without measurements that might share their names."""
    named = [name for name in lines.columns if name.startswith("Metadata_")]
    return lines.select(named or lines.columns)


def _plates(where: pl.DataFrame, *, path: Path) -> list[str]:
    column = agreed_column(where, PLATE, path=path, error=BadPlate)
    if column is None:
        return [plate_name(path.parent)] * len(where)
    plates = where[column].to_list()
    if None in plates:
        raise BadPlate(
            f"{path}, row {plates.index(None) + 1} below the header: {column} is empty. Write the "
            "plate's barcode or name, or delete the column: the plate is then called as its "
            "folder."
        )
    return plates


def _file(row: dict[str, str | None], columns: tuple[str, ...], *, path: Path) -> str | None:
    for column in columns:
        if text := row[column]:
            home = None if column.startswith(URL) else row.get(f"PathName_{_image(column)}")
            file = located(f"{home.rstrip('/')}/{text}" if home else text, index=path)
            return _framed(file, row, image=_image(column), path=path)
    return None


def _framed(file: str, row: dict[str, str | None], *, image: str, path: Path) -> str:
    """The page that a line names of a file, which without one is a plane itself.

    Raises:
        BadPlate: It names another series than the first, or a file of that kind has no pages.
    """
    series, frame = (_from_zero(row, f"{name}_{image}", path=path) for name in ("Series", "Frame"))
    if series:
        raise BadPlate(
            f"{path}: Series_{image} of {file} is {series}, and only the first series of a file "
            "(0) can be read from a LoadData CSV. Export each series to a file of its own."
        )
    if frame is None:
        return file
    if file.lower().endswith(TIFF):
        return page_of(file, frame)
    if frame:
        raise BadPlate(
            f"{path}: Frame_{image} of {file} is {frame}, and only TIFFs have several. Export "
            "each frame to a file of its own."
        )
    return file


def _from_zero(row: dict[str, str | None], column: str, *, path: Path) -> int | None:
    text = row.get(column)
    number = None if text is None else as_whole(text)
    if text is not None and number is None:
        raise BadPlate(f"{path}: {column} is {text!r}, expected a whole number, counted from 0.")
    return number


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
