"""The cells of both sides that can be shown, with their vectors and named features."""

from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadRun
from profiler.explain.cells import cells_at, check_there, keyed, whole, with_columns
from profiler.explain.sides import CELL, WELL, TwoSides
from profiler.explain.vectors import Embedded
from profiler.profile.features import named_features
from profiler.store.screen import Screen

TREATED = "is treated"


class Candidates(NamedTuple):
    """Cells that lie whole within their field, one row each.

    Attributes:
        table: `CELL`, Metadata_Timepoint, `TREATED` and named features.
        vectors: Of the network, [cell, feature] float64.
    """

    table: pl.DataFrame
    vectors: np.ndarray

    @property
    def is_treated(self) -> np.ndarray:
        """On which side each cell is."""
        return self.table[TREATED].to_numpy()

    @property
    def plate(self) -> np.ndarray:
        """Of each cell."""
        return self.table[WELL[0]].to_numpy()

    @property
    def well(self) -> np.ndarray:
        """Plate and well of each cell, as one name."""
        return self.table.select(pl.concat_str(WELL, separator="\t")).to_series().to_numpy()


def find_cells(screen: Screen, sides: TwoSides) -> pl.DataFrame:
    """List the cells of both sides that no border cuts, `CELL`, Metadata_Timepoint, `TREATED`.

    Raises:
        BadRun: A listed cell is not there, or a side has no cell left.
    """
    wells = pl.concat([sides.treated, sides.controls]).unique(maintain_order=True)
    found = keyed(cells_at(screen.cells, wells, sides.timepoint)).collect()
    treated = sides.treated if sides.listed is None else sides.listed
    on = WELL if sides.listed is None else CELL
    if sides.listed is not None:
        check_there(sides.listed, found, what="listed")
    ours = found.join(treated, on=on, how="semi", maintain_order="left")
    theirs = found.join(sides.controls, on=WELL, how="semi", maintain_order="left")
    theirs = theirs.join(treated, on=on, how="anti", maintain_order="left")
    both = [whole(side) for side in (ours, theirs)]
    for side, every, what in zip(both, (ours, theirs), (sides.name, "the controls"), strict=True):
        if not side.height:
            raise BadRun(
                f"None of the {every.height} cells of {what} lies whole within its field, so none "
                "can be shown. Take a network of smaller crops, or other wells."
            )
    return pl.concat(
        [
            side.select(*CELL, "Metadata_Timepoint", pl.lit(value).alias(TREATED))
            for side, value in zip(both, (True, False), strict=True)
        ]
    )


def with_features(screen: Screen, seen: Embedded) -> Candidates:
    """Give cells of both sides that have vectors their named features.

    Raises:
        BadRun: One side has none.
    """
    if seen.table[TREATED].n_unique() < 2:
        raise BadRun(
            f"Of {seen.table.height} cells that were looked at, no crop of one side lies whole "
            "within its field. Take a network of smaller crops."
        )
    names = named_features(screen.cells.collect_schema().names())
    features = [name for name in names if name.startswith(("Cells_", "Nuclei_", "Cytoplasm_"))]
    return Candidates(with_columns(screen, seen.table, features), seen.vectors)
