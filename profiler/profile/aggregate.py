"""From cells to wells."""

from collections.abc import Sequence
from typing import Literal

import polars as pl

from plates.errors import lookup
from profiler.profile.features import feature_columns

WELL = ("Metadata_Plate", "Metadata_Well")
SUMMARIES = {"median": pl.Expr.median, "mean": pl.Expr.mean}


def aggregate(
    cells: pl.DataFrame | pl.LazyFrame,
    *,
    by: Sequence[str] = WELL,
    how: Literal["median", "mean"] | str = "median",
) -> pl.DataFrame:
    """Summarise the cells of every well.

    Args:
        cells: One row per cell; a lazy table is streamed, never held whole.
        by: Columns whose values together name a well.
        how: A name in `SUMMARIES`.

    Returns:
        One row per well that has cells, sorted by `by`: those columns,
        `Metadata_Object_Count`, and the summary of every feature over the
        cells where it is defined (neither null nor NaN), in float64; null
        where it is defined in no cell. An infinite value counts as a value.

    Raises:
        UnknownName: `how` is no summary.

    Source:
        pycytominer's `aggregate`, checked against numpy in tests/profile/test_aggregate.py.

    >>> cells = pl.DataFrame({"well": ["A01"] * 3, "Cells_AreaShape_Area": [1.0, 9.0, None]})
    >>> aggregate(cells, by=["well"]).row(0)
    ('A01', 3, 5.0)
    """
    summary = lookup(SUMMARIES, kind="summary", name=how)
    defined = pl.col(feature_columns(cells)).cast(pl.Float64).fill_nan(None)
    count = pl.len().cast(pl.Int64).alias("Metadata_Object_Count")
    grouped = cells.lazy().group_by(list(by)).agg(count, summary(defined))
    return grouped.collect(engine="streaming").sort(list(by))
