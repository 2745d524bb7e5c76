"""Keys of cells from files that people wrote: read as a run has them, refused by row."""

import polars as pl
import pytest

from plates.errors import BadLayout
from profiler.store.cell_keys import KEYS, Kind, checked_keys, read_rows

HEADER = "Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_ObjectNumber,Note\n"
ROWS = "007,A01,1,14,x\n007,B02,2,3,\n"
KIND = Kind("list of cells", "listed cells", BadLayout)


@pytest.fixture
def read(tmp_path):
    def read_text(text: str, name: str = "cells.csv") -> pl.DataFrame:
        path = tmp_path / name
        path.write_text(text)
        return checked_keys(path, read_rows(path, KIND), KIND)

    return read_text


def test_any_spelling_of_wells_and_numbers_gives_the_keys_of_a_run(read):
    tidy = read(HEADER + ROWS)
    assert tidy.rows() == [("007", "A01", 1, 14), ("007", "B02", 2, 3)]
    assert tidy.schema == {key: KEYS[key] for key in KEYS if key != "Metadata_Timepoint"}
    assert read(HEADER + " 007 ,a1, 1.0,14,\n007,b-2,2,3.0,\n").equals(tidy)
    assert read(HEADER + "007,r01c01,1,14,\n007,B002,2,3,\n").equals(tidy)


def test_parquet_is_read_as_csv_is(read, tmp_path):
    path = tmp_path / "cells.parquet"
    typed = pl.DataFrame({"Metadata_Plate": [7], "Metadata_Well": ["a1"], "Metadata_Site": [1.0]})
    typed = typed.with_columns(Metadata_ObjectNumber=pl.lit(14, pl.UInt64))
    typed.write_parquet(path)
    assert checked_keys(path, read_rows(path, KIND), KIND).rows() == [("7", "A01", 1, 14)]
    typed.with_columns(Metadata_Well=pl.lit([["a1"]])).write_parquet(path)
    with pytest.raises(BadLayout, match="column Metadata_Well of .* holds List"):
        checked_keys(path, read_rows(path, KIND), KIND)


@pytest.mark.parametrize(
    "number", ["14x", "14.7", "3000000000", "-1", "nan", "inf", "", "1e99", "0x10"]
)
def test_a_number_that_is_none_is_named_by_row(read, number):
    said = repr(number) if number else "None"
    with pytest.raises(BadLayout, match="1 listed cells whose Metadata_Obj.* not a whole") as found:
        read(f"{HEADER}{ROWS}007,A01,1,{number},\n")
    assert f"number: {said} in row 3. Expected 0 to 2147483647." in str(found.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "007,A99,1,1,\n", "names a well that is none: .*A99"),
        (HEADER + ",A01,1,1,\n", "whose Metadata_Plate is not a name: None in row 1"),
        (HEADER.replace("Metadata_Site,", "") + "007,A01,1,\n", "no column Metadata_Site; found"),
        ("", "cannot be read"),
    ],
)
def test_what_is_no_key_is_refused(read, text, message):
    with pytest.raises(BadLayout, match=message):
        read(text)


def test_no_file_and_another_ending_are_said(read, tmp_path):
    with pytest.raises(BadLayout, match="There is no list of cells .*gone.csv"):
        read_rows(tmp_path / "gone.csv", KIND)
    with pytest.raises(BadLayout, match=r"ends in '.txt'; expected .csv or .parquet"):
        read(HEADER + ROWS, "cells.txt")
