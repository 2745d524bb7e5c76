"""Keys of cells as people write them, in a CSV or Parquet file, turned into those of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from plates.errors import BadPlate, ProfilingError
from plates.well import parse_well

OBJECT = "Metadata_ObjectNumber"
TIMEPOINT = "Metadata_Timepoint"
KEYS: Mapping[str, Any] = {  # as in the cell table of a run
    "Metadata_Plate": pl.String,
    "Metadata_Well": pl.String,
    "Metadata_Site": pl.Int32,
    TIMEPOINT: pl.Int32,
    OBJECT: pl.Int32,
}
CONTENT = "Metadata_CellFile"  # what lists of cells call the content of a cell's well
PLACE = ("Nuclei_Location_Center_X", "Nuclei_Location_Center_Y")  # and where its nucleus lay
ASIDE = (CONTENT, *PLACE)  # what such lists say of their cells besides the keys
ROW = "\trow"  # no column of a file is called so
LARGEST = 2**31 - 1
MOST_NAMES = 5  # rows that a message names


class Kind(NamedTuple):
    """What a file of cells is, for its messages.

    Attributes:
        table: "label table".
        cells: "labelled cells".
        error: Which is raised.
    """

    table: str
    cells: str
    error: type[ProfilingError]


def read_rows(path: Path, kind: Kind) -> pl.DataFrame:
    """Read a CSV or Parquet file as it stands, with the number of each row, from 1, as `ROW`.

    Args:
        path: All columns of a CSV stay text: a label "1" and a plate "007" as they are.
        kind: What it is.

    Raises:
        ProfilingError: Of the kind: it is not there, no such file, or cannot be read.
    """
    ending = path.suffix.lower()
    if not path.is_file():
        raise kind.error(f"There is no {kind.table} {path}. Give a CSV or Parquet file of cells.")
    if ending not in (".csv", ".parquet"):
        raise kind.error(
            f"The {kind.table} {path} ends in {path.suffix!r}; expected .csv or .parquet."
        )
    try:
        table = (
            pl.read_parquet(path) if ending == ".parquet" else pl.read_csv(path, infer_schema=False)
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise kind.error(f"The {kind.table} {path} cannot be read: {error}") from error
    return table.with_columns(pl.int_range(1, pl.len() + 1).alias(ROW))


def keys_in(path: Path, rows: pl.DataFrame, kind: Kind) -> list[str]:
    """Say which keys of cells a file has.

    Raises:
        ProfilingError: Of the kind: one is missing, or holds neither text nor numbers.
    """
    missing = [key for key in KEYS if key != TIMEPOINT and key not in rows.columns]
    if missing:
        found = ", ".join(name for name in rows.columns if name != ROW)
        raise kind.error(
            f"{path} has no column {', '.join(missing)}; found {found}. Expected the keys of the "
            f"cell table ({', '.join(KEYS)}; the time point only where there are several)."
        )
    keys = [key for key in KEYS if key in rows.columns]
    check_plain(path, rows, keys, kind)
    return keys


def check_plain(path: Path, rows: pl.DataFrame, names: Sequence[str], kind: Kind) -> None:
    """Refuse columns that hold neither text nor numbers."""
    for name in names:
        if is_odd(rows, name):
            raise kind.error(
                f"The column {name} of {path} holds {rows.schema[name]}; expected a name or a "
                "number in each row. Write it as a plain column."
            )


def is_odd(rows: pl.DataFrame, name: str) -> bool:
    """Whether a column holds neither text nor numbers."""
    held = rows.schema[name]
    return held.is_nested() or held in (pl.Binary, pl.Object, pl.Duration)


def aside(rows: pl.DataFrame) -> list[pl.Expr]:
    """Read what a file says in `ASIDE`: text and numbers, null where it says nothing of use."""

    def said(name: str) -> pl.Expr:
        is_said = name in rows.columns and not is_odd(rows, name)
        return text(name) if is_said else pl.lit(None, pl.String).alias(name)

    # Spreadsheets of some countries write a comma.
    numbers = (
        said(name).str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        for name in PLACE
    )
    return [said(CONTENT), *(pl.when(number.is_finite()).then(number) for number in numbers)]


def text(name: str) -> pl.Expr:
    """What a column says, without spaces around it."""
    return pl.col(name).cast(pl.String).str.strip_chars()


def checked_keys(path: Path, rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Turn the keys of cells into those of a run.

    Args:
        path: For messages.
        rows: From `read_rows`, perhaps not all of them.
        kind: What they are.

    Returns:
        One row each, in the same order: wells in any spelling as the run has them, numbers as
        integers; without `TIMEPOINT` where the file has none.

    Raises:
        ProfilingError: Of the kind: as `keys_in`, or a key is no key. The message names the rows.
    """
    keys = keys_in(path, rows, kind)
    typed = rows.select(_typed(key) for key in keys)
    for key in keys:
        bad = rows.filter(typed[key].is_null()).select(ROW, key)
        if bad.height:
            raise kind.error(_no_key(path, bad, kind))
    spelled = {well: _well(path, well, kind) for well in typed["Metadata_Well"].unique()}
    return typed.with_columns(pl.col("Metadata_Well").replace(spelled))


def _typed(key: str) -> pl.Expr:
    """The key as the cell table has it, null where it cannot be one."""
    if KEYS[key] == pl.String:
        return pl.when(text(key) != "").then(text(key)).alias(key)
    number = text(key).cast(pl.Float64, strict=False)  # spreadsheets write 1 as 1.0
    is_one = (number == number.round()) & number.is_between(0, LARGEST)
    return pl.when(is_one).then(number).cast(KEYS[key], strict=False).alias(key)


def _no_key(path: Path, bad: pl.DataFrame, kind: Kind) -> str:
    key = bad.columns[1]
    named = ", ".join(f"{value!r} in row {row}" for row, value in bad.head(MOST_NAMES).iter_rows())
    is_name = KEYS[key] == pl.String
    expected = "a name" if is_name else "a whole number"
    limits = "" if is_name else f" Expected 0 to {LARGEST}."
    return f"{path} has {bad.height} {kind.cells} whose {key} is not {expected}: {named}.{limits}"


def _well(path: Path, well: str, kind: Kind) -> str:
    try:
        return parse_well(well)
    except BadPlate as error:
        raise kind.error(f"{path} names a well that is none: {error}") from error
