"""The cells of both sides that can be shown, with their vectors and named features."""

from collections.abc import Callable, Generator, Sequence
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadRun
from plates.imageset import FieldKey
from profiler.explain.events import Read
from profiler.explain.fields import Reader
from profiler.explain.sides import CELL, WELL, TwoSides
from profiler.profile.features import EMBEDDING, named_features
from profiler.store.screen import Screen

FIELD = [*WELL, "Metadata_Site", "Metadata_Timepoint"]
BORDER, PADDED = "Metadata_QC_TouchesBorder", "Metadata_QC_CropPadded"
MOST_CELLS = 1500  # of either side: a direction and its features need no more
MOST_FIELDS = 6  # of either side that are read again where cells have no vectors yet
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

    def fields(self, rows: Sequence[int]) -> list[FieldKey]:
        """The field of each of some cells."""
        return [FieldKey(*row) for row in self.table[list(rows)].select(FIELD).iter_rows()]


def find_cells(screen: Screen, sides: TwoSides) -> pl.DataFrame:
    """List the cells of both sides that no border cuts, `CELL`, Metadata_Timepoint, `TREATED`.

    Raises:
        BadRun: A listed cell is not there, or a side has no cell left.
    """
    cells = screen.cells
    names = cells.collect_schema().names()
    wells = pl.concat([sides.treated, sides.controls]).unique(maintain_order=True)
    kept = [*CELL, "Metadata_Timepoint", *(name for name in (BORDER, PADDED) if name in names)]
    found = _at(cells, wells, sides.timepoint).select(kept).collect()
    treated = sides.treated if sides.listed is None else sides.listed
    on = WELL if sides.listed is None else CELL
    if sides.listed is not None:
        _check_listed(sides.listed, found)
    ours = found.join(treated, on=on, how="semi", maintain_order="left")
    theirs = found.join(sides.controls, on=WELL, how="semi", maintain_order="left")
    theirs = theirs.join(treated, on=on, how="anti", maintain_order="left")
    both = [_whole(side) for side in (ours, theirs)]
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


def stored_vectors(screen: Screen, cells: pl.DataFrame, *, seed: int) -> Candidates:
    """Take vectors that the run has, of a sample of the cells on either side."""
    sample = _sampled(cells, seed)
    names = screen.cells.collect_schema().names()
    columns = [name for name in names if name.startswith(EMBEDDING) and name[-4:].isdigit()]
    table = _with_features(screen, sample, columns)
    vectors = table.select(columns).to_numpy().astype(np.float64)
    is_known = np.asarray(np.isfinite(vectors).all(axis=1))
    return Candidates(table.filter(is_known).drop(columns), vectors[is_known])


def fresh_vectors(
    screen: Screen,
    cells: pl.DataFrame,
    *,
    read: Reader,
    look: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> Generator[Read, None, Candidates]:
    """Read some fields of either side again, and let the network look at their cells.

    Args:
        screen: Of one run.
        cells: From `find_cells`.
        read: From `field_reader`.
        look: Crops to vectors.
        seed: Decides which fields, where there are many.

    Yields:
        Each field as it is read.

    Raises:
        BadRun: No crop of one side lies whole within its field; or as `read` does.
    """
    chosen = _some_fields(cells, seed)
    groups = list(chosen.group_by(FIELD, maintain_order=True))
    parts, vectors = [], []
    for number, (key, part) in enumerate(groups, start=1):
        field = FieldKey(*key)
        seen = read(field)
        rows = part["Metadata_ObjectNumber"].to_numpy() - 1
        is_whole = seen.is_whole[rows]
        parts.append(part.filter(is_whole))
        vectors.append(look(seen.pixels[rows[is_whole]]))
        yield Read(field, number, len(groups), "to embed its cells")
    table = pl.concat(parts)
    if table[TREATED].n_unique() < 2:
        raise BadRun(
            f"Of {chosen.height} cells in {len(groups)} fields, no crop of one side lies whole "
            "within its field. Take a network of smaller crops."
        )
    made = _with_features(screen, table, [])
    return Candidates(made, np.concatenate(vectors).astype(np.float64))


def _with_features(screen: Screen, cells: pl.DataFrame, more: Sequence[str]) -> pl.DataFrame:
    names = named_features(screen.cells.collect_schema().names())
    features = [name for name in names if name.startswith(("Cells_", "Nuclei_", "Cytoplasm_"))]
    keys = [*CELL, "Metadata_Timepoint"]
    wells = cells.select(WELL).unique(maintain_order=True)
    table = _at(screen.cells, wells, None).select(*keys, *features, *more)
    return cells.lazy().join(table, on=keys, how="left", maintain_order="left").collect()


def _at(cells: pl.LazyFrame, wells: pl.DataFrame, timepoint: int | None) -> pl.LazyFrame:
    # One comparison per well, not a join: scans then skip the other wells' files.
    one = [
        reduce(and_, (pl.col(name) == value for name, value in zip(WELL, row, strict=True)))
        for row in wells.iter_rows()
    ]
    there = cells.filter(reduce(or_, one, pl.lit(value=False)))
    return there if timepoint is None else there.filter(pl.col("Metadata_Timepoint") == timepoint)


def _whole(cells: pl.DataFrame) -> pl.DataFrame:
    there = [pl.col(name).cast(pl.Boolean) for name in (BORDER, PADDED) if name in cells.columns]
    is_cut = reduce(or_, (each.fill_null(value=False) for each in there), pl.lit(value=False))
    return cells.filter(~is_cut)


def _check_listed(listed: pl.DataFrame, found: pl.DataFrame) -> None:
    strange = listed.join(found, on=CELL, how="anti")
    if strange.height:
        first = strange.row(0)
        raise BadRun(
            f"{strange.height} of {listed.height} listed cells are not in the run, such as plate "
            f"{first[0]}, well {first[1]}, site {first[2]}, object {first[3]}."
        )


def _sampled(cells: pl.DataFrame, seed: int) -> pl.DataFrame:
    sides = [cells.filter(pl.col(TREATED) == side) for side in (True, False)]
    return pl.concat(
        [
            side.sample(min(side.height, MOST_CELLS), seed=seed, shuffle=True).sort(CELL)
            for side in sides
        ]
    )


def _some_fields(cells: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Cells of a few fields of either side, wells in turn."""
    every = (
        cells.select(*FIELD, TREATED)
        .unique()
        .sort(FIELD)
        .sample(fraction=1, shuffle=True, seed=seed)
    )
    turn = pl.int_range(pl.len()).over([*WELL, TREATED])
    ordered = every.with_columns(turn.alias("turn")).sort("turn", maintain_order=True)
    chosen = ordered.group_by(TREATED, maintain_order=True).head(MOST_FIELDS)
    return cells.join(
        chosen.select(*FIELD, TREATED), on=[*FIELD, TREATED], how="semi", maintain_order="left"
    )
