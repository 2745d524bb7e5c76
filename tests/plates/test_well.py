"""Wells: every well of every format, every spelling, and what is no well."""

import itertools
import string

import pytest

from plates.errors import BadPlate
from plates.well import (
    FORMATS,
    parse_well,
    plate_wells,
    smallest_format,
    well_at,
    well_name,
    well_position,
)

ROWS = [*string.ascii_uppercase, "AA", "AB", "AC", "AD", "AE", "AF"]
EVERY = [f"{row}{column:02d}" for row in ROWS for column in range(1, 49)]


def test_names_and_positions_of_all_1536_wells():
    positions = list(itertools.product(range(32), range(48)))
    assert [well_name(row=row, column=column) for row, column in positions] == EVERY
    assert [well_position(name) for name in EVERY] == positions


@pytest.mark.parametrize(
    "spelling",
    ["b3", "B3", "B03", "b003", " B03 ", "B - 03", "B-03", "B_03", "B/3", "B 3", "r02c03", "R2C3",
     "row 2 column 3", "Row2_Col3"],
)  # fmt: skip
def test_spellings_of_one_well(spelling):
    assert parse_well(spelling) == "B03"


@pytest.mark.parametrize(("row", "column"), [("B", "3"), ("b", "03"), ("2", "3"), (" 02", "3 ")])
def test_row_and_column_apart(row, column):
    assert well_at(row=row, column=column) == "B03"


@pytest.mark.parametrize("text", ["", "B", "3", "3B", "ABC1", "B03x", "B-", "well B03", "Ä1"])
def test_text_that_is_no_well(text):
    with pytest.raises(BadPlate, match=r"is not a well\. Expected a row letter \(A to AF\)"):
        parse_well(text)


@pytest.mark.parametrize(("row", "column"), [("", "3"), ("B", ""), ("B", "x"), ("B2", "3")])
def test_row_and_column_that_are_no_well(row, column):
    with pytest.raises(BadPlate, match="is not a well"):
        well_at(row=row, column=column)


@pytest.mark.parametrize("text", ["A00", "A49", "AG01", "BA01", "r33c01", "r00c01", "r01c49"])
def test_wells_that_no_plate_has(text):
    with pytest.raises(BadPlate, match="is on no plate: the largest has 1536 wells"):
        parse_well(text)


@pytest.mark.parametrize(("row", "column"), [(-1, 0), (32, 0), (0, -1), (0, 48)])
def test_positions_that_no_plate_has(row, column):
    with pytest.raises(BadPlate, match=rf"Row {row + 1}, column {column + 1} is on no plate"):
        well_name(row=row, column=column)


@pytest.mark.parametrize("wells", [6, 12, 24, 48, 96, 384, 1536])
def test_formats(wells):
    names = plate_wells(FORMATS[wells])
    assert len(set(names)) == len(names) == FORMATS[wells].wells == wells
    assert names == sorted(names, key=EVERY.index)
    assert smallest_format(names).wells == wells
    assert smallest_format(names[-1:]).wells == wells


def test_smallest_format_looks_at_rows_and_columns():
    assert smallest_format([]).wells == 6
    assert smallest_format(["C01"]).wells == 12
    assert smallest_format(["A12"]).wells == 96
    assert smallest_format(["I01", "A12"]).wells == 384
    assert smallest_format(["Q1"]).wells == 1536
