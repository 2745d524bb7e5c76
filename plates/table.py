"""Tables people write by hand: read as text, with ambiguity refused."""

import csv
import io
import re
import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

from plates.errors import BadPlate, ProfilingError
from plates.well import parse_well, well_at

Complaint = Callable[[str], ProfilingError]  # BadLayout for a plate map, BadPlate for an index

DELIMITERS = ",\t;"
MOST = 999_999  # larger "counts" are dates, serial numbers or damage
COUNT = re.compile(r"0*\d{1,6}")
FLOAT = re.compile(r"(\d+)\.0*")  # as pandas writes whole numbers of a column that has gaps
MISSING = ("", "NA", "N/A", "NaN", "nan", "null")  # what pandas takes for missing, too
WELL = ("well_position", "well", "well_name", "well_id")
ROW = ("row", "well_row")
COLUMN = ("column", "col", "well_column", "well_col")


def read_table(path: Path, *, error: Complaint) -> pl.DataFrame:
    """Read a delimited text file without guessing types.

    Args:
        path: UTF-8 text with a header; comma, tab or semicolon, whichever the header has most.
        error: Class to raise, for the kind of table this is.

    Returns:
        One row per line that is not blank, every column String; cells that are empty
        or say NA are null.

    Raises:
        ProfilingError: The file is missing, empty, not UTF-8, or its lines and header disagree.
    """
    lines = _lines(path, error=error)
    if not lines:
        raise error(f"{path} is empty. Expected a header line and one line per well.")
    header = [name.strip() for name in lines[0][1]]
    _check_header(path, header, error=error)
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise error(
                f"{path}, line {number} has {len(cells)} cells, but the header has {len(header)}. "
                "Quote cells that contain the delimiter."
            )
    rows = [[_cell(text) for text in cells] for _, cells in lines[1:]]
    if not rows:
        raise error(f"{path} has a header but no rows. Expected one line per well.")
    return pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")


def _lines(path: Path, *, error: Complaint) -> list[tuple[int, list[str]]]:
    """Numbered lines that are not blank, split into cells."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror}.") from reason
    except UnicodeDecodeError as reason:
        raise error(
            f"{path} is not UTF-8 text (byte {reason.start + 1} is "
            f"0x{reason.object[reason.start]:02x}). Save it again as 'CSV UTF-8'."
        ) from reason
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(DELIMITERS, key=first.count))
    try:
        return [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as reason:
        raise error(f"{path}, line {reader.line_num} cannot be split: {reason}.") from reason


def _check_header(path: Path, header: list[str], *, error: Complaint) -> None:
    if "" in header:
        raise error(
            f"{path}: column {header.index('') + 1} has no name. Name it, or delete the column."
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise error(f"{path} has several columns called {', '.join(twice)}. Keep one of each.")


def _cell(text: str) -> str | None:
    text = text.strip()
    return None if text in MISSING else text


def plain(column: str) -> str:
    """A column's name as it is compared: lower case, no `Metadata_`, no spaces.

    >>> plain("Metadata_Well"), plain("Well Position")
    ('well', 'well_position')
    """
    return column.strip().lower().removeprefix("metadata_").replace(" ", "_")


def find_column(columns: Iterable[str], names: Iterable[str], *, error: Complaint) -> str | None:
    """The one column that goes by any of these names, or None.

    Raises:
        ProfilingError: Two columns do, and either could be meant.
    """
    wanted = set(names)
    found = [column for column in columns if plain(column) in wanted]
    if len(found) > 1:
        raise error(
            f"The columns {' and '.join(map(repr, found))} mean the same. Keep one of them."
        )
    return found[0] if found else None


def agreed_column(
    table: pl.DataFrame,
    names: Iterable[str],
    *,
    path: Path,
    error: Complaint,
    read: Callable[[str], object] = str,
) -> str | None:
    """The first of these columns that a table has; others of them must say the same.

    Args:
        table: With the columns as they are written.
        names: Plain names, the preferred first.
        path: For the message.
        error: Class to raise.
        read: What is compared of a cell, so that "1" and "01" may be one number.

    Returns:
        The column, or None if there is none. Empty cells contradict nothing.

    Raises:
        ProfilingError: Two columns contradict each other.
    """
    found = [column for name in names for column in table.columns if plain(column) == name]
    for other in found[1:]:
        pairs = table.select(found[0], other).iter_rows()
        for index, (first, second) in enumerate(pairs):
            if None not in (first, second) and read(first) != read(second):
                raise error(
                    f"{path}, row {index + 1} below the header: {found[0]} is {first!r}, but "
                    f"{other}, which means the same, is {second!r}. Keep the column that is right."
                )
    return found[0] if found else None


def well_columns(table: pl.DataFrame, *, path: Path, error: Complaint) -> tuple[str, ...]:
    """The column that names the well, or the row and column columns together.

    Raises:
        ProfilingError: There is neither; the message lists what there is.
    """
    well = find_column(table.columns, WELL, error=error)
    if well:
        return (well,)
    row = find_column(table.columns, ROW, error=error)
    column = find_column(table.columns, COLUMN, error=error)
    if row and column:
        return row, column
    raise error(
        f"{path} has no well column. Found: {', '.join(table.columns)}. Expected one of "
        f"{', '.join(WELL)}, Metadata_Well, or both row and column (any case)."
    )


def wells_of(table: pl.DataFrame, *, path: Path, error: Complaint) -> pl.Series:
    """Canonical well of every row of a table.

    Raises:
        ProfilingError: There is no well column, or a cell in it is not a well.
    """
    names = well_columns(table, path=path, error=error)

    def name(index: int, cells: tuple) -> str:
        try:
            if None in cells:
                raise BadPlate(f"The cell is empty in {' or '.join(names)}.")
            if len(cells) == 1:
                return parse_well(*cells)
            return well_of(*cells)
        except BadPlate as reason:
            raise error(f"{path}, row {index + 1} below the header: {reason}") from reason

    rows = table.select(names).iter_rows()
    return pl.Series([name(i, cells) for i, cells in enumerate(rows)], dtype=pl.String)


def well_of(row: str, column: str) -> str:
    """Canonical well of a row and a column as a program may have written them.

    Raises:
        BadPlate: They are no well.

    >>> well_of("2.0", "3"), well_of("B", "03")
    ('B03', 'B03')
    """
    return well_at(row=_unfloated(row), column=_unfloated(column))


def whole_numbers(
    table: pl.DataFrame, column: str | None, *, path: Path, error: Complaint
) -> pl.Series:
    """Read a column of counts, such as sites; without one, all are 1.

    Raises:
        ProfilingError: A cell is empty, no whole number, below 0 or above `MOST`.
    """
    if column is None:
        return pl.repeat(1, table.height, dtype=pl.Int32, eager=True)
    numbers = [as_whole(cell or "") for cell in table[column]]
    if None in numbers:
        index = numbers.index(None)
        found = reprlib.repr(table[column][index])
        raise error(
            f"{path}, row {index + 1} below the header: {column} is {found}, expected a whole "
            f"number from 0 to {MOST}."
        )
    return pl.Series(numbers, dtype=pl.Int32)


def agreed_numbers(
    table: pl.DataFrame, names: Iterable[str], *, path: Path, error: Complaint
) -> pl.Series:
    """Counts of the first of these columns that a table has; without one, all are 1.

    Raises:
        ProfilingError: Two columns contradict each other, or as `whole_numbers`.
    """
    names = list(names)
    first = next((c for name in names for c in table.columns if plain(c) == name), None)
    numbers = whole_numbers(table, first, path=path, error=error)
    agreed_column(table, names, path=path, error=error, read=as_whole)
    return numbers


def as_whole(text: str) -> int | None:
    """A count of a table that a program wrote: as `as_count`, and whole floats are whole, too.

    >>> as_whole("3.0"), as_whole("3"), as_whole("3.5")
    (3, 3, None)
    """
    return as_count(_unfloated(text))


def _unfloated(text: str) -> str:
    return FLOAT.sub(r"\1", text) if FLOAT.fullmatch(text) else text


def as_count(text: str) -> int | None:
    """A count, such as a site or a z plane, or None: no whole number, or above `MOST`.

    >>> as_count(" 012"), as_count("-3"), as_count("1.5"), as_count("1234567")
    (12, None, None, None)
    """
    text = text.strip()
    return int(text) if COUNT.fullmatch(text) else None
