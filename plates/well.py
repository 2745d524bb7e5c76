"""Well names, positions, and the plate formats they lie on."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from plates.errors import BadPlate

NAME = re.compile(r"([A-Za-z]{1,2})[\s_/-]*(\d+)")
NUMBERS = re.compile(r"r(?:ow)?[\s_]*(\d+)[\s_,-]*c(?:ol(?:umn)?)?[\s_]*(\d+)", re.IGNORECASE)


class WellPosition(NamedTuple):
    """Where a well lies, counted from 0 at the top left."""

    row: int
    column: int


class PlateFormat(NamedTuple):
    """How many wells a plate has, and how they are laid out."""

    wells: int
    rows: int
    columns: int


FORMATS = {
    6: PlateFormat(6, rows=2, columns=3),
    12: PlateFormat(12, rows=3, columns=4),
    24: PlateFormat(24, rows=4, columns=6),
    48: PlateFormat(48, rows=6, columns=8),
    96: PlateFormat(96, rows=8, columns=12),
    384: PlateFormat(384, rows=16, columns=24),
    1536: PlateFormat(1536, rows=32, columns=48),
}
LARGEST = FORMATS[1536]


def well_name(*, row: int, column: int) -> str:
    """Name a well by its zero-based position.

    Args:
        row: 0 to 31.
        column: 0 to 47.

    Raises:
        BadPlate: No plate format has such a row or column.

    >>> well_name(row=1, column=2), well_name(row=31, column=47)
    ('B03', 'AF48')
    """
    if not (0 <= row < LARGEST.rows and 0 <= column < LARGEST.columns):
        raise BadPlate(
            f"Row {row + 1}, column {column + 1} is on no plate: the largest has 1536 wells, "
            "rows 1 to 32 (A to AF) and columns 1 to 48. Check the numbers."
        )
    letters = chr(ord("A") + row % 26)
    if row >= 26:  # 1536-well plates run to AF
        letters = chr(ord("A") + row // 26 - 1) + letters
    return f"{letters}{column + 1:02d}"


def parse_well(text: str) -> str:
    """Canonical name of a well in any usual spelling.

    Args:
        text: Letter and number ("a1", "A01", "A - 01", "AF/48") or row and column
            numbers from 1 ("r02c03", "Row 2 Column 3").

    Raises:
        BadPlate: The text is no well, or one that no plate format has.

    >>> parse_well("a1"), parse_well("A - 01"), parse_well("r32c48")
    ('A01', 'A01', 'AF48')
    """
    found = NUMBERS.fullmatch(text.strip()) or NAME.fullmatch(text.strip())
    if not found:
        raise BadPlate(
            f"{text!r} is not a well. Expected a row letter (A to AF) and a column number "
            "(1 to 48), as in B03."
        )
    try:
        return well_at(row=found[1], column=found[2])
    except BadPlate as reason:
        raise BadPlate(f"{text!r} is not a well. {reason}") from None


def well_at(*, row: str, column: str) -> str:
    """Canonical name of a well whose row and column are given apart.

    Args:
        row: Letter(s) "A" to "AF", or a number from 1.
        column: Number from 1.

    Raises:
        BadPlate: Either is unreadable, or no plate format has such a well.

    >>> well_at(row="b", column="3"), well_at(row="02", column="03")
    ('B03', 'B03')
    """
    row, column = row.strip(), column.strip()
    is_letters = row.isascii() and row.isalpha() and len(row) <= 2
    if not (is_letters or row.isdecimal()) or not column.isdecimal():
        raise BadPlate(
            f"Row {row!r}, column {column!r} is not a well. Expected a row letter (A to AF) or "
            "number (1 to 32), and a column number (1 to 48)."
        )
    index = _row_of(row.upper()) if is_letters else int(row) - 1
    return well_name(row=index, column=int(column) - 1)


def _row_of(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def well_position(name: str) -> WellPosition:
    """Zero-based row and column of a well in any spelling.

    >>> well_position("B03")
    WellPosition(row=1, column=2)
    """
    letters, digits = re.fullmatch(r"([A-Z]+)(\d+)", parse_well(name)).groups()  # type: ignore[union-attr]
    return WellPosition(_row_of(letters), int(digits) - 1)


def plate_wells(plate_format: PlateFormat) -> list[str]:
    """Every well of a format, row by row.

    >>> plate_wells(FORMATS[6])
    ['A01', 'A02', 'A03', 'B01', 'B02', 'B03']
    """
    return [
        well_name(row=row, column=column)
        for row in range(plate_format.rows)
        for column in range(plate_format.columns)
    ]


def smallest_format(wells: Iterable[str]) -> PlateFormat:
    """The smallest plate that has all the wells named; the 6-well plate for none.

    >>> smallest_format(["A01", "H12"]).wells, smallest_format(["A13"]).wells
    (96, 384)
    """
    positions = [well_position(well) for well in wells]
    rows = max((p.row + 1 for p in positions), default=0)
    columns = max((p.column + 1 for p in positions), default=0)
    return next(f for f in FORMATS.values() if f.rows >= rows and f.columns >= columns)
