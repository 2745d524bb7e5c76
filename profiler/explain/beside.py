"""What is shown beside each explained cell: the controls and the labelled cells most like it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from profiler.explain.candidates import Candidates
from profiler.explain.labelled import LABEL, Labelled
from profiler.explain.sides import CELL
from profiler.explain.vectors import FIELD
from profiler.phenotype.cell_neighbours import NearestCells, nearest_cells
from profiler.phenotype.directions import Direction

KIN = 3  # of either, beside a cell


class Beside(NamedTuple):
    """Cells by row of one table, the nearest first.

    Attributes:
        keys: `CELL`, Metadata_Timepoint and `LABEL`: the candidates, then the labelled cells.
        controls: Nearest to each explained cell; of other wells than its own.
        labelled: Likewise, of all wells, itself aside; None where no labels were given.
    """

    keys: pl.DataFrame
    controls: NearestCells
    labelled: NearestCells | None

    @property
    def rows(self) -> np.ndarray:
        """All of them, some perhaps more than once."""
        kin = [self.controls, *(() if self.labelled is None else (self.labelled,))]
        return np.concatenate([each.row[each.row >= 0] for each in kin])

    def named(self, kin: NearestCells) -> list[list[str]]:
        """Say which cells are beside each explained one: "plate well site object"."""
        names = _names(self.keys)
        return [[str(names[row]) for row in line[line >= 0]] for line in kin.row]

    def labels(self, kin: NearestCells) -> list[list[str]]:
        """Say what people called the labelled cells beside each."""
        labels = self.keys[LABEL]
        return [[labels[int(row)] for row in line[line >= 0]] for line in kin.row]


def find_beside(
    cells: Candidates, order: np.ndarray, direction: Direction, labelled: Labelled | None
) -> Beside:
    """Find the cells most like explained ones: by the angle from the mean of the controls.

    Args:
        cells: All candidates.
        order: Rows of those that are explained.
        direction: Has each plate's mean control.
        labelled: From `place_labelled`.
    """
    centred = cells.vectors - np.stack([direction.origins[name] for name in cells.plate])
    controls = np.flatnonzero(~cells.is_treated)
    apart = cells.well[order], cells.well[controls]
    near = nearest_cells(centred[order], centred[controls], n=KIN, apart=apart)
    kept = cells.table.select(*FIELD, CELL[-1], pl.lit(None, pl.String).alias(LABEL))
    if labelled is None:
        return Beside(kept, _among(near, controls), None)
    keys = pl.concat([kept, labelled.table.select(kept.columns)])
    # A label is of a cell, not of its well, so neighbours in the well count; itself does not.
    itself = _names(kept)[order], _names(labelled.table)
    like = nearest_cells(centred[order], labelled.vectors, n=KIN, apart=itself)
    rows = kept.height + np.arange(labelled.table.height)
    return Beside(keys, _among(near, controls), _among(like, rows))


def cosines(kin: NearestCells) -> Iterator[list[float]]:
    """Take the cosine of each that is there."""
    for row, cosine in zip(kin.row, kin.cosine, strict=True):
        yield cosine[row >= 0].tolist()


def _among(kin: NearestCells, rows: np.ndarray) -> NearestCells:
    """The same cells by their rows in a larger table."""
    return kin._replace(row=np.where(kin.row >= 0, rows[kin.row], -1))


def _names(cells: pl.DataFrame) -> np.ndarray:
    return cells.select(pl.concat_str(CELL, separator=" ")).to_series().to_numpy()
