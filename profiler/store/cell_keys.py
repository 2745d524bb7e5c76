"""Keys of cells as people write them, in a CSV or Parquet file, turned into those of a run."""

from collections.abc import Mapping
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
    for key in keys:
        held = rows.schema[key]
        if held.is_nested() or held in (pl.Binary, pl.Object, pl.Duration):
            raise kind.error(
                f"The column {key} of {path} holds {held}; expected a name or a number in each "
                "row. Write it as a plain column."
            )
    return keys


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
    text = pl.col(key).cast(pl.String).str.strip_chars()
    if KEYS[key] == pl.String:
        return pl.when(text != "").then(text).alias(key)
    number = text.cast(pl.Float64, strict=False)  # spreadsheets write 1 as 1.0
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
