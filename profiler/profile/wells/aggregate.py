"""From cells to wells."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import polars as pl

from plates.errors import lookup
from profiler.profile.features import feature_columns

WELL = ("Metadata_Plate", "Metadata_Well")


def mad(values: pl.Expr) -> pl.Expr:
    """Median absolute deviation from the median, not scaled to a standard deviation."""
    return (values - values.median()).abs().median()


def quantile(values: pl.Expr, *, share: float) -> pl.Expr:
    """Quantile, interpolated linearly as numpy does."""
    return values.quantile(share, interpolation="linear")


def interquartile_range(values: pl.Expr) -> pl.Expr:
    """Third quartile minus the first."""
    return quantile(values, share=0.75) - quantile(values, share=0.25)


SUMMARIES: Mapping[str, Callable[[pl.Expr], pl.Expr]] = {
    "median": pl.Expr.median,
    "mean": pl.Expr.mean,
    "std": pl.Expr.std,  # of n - 1; null with one cell
    "mad": mad,
    "iqr": interquartile_range,
    "min": pl.Expr.min,
    "max": pl.Expr.max,
    "q05": partial(quantile, share=0.05),
    "q10": partial(quantile, share=0.10),
    "q25": partial(quantile, share=0.25),
    "q75": partial(quantile, share=0.75),
    "q90": partial(quantile, share=0.90),
    "q95": partial(quantile, share=0.95),
    "count": pl.Expr.count,  # cells in which the feature is defined
}


def aggregate(
    cells: pl.DataFrame | pl.LazyFrame,
    *,
    by: Sequence[str] = WELL,
    how: str | Sequence[str] = "median",
    features: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Summarise the cells of every well.

    Args:
        cells: One row per cell; a lazy table is streamed, never held whole.
        by: Columns whose values together name a well.
        how: A name in `SUMMARIES`, or several.
        features: Columns to summarise; by default all features.

    Returns:
        One row per well that has cells, sorted by `by`: those columns,
        `Metadata_Object_Count`, and the summary of every feature over the
        cells where it is defined (neither null nor NaN), in float64; null
        where it is defined in no cell. An infinite value counts as a value.
        With several summaries each column's name ends with its own, as in
        `Cells_AreaShape_Area_mad`.

    Raises:
        UnknownName: `how` is no summary.

    Source:
        pycytominer's `aggregate`, checked against numpy in tests/profile/wells/test_aggregate.py.

    >>> cells = pl.DataFrame({"well": ["A01"] * 3, "Cells_AreaShape_Area": [1.0, 9.0, None]})
    >>> aggregate(cells, by=["well"]).row(0)
    ('A01', 3, 5.0)
    """
    names = [how] if isinstance(how, str) else list(how)
    summaries = [lookup(SUMMARIES, kind="summary", name=name) for name in names]
    columns = feature_columns(cells) if features is None else list(features)
    defined = pl.col(columns).cast(pl.Float64).fill_nan(None)
    found = [summary(defined).cast(pl.Float64) for summary in summaries]
    if not isinstance(how, str):
        found = [each.name.suffix(f"_{name}") for each, name in zip(found, names, strict=True)]
    count = pl.len().cast(pl.Int64).alias("Metadata_Object_Count")
    grouped = cells.lazy().group_by(list(by)).agg(count, *found)
    return grouped.collect(engine="streaming").sort(list(by))
