"""Features judged one at a time: does it vary, is it there, can it be trusted?"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import polars as pl

from plates.errors import lookup
from profiler.profile.features import finite, finite_in, phenotype_features
from profiler.profile.groups import column_values, columns_within, each
from profiler.profile.options import NotNegative, Share, named
from profiler.profile.selection.blocklist import BLOCKLISTS
from profiler.profile.selection.counts import count_bounds, value_counts

ROUNDING = 1e-20  # variance of equal values by rounding, as a share of their square, and more

DROPPED = {
    "feature": pl.String,
    "value": pl.Float64,
    "partner": pl.String,
    "reason": pl.String,
}


class Drop(NamedTuple):
    """One feature to drop."""

    feature: str
    value: float | None
    reason: str
    partner: str | None = None


def dropped(drops: Iterable[Drop]) -> pl.DataFrame:
    """Make a step's answer: one row per feature to drop, in the columns `DROPPED`."""
    return pl.DataFrame([drop._asdict() for drop in drops], schema=DROPPED)


def drop_na_columns(
    table: pl.DataFrame, *, features: Sequence[str], max_missing: Share = 0.05
) -> pl.DataFrame:
    """Name features that miss a value in too many rows.

    Args:
        table: Cells or wells.
        features: Columns to judge.
        max_missing: Largest share of rows without a finite value, 0 to 1.

    Returns:
        One row per feature to drop, as in `Selection.report`.

    Source:
        pycytominer's `get_na_columns`, with infinite values as missing.
    """
    if not table.height:
        return dropped([])
    values = finite_in(table, features).values()
    shares = table.select(value.null_count() / pl.len() for value in values)
    return dropped(
        Drop(name, share, f"{share:.1%} of its values are missing, over {max_missing:.1%}")
        for name, share in _by_name(shares)
        if share > max_missing
    )


def variance_threshold(
    table: pl.DataFrame, *, features: Sequence[str], min_variance: NotNegative = 1e-6
) -> pl.DataFrame:
    """Name features that hardly vary.

    Args:
        table: Cells or wells.
        features: Columns to judge.
        min_variance: Variance (of n, not n - 1) up to which a feature is dropped, at least 0.

    Returns:
        One row per feature to drop, as in `Selection.report`; those without any finite
        value are, too.

    Source:
        pycytominer's `variance_threshold`, scikit-learn's `VarianceThreshold`.
    """
    values = finite_in(table, features)
    variances = dict(_by_name(table.select(value.var(ddof=0) for value in values.values())))
    firsts = dict(_by_name(table.head(1).select(features))) if table.height else {}
    for name in features:  # rounding gives equal values a variance above 0, if a small one
        if _may_be_constant(variances[name], firsts.get(name)):
            lowest, highest = table.select(values[name].min(), highest=values[name].max()).row(0)
            variances[name] *= lowest < highest

    def why(variance: float | None) -> str:
        if variance is None:
            return "it has no value"
        return f"its variance is {variance:.3g}, not above {min_variance:g}"

    return dropped(
        Drop(name, variance, why(variance))
        for name, variance in variances.items()
        if variance is None or variance <= min_variance
    )


def _may_be_constant(variance: float | None, value: float | None) -> bool:
    if not variance:
        return False
    return value is None or not variance > ROUNDING * value * value  # NaN: may be


def frequency_threshold(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    min_frequency: Share = 0.05,
    min_unique: Share = 0.01,
) -> pl.DataFrame:
    """Name features that are mostly one value, or take few values for so many rows.

    Args:
        table: Cells or wells.
        features: Columns to judge.
        min_frequency: Least count of the second most common value, as a share of that
            of the most common, 0 to 1.
        min_unique: Least number of different values, as a share of the rows, 0 to 1.

    Returns:
        One row per feature to drop, as in `Selection.report`; those with fewer than
        two values are, too.

    Source:
        pycytominer's `frequency_threshold` with its `freq_cut` and `unique_cut`.
    """
    n_rows = max(table.height, 1)

    def judge(column: pl.Series) -> Drop | None:
        name, values = column.name, column_values(column)
        most, different = count_bounds(values)
        if different > 1 and most * min_frequency <= 1 and different / n_rows >= min_unique:
            return None  # the second most common comes once at least
        counts = value_counts(values)
        first, second = np.sort(np.r_[0, 0, counts])[:-3:-1]
        frequency, unique = second / max(first, 1), len(counts) / n_rows
        if frequency < min_frequency:
            reason = f"its second most common value comes {second} times, the most common {first}"
            return Drop(name, frequency, reason)
        if unique < min_unique:
            return Drop(name, unique, f"it takes {len(counts)} values in {table.height} rows")
        return None

    return dropped(filter(None, each(table.select(features).get_columns(), judge)))


def drop_outliers(
    table: pl.DataFrame, *, features: Sequence[str], max_value: NotNegative = 500.0
) -> pl.DataFrame:
    """Name features that are extreme anywhere; for normalised tables.

    Args:
        table: Cells or wells.
        features: Columns to judge.
        max_value: Largest absolute value allowed; an infinite one exceeds it.

    Returns:
        One row per feature to drop, as in `Selection.report`.

    Source:
        pycytominer's `drop_outlier_features` with its `outlier_cutoff`.
    """
    largest = table.select(pl.col(list(features)).cast(pl.Float64).fill_nan(None).abs().max())
    return dropped(
        Drop(name, value, f"it reaches {value:.3g}, over {max_value:g}")
        for name, value in _by_name(largest)
        if value is not None and value > max_value
    )


def blocklist(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    names: Sequence[str] = (),
    lists: Sequence[Annotated[str, named(BLOCKLISTS, kind="blocklist")]] = ("cell_painting",),
) -> pl.DataFrame:
    """Name features that are on a list.

    Args:
        table: Not looked at.
        features: Columns to judge.
        names: Features of your own to drop.
        lists: Names in `BLOCKLISTS` whose features are dropped as well.

    Returns:
        One row per feature to drop, as in `Selection.report`.

    Raises:
        UnknownName: A list is none.

    Source:
        pycytominer's `get_blocklist_features`; see `profiler/profile/selection/blocklist.py`.
    """
    del table
    why = {name: "it is on your own list" for name in names}
    for name in lists:
        listed = lookup(BLOCKLISTS, kind="blocklist", name=name)
        why |= dict.fromkeys(listed, f"it is on the list {name}")
    return dropped(Drop(name, None, why[name]) for name in features if name in why)


def drop_positions(table: pl.DataFrame, *, features: Sequence[str]) -> pl.DataFrame:
    """Name features that are positions, identities or links to other objects.

    Args:
        table: Not looked at.
        features: Columns to judge.

    Returns:
        One row per feature to drop, as in `Selection.report`: those that
        `features.phenotype_features` leaves out.
    """
    del table
    left = set(phenotype_features(features))
    why = "it says where an object lies or what it is called, not how it looks"
    return dropped(Drop(name, None, why) for name in features if name not in left)


def noise_removal(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    by: str | Sequence[str] = "Metadata_Compound",
    max_sd: NotNegative = 0.8,
) -> pl.DataFrame:
    """Name features that differ too much between replicates; for normalised tables.

    Args:
        table: Wells.
        features: Columns to judge.
        by: Columns whose values together name a treatment; rows without one do not count.
        max_sd: Largest mean over treatments of the standard deviation (of n) within one.

    Returns:
        One row per feature to drop, as in `Selection.report`.

    Raises:
        UnknownName: The table has no such column.

    Source:
        pycytominer's `noise_removal` with its `noise_removal_stdev_cutoff`.
    """
    by = columns_within(by)
    for name in by:
        lookup(table.schema, kind="column", name=name)
    spread = table.drop_nulls(by).group_by(by).agg(finite(features).std(ddof=0))
    return dropped(
        Drop(name, sd, f"its sd between replicates is {sd:.3g}, over {max_sd:g}")
        for name, sd in _by_name(spread.select(pl.col(list(features)).mean()))
        if sd is not None and sd > max_sd
    )


def _by_name(frame: pl.DataFrame) -> Iterable[tuple[str, Any]]:
    return zip(frame.columns, frame.row(0), strict=True) if frame.columns else ()
