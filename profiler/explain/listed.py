"""The cells that a table lists, and what it says of the wells that they were looked at in."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from plates.errors import BadLayout
from profiler.store.cell_keys import ASIDE, CONTENT, KEYS, Kind, aside, checked_keys, read_rows
from profiler.store.screen import TIMEPOINT, Screen

KIND = Kind("list of cells", "listed cells", BadLayout)


class Listed(NamedTuple):
    """Cells that are to be explained.

    Attributes:
        name: Of what they are, for titles and folders.
        cells: Their keys, one row each; without `TIMEPOINT` where the run has one.
        timepoint: Theirs; None where the run has one.
        noted: Keys and `ASIDE` of those whose well is said; `classify.content.follow` finds cells
            again by it.
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
            `ASIDE` are ignored. Wells may be spelled in any way.
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
    noted = keys.hstack(rows.with_columns(aside(rows)).select(ASIDE))
    noted = noted.filter(pl.col(CONTENT) != "")  # nor null
    cells, noted = (each.unique(maintain_order=True) for each in (keys, noted))
    return Listed(path.stem, cells, time, noted)


def times_of(screen: Screen) -> list[int]:
    """List the time points of a run."""
    return screen.fields.select(pl.col(TIMEPOINT).unique().sort()).collect()[TIMEPOINT].to_list()


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
