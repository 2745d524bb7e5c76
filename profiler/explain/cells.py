"""Cells of a run by their keys: where they are, whether they are whole, what is known of them."""

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_

import polars as pl

from plates.errors import BadRun
from profiler.explain.sides import CELL, WELL
from profiler.store.cell_keys import KEYS
from profiler.store.screen import Screen

BORDER, PADDED = "Metadata_QC_TouchesBorder", "Metadata_QC_CropPadded"


def cells_at(cells: pl.LazyFrame, wells: pl.DataFrame, timepoint: int | None) -> pl.LazyFrame:
    """Take the cells of some wells, at one time point where it is given."""
    # One comparison per well, not a join: scans then skip the other wells' files.
    one = [
        reduce(and_, (pl.col(name) == value for name, value in zip(WELL, row, strict=True)))
        for row in wells.iter_rows()
    ]
    there = cells.filter(reduce(or_, one, pl.lit(value=False)))
    return there if timepoint is None else there.filter(pl.col("Metadata_Timepoint") == timepoint)


def keyed(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Take `CELL`, Metadata_Timepoint and what says whether a cell is cut."""
    names = cells.collect_schema().names()
    return cells.select(
        *CELL, "Metadata_Timepoint", *(name for name in (BORDER, PADDED) if name in names)
    )


def whole(cells: pl.DataFrame) -> pl.DataFrame:
    """Leave out cells that the border cuts, or cuts the crop of."""
    there = [pl.col(name).cast(pl.Boolean) for name in (BORDER, PADDED) if name in cells.columns]
    is_cut = reduce(or_, (each.fill_null(value=False) for each in there), pl.lit(value=False))
    return cells.filter(~is_cut)


def check_there(asked: pl.DataFrame, found: pl.DataFrame, *, what: str) -> None:
    """Refuse cells that the run does not have.

    Raises:
        BadRun: There are some; the message names the first.
    """
    keys = [name for name in KEYS if name in asked.columns]
    strange = asked.join(found, on=keys, how="anti", maintain_order="left")
    if strange.height:
        first = strange.row(0, named=True)
        raise BadRun(
            f"{strange.height} of {asked.height} {what} cells are not in the run, such as plate "
            f"{first[CELL[0]]}, well {first[CELL[1]]}, site {first[CELL[2]]}, object "
            f"{first[CELL[3]]}. Object numbers are of one segmentation: a list from another run is "
            "of other cells."
        )


def with_columns(screen: Screen, cells: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Look columns of the cell table up for some cells, in their order."""
    keys = [*CELL, "Metadata_Timepoint"]
    wells = cells.select(WELL).unique(maintain_order=True)
    table = cells_at(screen.cells, wells, None).select(*keys, *columns)
    return cells.lazy().join(table, on=keys, how="left", maintain_order="left").collect()
