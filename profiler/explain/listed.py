"""The cells that a table lists, and what it says of the wells that they were looked at in."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from plates.errors import BadLayout
from profiler.store.cell_keys import KEYS, Kind, checked_keys, read_rows
from profiler.store.screen import TIMEPOINT, Screen

KIND = Kind("list of cells", "listed cells", BadLayout)
CONTENT = "Metadata_CellFile"  # of a cell's well, as lists of `suggest-cells` name it
PLACE = ("Nuclei_Location_Center_X", "Nuclei_Location_Center_Y")  # and where its nucleus lay


class Listed(NamedTuple):
    """Cells that are to be explained.

    Attributes:
        name: Of what they are, for titles and folders.
        cells: Their keys, one row each; without `TIMEPOINT` where the run has one.
        timepoint: Theirs; None where the run has one.
        noted: Keys, `CONTENT` and `PLACE` of those whose well is said; `classify.content.follow`
            finds cells again by it.
        told: What a person should know of them, in sentences.
    """

    name: str
    cells: pl.DataFrame
    timepoint: int | None
    noted: pl.DataFrame
    told: tuple[str, ...] = ()


def read_listed(screen: Screen, path: Path, *, timepoint: int | None) -> Listed:
    """Read which cells a table names.

    Args:
        screen: Of one run.
        path: CSV or Parquet file with the keys of cells, Metadata_Timepoint or not; others but
            `CONTENT` and `PLACE` are ignored. Wells may be spelled in any way.
        timepoint: Of the cells, where the run has several and the table does not say it.

    Raises:
        BadLayout: The file cannot be read, lacks a column, names no cell or has a key that is
            none; or its time point is not clear.
    """
    rows = read_rows(path, KIND)
    keys = checked_keys(path, rows, KIND)
    if not keys.height:
        raise BadLayout(f"{path} lists no cell. Give at least one row.")
    time = _listed_time(path, keys, timepoint, times=times_of(screen))
    if time is not None:
        keys = keys.with_columns(pl.lit(time, KEYS[TIMEPOINT]).alias(TIMEPOINT))
        keys = keys.select(name for name in KEYS if name in keys.columns)
    said = rows.with_columns(_said(rows)).select(CONTENT, *PLACE)
    noted = keys.hstack(said).filter(pl.col(CONTENT) != "")  # nor null
    cells, noted = (each.unique(maintain_order=True) for each in (keys, noted))
    return Listed(path.stem, cells, time, noted)


def times_of(screen: Screen) -> list[int]:
    """List the time points of a run."""
    return screen.fields.select(pl.col(TIMEPOINT).unique().sort()).collect()[TIMEPOINT].to_list()


def _said(rows: pl.DataFrame) -> list[pl.Expr]:
    """What a table says of wells and places, null where it says nothing of use."""

    def text(name: str) -> pl.Expr:
        kind = rows.schema.get(name, pl.Null)
        is_plain = not kind.is_nested() and kind not in (pl.Binary, pl.Object, pl.Duration)
        return (pl.col(name) if is_plain and name in rows.columns else pl.lit(None)).cast(pl.String)

    def number(name: str) -> pl.Expr:
        # Spreadsheets of some countries write a comma.
        found = text(name).str.strip_chars().str.replace(",", ".", literal=True)
        found = found.cast(pl.Float64, strict=False)
        return pl.when(found.is_finite()).then(found)

    content = text(CONTENT).str.strip_chars().alias(CONTENT)
    return [content, *(number(name).alias(name) for name in PLACE)]


def _listed_time(
    path: Path, keys: pl.DataFrame, timepoint: int | None, *, times: Sequence[int]
) -> int | None:
    """The time point of listed cells, whose numbers are others at another."""
    said = keys[TIMEPOINT].unique().sort().to_list() if TIMEPOINT in keys.columns else []
    if len(said) > 1:
        raise BadLayout(
            f"{path} lists cells of {len(said)} time points ({said[0]} to {said[-1]}). Cells are "
            "explained at one: list those of one."
        )
    if said and timepoint not in (None, *said):
        raise BadLayout(
            f"{path} lists cells of time point {said[0]}, and time point {timepoint} is asked for."
        )
    if not said and timepoint is None and len(times) > 1:
        raise BadLayout(
            f"The run has {len(times)} time points, and {path} has no {TIMEPOINT}, so it does not "
            "say which cells are meant. Add that column, or name one with --timepoint."
        )
    return said[0] if said else timepoint
