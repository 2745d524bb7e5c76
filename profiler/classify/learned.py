"""The cells a classifier learned from: what it says of them is what was said while they were apart.

Of the cells that taught it, a classifier is too often right. Where those are a run's controls, the
wells of compounds would seem to have more of every other class, by its errors alone.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int

from profiler.classify.learn import Learnt
from profiler.store.cell_keys import KEYS
from profiler.store.classes import identity
from profiler.store.places import well_path
from profiler.store.tables import Footer, read_footers

FILE = "File"  # of cells: part of the name of its content
LETTERS = 16  # of that name
WELL = ("Metadata_Plate", "Metadata_Well")

Places = Int[np.ndarray, " cell"]


class Seen(NamedTuple):
    """Which cells a classifier learned from, and where what was said of them apart is kept.

    Attributes:
        apart: Place in `Apart.logits` of each cell; -1 for one that is new to the classifier, or
            that none could judge apart.
        odd: Place in `Odd.reference`, likewise.
    """

    apart: Places
    odd: Places


class Learned(NamedTuple):
    """The cells that a classifier learned from.

    Attributes:
        cells: Their keys, and `FILE`.
        seen: Of each.
    """

    cells: pl.DataFrame
    seen: Seen

    def of(self, cells: pl.DataFrame, file: str) -> Seen:
        """Recognise cells of one well by their keys, and by the content of their file.

        Args:
            cells: Their keys.
            file: From `file_of`.
        """
        keys = [name for name in self.cells.columns if name != FILE]
        own = self.cells.with_row_index("row").filter(pl.col(FILE) == file).select(*keys, "row")
        asked = cells.select(pl.col(key).cast(KEYS[key]) for key in keys)
        row = asked.join(own, on=keys, how="left", maintain_order="left")["row"]
        is_own, place = row.is_not_null().to_numpy(), row.fill_null(0).to_numpy()
        return Seen(*(np.where(is_own, each[place], -1) for each in self.seen))


def learned_of(cells: pl.DataFrame, learnt: Learnt, *, runs: Sequence[Path]) -> Learned:
    """Note which cells were learned from.

    Args:
        cells: Their keys, in the order of the examples.
        learnt: What was learned.
        runs: Folders that have them.

    Raises:
        BadRun: A file cannot be read.
    """
    wells = cells.select(WELL).unique().rows()
    paths = {
        well: path for run in runs for well in wells if (path := well_path(run, *well)).is_file()
    }
    files = dict(zip(paths, map(file_of, read_footers(paths.values())), strict=True))
    named = pl.Series(FILE, [files.get(well, "") for well in cells.select(WELL).rows()], pl.String)
    rows = (learnt.apart.rows, learnt.odd.rows if learnt.odd else np.zeros(0, int))
    return Learned(cells.with_columns(named), Seen(*(_places(each, cells.height) for each in rows)))


def file_of(footer: Footer) -> str:
    """Name the content of a cell file, as `FILE` does."""
    return identity(footer)[:LETTERS]


def written(learned: Learned) -> dict[str, np.ndarray]:
    """Turn into tensors, for a classifier's file; the keys are CSV."""
    text = learned.cells.write_csv().encode()
    return {"cells": np.frombuffer(text, np.uint8)} | learned.seen._asdict()


def read(tensors: Mapping[str, np.ndarray]) -> Learned | None:
    """Undo `written`; None for a file from before this was noted."""
    if not tensors:
        return None
    text = io.BytesIO(tensors["cells"].tobytes())
    cells = pl.read_csv(text, schema_overrides={**KEYS, FILE: pl.String})
    return Learned(cells, Seen(tensors["apart"], tensors["odd"]))


def _places(rows: np.ndarray, count: int) -> Places:
    places = np.full(count, -1)
    places[rows] = np.arange(len(rows))
    return places
