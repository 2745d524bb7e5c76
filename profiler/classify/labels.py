"""The label table a user brings: keys of cells, and what each of them is."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int

from plates.errors import BadPlate, ProfilingError, UnknownName, suggestion
from plates.well import parse_well

OBJECT = "Metadata_ObjectNumber"
TIMEPOINT = "Metadata_Timepoint"
KEYS = {  # as in the cell table of a run
    "Metadata_Plate": pl.String,
    "Metadata_Well": pl.String,
    "Metadata_Site": pl.Int32,
    TIMEPOINT: pl.Int32,
    OBJECT: pl.Int32,
}
LEAST_EXAMPLES = 2  # of a class: one to learn from, one to be judged by
MOST_NAMES = 5  # cells that a message names


class BadLabelTable(ProfilingError, ValueError):
    """A label table that cannot be read, contradicts itself, or does not fit the run."""


class Labels(NamedTuple):
    """Cells that have a label.

    Attributes:
        cells: Their keys, one row each, in the table's order; without `Metadata_Timepoint` where
            the table has none.
        codes: Class of each, a place in `classes`.
        classes: Names, sorted.
        unlabelled: Rows of the table without a label, left out here.
    """

    cells: pl.DataFrame
    codes: Int[np.ndarray, " cell"]
    classes: tuple[str, ...]
    unlabelled: int


def read_labels(path: Path, *, column: str | None = None) -> Labels:
    """Read a CSV or Parquet file of labelled cells.

    Args:
        path: Has the columns `Metadata_Plate`, `Metadata_Well` (in any spelling), `Metadata_Site`,
            `Metadata_ObjectNumber`, and `Metadata_Timepoint` where a run has several.
        column: Which column holds the label; None for the only one besides the keys.

    Returns:
        The labels. A cell that is in the table twice with the same label is there once.

    Raises:
        BadLabelTable: The file cannot be read or lacks a column, a key is missing or no whole
            number, a cell has two labels, all have one class, or a class has one example. The
            message names the cells.
        UnknownName: The table has no column of that name.
    """
    cells, unlabelled = _labelled(path, column)
    cells = cells.unique(maintain_order=True)
    _check_twice(path, cells, [key for key in KEYS if key in cells.columns])
    _check_classes(path, cells)
    classes = tuple(cells["Label"].unique().sort())
    codes = np.searchsorted(classes, cells["Label"].to_numpy().astype(str))
    return Labels(cells.drop("Label"), codes, classes, unlabelled)


def read_labelled(path: Path, *, column: str | None = None) -> pl.DataFrame:
    """Read which cells have a label, whatever it is: a table that somebody is still at work on.

    Returns:
        The keys of these cells, each once; perhaps none.

    Raises:
        BadLabelTable: The file cannot be read, lacks a column, or a key is no key.
        UnknownName: As `read_labels`.
    """
    return _labelled(path, column)[0].drop("Label").unique(maintain_order=True)


def rows_of(labels: Labels, cells: pl.DataFrame | pl.LazyFrame) -> Int[np.ndarray, " cell"]:
    """Find the labelled cells among those of a run.

    Args:
        labels: From `read_labels`.
        cells: The cell table of a run, or its keys.

    Returns:
        The row of each labelled cell in `cells`, in the order of `labels`.

    Raises:
        BadLabelTable: There are labels for cells that the run does not have, or the run has
            several time points and the labels name none. The message names the cells.
    """
    keys = labels.cells.columns
    known = cells.lazy().select(pl.col(key).cast(KEYS[key]) for key in KEYS).collect()
    check_times(keys, times=known[TIMEPOINT].n_unique())
    found = labels.cells.join(
        known.with_row_index("row").select(*keys, "row"), on=keys, how="left", maintain_order="left"
    )
    absent = found.filter(pl.col("row").is_null())
    if absent.height:
        raise BadLabelTable(
            f"{absent.height} of {found.height} labels are for cells that the run does not have: "
            f"{name_cells(absent)}. {_why(absent, known)}"
        )
    return found["row"].to_numpy().astype(np.int64)


def check_times(keys: Sequence[str], *, times: int) -> None:
    """Refuse labels that do not say which time point they are of, where a run has several.

    Args:
        keys: Columns of the labels.
        times: How many the run has.

    Raises:
        BadLabelTable: They do not.
    """
    if TIMEPOINT not in keys and times > 1:
        raise BadLabelTable(
            f"The run has {times} time points, and the label table has no {TIMEPOINT}, so it does "
            "not say which cells are meant. Add that column."
        )


def name_cells(cells: pl.DataFrame, label: str | None = None) -> str:
    """Name the first few cells of a table, with what a column says of each."""
    named = []
    for row in cells.head(MOST_NAMES).iter_rows(named=True):
        time = f" time point {row[TIMEPOINT]}" if TIMEPOINT in row else ""
        said = f" ({row[label]})" if label else ""
        named.append(
            f"{row['Metadata_Plate']} {row['Metadata_Well']} site {row['Metadata_Site']}{time} "
            f"cell {row[OBJECT]}{said}"
        )
    more = f" and {cells.height - MOST_NAMES} more" if cells.height > MOST_NAMES else ""
    return "; ".join(named) + more


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise BadLabelTable(f"There is no label table {path}. Give a CSV or Parquet file of cells.")
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise BadLabelTable(
            f"The label table {path} ends in {path.suffix!r}; expected .csv or .parquet."
        )
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(
            path, infer_schema=False
        )  # a label "1" and a plate "007" stay as they are
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadLabelTable(f"The label table {path} cannot be read: {error}") from error


def _labelled(path: Path, column: str | None) -> tuple[pl.DataFrame, int]:
    """Keys and label of the rows that have one, and how many have none."""
    table = _read(path)
    missing = [key for key in KEYS if key != TIMEPOINT and key not in table.columns]
    if missing:
        raise BadLabelTable(
            f"{path} has no column {', '.join(missing)}; found {', '.join(table.columns)}. "
            f"Expected the keys of the cell table ({', '.join(KEYS)}; the time point only where "
            "there are several) and a label."
        )
    keys = [key for key in KEYS if key in table.columns]
    name = _label_column(path, table, column)
    label = pl.col(name).cast(pl.String).str.strip_chars().alias("Label")
    row = pl.int_range(1, pl.len() + 1).alias("Row")
    labelled = table.select(row, *keys, label).filter(pl.col("Label") != "")  # null neither
    cells = _checked_keys(path, labelled, keys).with_columns(labelled["Label"])
    return cells, table.height - labelled.height


def _label_column(path: Path, table: pl.DataFrame, column: str | None) -> str:
    others = [name for name in table.columns if name not in KEYS]
    if column is not None:
        if column not in others:
            raise UnknownName(
                f"{path} has no label column {column!r}. {suggestion(column, others)}"
            )
        return column
    if len(others) != 1:
        raise BadLabelTable(
            f"{path} has {len(others)} columns besides the keys of cells"
            f"{': ' + ', '.join(others) if others else ''}; expected one, the label. Say which one "
            "it is."
        )
    return others[0]


def _checked_keys(path: Path, table: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    typed = table.select(_typed(key) for key in keys)
    for key in keys:
        bad = table.filter(typed[key].is_null())
        if bad.height:
            rows = bad.head(MOST_NAMES).select("Row", key).iter_rows()
            expected = "a name" if KEYS[key] == pl.String else "a whole number"
            raise BadLabelTable(
                f"{path} has {bad.height} labelled cells whose {key} is not {expected}: "
                f"{', '.join(f'{value!r} in row {row}' for row, value in rows)}."
            )
    spelled = {well: _well(path, well) for well in typed["Metadata_Well"].unique()}
    return typed.with_columns(pl.col("Metadata_Well").replace(spelled))


def _typed(key: str) -> pl.Expr:
    """The key as the cell table has it, null where it cannot be one."""
    text = pl.col(key).cast(pl.String).str.strip_chars()
    if KEYS[key] == pl.String:
        return pl.when(text != "").then(text).alias(key)
    number = text.cast(pl.Float64, strict=False)  # spreadsheets write 1 as 1.0
    return pl.when(number == number.round()).then(number).cast(KEYS[key]).alias(key)


def _well(path: Path, well: str) -> str:
    try:
        return parse_well(well)
    except BadPlate as error:
        raise BadLabelTable(f"{path} names a well that is none: {error}") from error


def _check_twice(path: Path, cells: pl.DataFrame, keys: list[str]) -> None:
    """Refuse a cell with two labels; the same label twice was dropped before."""
    both = cells.filter(pl.struct(keys).is_duplicated()).group_by(keys, maintain_order=True)
    twice = both.agg(pl.col("Label").str.join(" and ").alias("Labels"))
    if twice.height:
        raise BadLabelTable(
            f"{path} gives {twice.height} cells two labels: {name_cells(twice, 'Labels')}. Decide "
            "on one for each."
        )


def _check_classes(path: Path, cells: pl.DataFrame) -> None:
    counts = cells["Label"].value_counts().sort("Label")
    if not counts.height:
        raise BadLabelTable(f"{path} labels no cell. Expected at least two classes of cells.")
    if counts.height == 1:
        raise BadLabelTable(
            f"All {cells.height} cells of {path} are labelled {counts['Label'][0]!r}. A classifier "
            "tells classes apart: label cells of at least one other."
        )
    rare = counts.filter(pl.col("count") < LEAST_EXAMPLES)["Label"]
    if len(rare):
        alone = cells.filter(pl.col("Label").is_in(rare.implode()))
        raise BadLabelTable(
            f"{path} has {len(rare)} classes with one example: {name_cells(alone, 'Label')}. A "
            f"class takes at least {LEAST_EXAMPLES}, to learn from and to be judged by: label more "
            "cells of it, or take its label away."
        )


def _why(absent: pl.DataFrame, known: pl.DataFrame) -> str:
    """Say what of the keys is unknown, the coarsest first."""
    plates = set(known["Metadata_Plate"])
    strange = sorted(set(absent["Metadata_Plate"]) - plates)
    if strange:
        return f"It has no plate {strange[0]!r}. {suggestion(strange[0], sorted(plates))}"
    place = ["Metadata_Plate", "Metadata_Well"]
    wells = absent.join(known.select(place).unique(), on=place, how="anti")
    if wells.height:
        return f"Its well {wells['Metadata_Well'][0]} has no cells at all."
    return (
        "Object numbers are of one segmentation: labels that were made on another run, or before "
        "the recipe changed, must be made anew."
    )
