"""Cells to look at: those that show best what a well's numbers say."""

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_

import numpy as np
import polars as pl

from plates.errors import lookup
from profiler.profile.features import feature_matrix
from profiler.profile.scaling.normalise import FLOAT_NOISE, MAD_TO_SD

PLATE, WELL, TIMEPOINT = "Metadata_Plate", "Metadata_Well", "Metadata_Timepoint"
CELL = (PLATE, WELL, "Metadata_Site", "Metadata_ObjectNumber")
BORDER = "Metadata_QC_TouchesBorder"
CLIP = 5.0  # robust sds: a cell that is odd in one feature is not to outweigh the others


def typical_cells(
    cells: pl.LazyFrame | pl.DataFrame,
    *,
    wells: pl.DataFrame,
    features: Sequence[str],
    n: int = 6,
) -> pl.DataFrame:
    """Find the cells nearest to the middle of their wells in the features that drive a hit.

    A well's profile is the median of its cells, so the cells nearest to it look as the numbers
    say. Ask for the hit's wells and for the plate's controls with the same features, and
    what sets the two apart is what to see.

    Args:
        cells: Keys and features of single cells, as `open(run).cells`.
        wells: Where to look: `Metadata_Plate`, `Metadata_Well` and, where it is there,
            `Metadata_Timepoint`, as the hit's wells or some negative controls.
        features: Columns that the likeness is judged by, as `top_features` of a compound.
        n: Most cells to give.

    Returns:
        At most `n` rows, the most typical first: `Metadata_Plate`, `Metadata_Well`,
        `Metadata_Site`, `Metadata_ObjectNumber`, `Metadata_Timepoint` where the cells have
        it, and `distance`, the root mean square of the
        robust z of each feature among all cells asked for, ties by key. Wells take turns, so
        that no single one fills the list. Cells at the border of a field, and cells that lack
        one of the features, are left out.

    Raises:
        UnknownName: The cells lack a feature.

    >>> keys = {"Metadata_Plate": "P", "Metadata_Well": "A01", "Metadata_Site": 1}
    >>> cells = pl.DataFrame({"Metadata_ObjectNumber": [1, 2, 3], "Cells_A": [1.0, 9.0, 4.0]})
    >>> cells = cells.with_columns(**{name: pl.lit(value) for name, value in keys.items()})
    >>> one = typical_cells(cells, wells=cells, features=["Cells_A"], n=1)
    >>> one["Metadata_ObjectNumber"].to_list()
    [3]
    """
    table = _cells_of(cells.lazy(), wells, list(features))
    values = feature_matrix(table, list(features))
    whole = np.flatnonzero(np.isfinite(values).all(axis=1))
    table, values = table[whole], values[whole]
    keys = table.drop(set(features))
    nearest = keys.with_columns(pl.Series("distance", _distance(values)))
    nearest = nearest.sort("distance", *keys.columns)
    turn = pl.int_range(pl.len()).over(PLATE, WELL)
    return nearest.sort(turn, "distance", maintain_order=True).head(n)


def _cells_of(cells: pl.LazyFrame, wells: pl.DataFrame, features: list[str]) -> pl.DataFrame:
    """Cells of some wells that lie whole within their field."""
    columns = cells.collect_schema()
    for name in features:
        lookup(columns, kind="feature", name=name)
    keys = [name for name in (PLATE, WELL, TIMEPOINT) if name in wells.columns and name in columns]
    names = wells.select(keys).unique().sort(keys)
    # One comparison per well, not a join: scans then skip the other wells' files.
    asked = [
        reduce(and_, (pl.col(key) == value for key, value in zip(keys, row, strict=True)))
        for row in names.iter_rows()
    ]
    is_inside = pl.lit(value=True)
    if BORDER in columns:
        is_inside = ~pl.col(BORDER).fill_null(value=False)
    return (
        cells.filter(reduce(or_, asked, pl.lit(value=False)), is_inside)
        .select(*CELL, *(name for name in (TIMEPOINT,) if name in columns), *features)
        .collect()
    )


def _distance(values: np.ndarray) -> np.ndarray:
    """Root mean square of robust z; features that do not vary say nothing."""
    if not values.size:
        return np.zeros(len(values))
    middle = np.median(values, axis=0)
    spread = MAD_TO_SD * np.median(np.abs(values - middle), axis=0)
    varies = spread > FLOAT_NOISE * np.abs(middle)
    z = np.zeros_like(values)
    np.divide(values - middle, spread, out=z, where=varies)
    return np.sqrt((np.clip(z, -CLIP, CLIP) ** 2).mean(axis=1))
