"""The label table a user brings: keys of cells, and what each of them is."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int

from plates.errors import ProfilingError, UnknownName, suggestion
from profiler.store.cell_keys import (
    ASIDE,
    CONTENT,
    KEYS,
    OBJECT,
    ROW,
    TIMEPOINT,
    Kind,
    aside,
    check_plain,
    checked_keys,
    is_odd,
    keys_in,
    read_rows,
    text,
)

LABEL = "Label"  # what lists of cells to label call it
WELL = ("Metadata_Plate", "Metadata_Well")
NOVEL = "(novel)"  # what tables call cells that hardly any known cell is as odd as: no class's name
MISSING = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none")  # what tools write in empty cells
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
        noted: Keys and `ASIDE` of the rows with a label that say what their well's content was when
            the cell was looked at; see `content.follow`.
    """

    cells: pl.DataFrame
    codes: Int[np.ndarray, " cell"]
    classes: tuple[str, ...]
    unlabelled: int
    noted: pl.DataFrame


KIND = Kind("label table", "labelled cells", BadLabelTable)


def read_labels(path: Path, *, column: str | None = None) -> Labels:
    """Read a CSV or Parquet file of labelled cells.

    Args:
        path: Has the columns `Metadata_Plate`, `Metadata_Well` (in any spelling), `Metadata_Site`,
            `Metadata_ObjectNumber`, and `Metadata_Timepoint` where a run has several.
        column: Which column holds the label; None for the only one besides the keys and `ASIDE`.

    Returns:
        The labels. A cell that is in the table twice with the same label is there once.

    Raises:
        BadLabelTable: The file cannot be read or lacks a column, a key is missing or no whole
            number, a cell has two labels, all have one class, a class has one example, or is
            called as a missing value or as another but for capitals. The message names the cells.
        UnknownName: The table has no column of that name.
    """
    table, keys = _with_keys(path)
    name = _label_column(path, table, column)
    check_plain(path, table, [name], KIND)
    cells = _checked(path, table, keys, text(name))
    unlabelled = table.height - cells.height
    noted, cells = _noted(cells), cells.drop(ASIDE).unique(maintain_order=True)
    _check_names(path, cells)
    _check_twice(path, cells, keys)
    _check_classes(path, cells)
    classes = tuple(cells[LABEL].unique().sort())
    codes = np.searchsorted(classes, cells[LABEL].to_numpy().astype(str))
    return Labels(cells.drop(LABEL), codes, classes, unlabelled, noted)


class Labelled(NamedTuple):
    """Cells that have a label, whatever it is: their keys, each once; `noted` as for `Labels`."""

    cells: pl.DataFrame
    noted: pl.DataFrame


def read_labelled(path: Path) -> Labelled:
    """Read which cells have a label, whatever it is: a table that somebody is still at work on.

    Args:
        path: As for `read_labels`. A cell has a label where the column `Label` is filled in; in a
            table without it, where any column besides the keys and `ASIDE` is, or there is none.

    Returns:
        These cells; perhaps none.

    Raises:
        BadLabelTable: The file cannot be read, lacks a key, or a key is no key.
    """
    table, keys = _with_keys(path)
    label = pl.when(_is_filled(table)).then(pl.lit("yes"))
    cells = _checked(path, table, keys, label)
    return Labelled(cells.drop(LABEL, *ASIDE).unique(maintain_order=True), _noted(cells))


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
    return places_of(labels.cells, cells)


def places_of(wanted: pl.DataFrame, cells: pl.DataFrame | pl.LazyFrame) -> Int[np.ndarray, " cell"]:
    """Do what `rows_of` does, for the keys of cells alone, as `read_labelled` gives them."""
    keys = wanted.columns
    known = cells.lazy().select(pl.col(key).cast(KEYS[key]) for key in KEYS).collect()
    check_times(keys, times=known[TIMEPOINT].n_unique())
    found = wanted.join(
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


def _with_keys(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """The table, and which keys of cells it has."""
    table = read_rows(path, KIND)
    return table, keys_in(path, table, KIND)


def _checked(path: Path, table: pl.DataFrame, keys: list[str], label: pl.Expr) -> pl.DataFrame:
    """Keys and label of the rows that have one, and what `ASIDE` says, null where it does not."""
    rows = table.select(ROW, *keys, label.alias(LABEL), *aside(table))
    labelled = rows.filter(pl.col(LABEL) != "")  # nor null
    return checked_keys(path, labelled, KIND).hstack(labelled.select(LABEL, *ASIDE))


def _noted(cells: pl.DataFrame) -> pl.DataFrame:
    return cells.filter(pl.col(CONTENT) != "").drop(LABEL)  # nor null


def _is_filled(table: pl.DataFrame) -> pl.Expr:
    """Whether a row says anything of its cell: by its label, else by any column of a person's."""
    others = [name for name in table.columns if name not in (*KEYS, *ASIDE, ROW)]
    if not others:
        return pl.lit(value=True)
    said = [
        pl.col(name).is_not_null() if is_odd(table, name) else text(name) != ""
        for name in ([LABEL] if LABEL in others else others)
    ]
    return pl.any_horizontal(said)


def _label_column(path: Path, table: pl.DataFrame, column: str | None) -> str:
    others = [name for name in table.columns if name not in (*KEYS, *ASIDE, ROW)]
    if column is not None:
        if column not in others:
            raise UnknownName(
                f"{path} has no label column {column!r}. {suggestion(column, others)}"
            )
        return column
    if len(others) != 1:
        raise BadLabelTable(
            f"{path} has {len(others)} columns besides the keys of cells"
            f"{': ' + ', '.join(others) if others else ''}; expected one, the label. "
            + ("Say which one it is with --column." if others else "Add it.")
        )
    return others[0]


def _check_twice(path: Path, cells: pl.DataFrame, keys: list[str]) -> None:
    """Refuse a cell with two labels; the same label twice was dropped before."""
    both = cells.filter(pl.struct(keys).is_duplicated()).group_by(keys, maintain_order=True)
    twice = both.agg(pl.col(LABEL).str.join(" and ").alias("Labels"))
    if twice.height:
        raise BadLabelTable(
            f"{path} gives {twice.height} cells two labels: {name_cells(twice, 'Labels')}. Decide "
            "on one for each."
        )


def _check_names(path: Path, cells: pl.DataFrame) -> None:
    novel = cells.filter(pl.col(LABEL) == NOVEL)
    if novel.height:
        raise BadLabelTable(
            f"{path} labels {novel.height} cells {NOVEL!r}: {name_cells(novel)}. That is what "
            "tables call cells unlike all classes: choose another name."
        )
    missing = cells.filter(pl.col(LABEL).str.to_lowercase().is_in(MISSING))
    if missing.height:
        raise BadLabelTable(
            f"{path} labels {missing.height} cells as a missing value is written: "
            f"{name_cells(missing, LABEL)}. Where a cell has no label, leave the cell of the table "
            "empty; else choose another name for the class."
        )
    counts = cells[LABEL].value_counts().sort(LABEL)
    alike = counts.group_by(pl.col(LABEL).str.to_lowercase().alias("name")).agg(LABEL, "count")
    alike = alike.filter(pl.col(LABEL).list.len() > 1).sort("name")
    if alike.height:
        _, spelled, many = alike.row(0)
        named = " and ".join(f"{name!r} ({n})" for name, n in zip(spelled, many, strict=True))
        raise BadLabelTable(
            f"{path} has classes whose names differ by capitals alone: {named}"
            f"{f', and {alike.height - 1} more so' if alike.height > 1 else ''}. Spell each class "
            "one way."
        )


def _check_classes(path: Path, cells: pl.DataFrame) -> None:
    counts = cells[LABEL].value_counts().sort(LABEL)
    if not counts.height:
        raise BadLabelTable(f"{path} labels no cell. Expected at least two classes of cells.")
    if counts.height == 1:
        raise BadLabelTable(
            f"All {cells.height} cells of {path} are labelled {counts[LABEL][0]!r}. A classifier "
            "tells classes apart: label cells of at least one other."
        )
    rare = counts.filter(pl.col("count") < LEAST_EXAMPLES)[LABEL]
    if len(rare):
        alone = cells.filter(pl.col(LABEL).is_in(rare.implode()))
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
