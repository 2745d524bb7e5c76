"""From replicates to one profile of each treatment."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from plates.errors import lookup
from profiler.profile.features import feature_matrix, finite, has_profile
from profiler.profile.groups import Matrix, columns_within, group_rows, to_series
from profiler.profile.outcome import name_groups
from profiler.profile.selection.correlate import spearman
from profiler.profile.wells.aggregate import SUMMARIES

REPLICATES = "Metadata_Replicate_Count"
TREATMENT = ("Metadata_Compound", "Metadata_Concentration", "Metadata_Unit", "Metadata_Role")
LEAST_WEIGHT = 0.01  # so that no replicate is silenced
DIGITS = 4  # of the weights, as in cmapPy and pycytominer


def consensus(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    by: str | Sequence[str] | None = None,
    how: str = "median",
) -> pl.DataFrame:
    """Make one profile of the replicates of each treatment.

    Args:
        table: Wells, normalised.
        features: Columns to summarise.
        by: Columns whose values together name a treatment; null is a value. By default
            those of `TREATMENT` that the table has.
        how: "modz", which weighs replicates by how well they agree with the others, or a
            name in `aggregate.SUMMARIES`.

    Returns:
        One row per treatment, sorted: `by`, `Metadata_Replicate_Count` (rows with a
        value of any feature, perhaps none), and features over the replicates in which
        they are finite, null where they are in none.

    Raises:
        UnknownName: `how` is none, or the table has no column of `by`.

    Source:
        pycytominer 1.7.1's `consensus`; see `modz` for where it differs.
    """
    given = [name for name in TREATMENT if name in table.columns] if by is None else by
    by, features = list(columns_within(given)), list(features)
    summary = lookup({**SUMMARIES, "modz": None}, kind="consensus", name=how)
    for name in by:
        lookup(table.schema, kind="column", name=name)
    if summary is not None:
        count = has_profile(features).sum().cast(pl.Int64).alias(REPLICATES)
        return table.group_by(by).agg(count, summary(finite(features))).sort(by)
    groups, values = group_rows(table, by), feature_matrix(table, features)
    has_value = np.isfinite(values)
    found = np.full((len(groups), len(features)), np.nan)
    for i, group in enumerate(groups):
        found[i] = modz(values[group.rows])
    keys = name_groups(pl.DataFrame({"group": range(len(groups))}), groups, table=table, within=by)
    n_replicates = [int(has_value[group.rows].any(axis=1).sum()) for group in groups]
    columns = [to_series(name, x) for name, x in zip(features, found.T.copy(), strict=True)]
    return keys.with_columns(pl.Series(REPLICATES, n_replicates, dtype=pl.Int64), *columns).sort(by)


def modz(replicates: Matrix) -> Float[np.ndarray, " feature"]:
    """Average replicates, each weighted by its mean rank correlation with the others.

    Args:
        replicates: Replicates by features; NaN where there is no value.

    Returns:
        The weighted sum. Weights are at least 0.01 before they are made to add up to 1
        and rounded to four digits; a replicate whose correlation is undefined, as it is
        constant, has none, unless all are so. A feature that some replicates lack is
        averaged over the others, where pycytominer takes it for 0.

    Source:
        Subramanian et al. 2017, Cell 171:1437, as pycytominer's `modz` with Spearman.
    """
    if len(replicates) == 1:
        return replicates[0]
    agreement = spearman(replicates.T)
    np.fill_diagonal(agreement, np.nan)
    known = ~np.isnan(agreement)
    n_others = known.sum(axis=1)
    total = np.where(known, np.clip(agreement, 0, None), 0).sum(axis=1)
    raw = np.where(n_others > 0, np.maximum(total / np.maximum(n_others, 1), LEAST_WEIGHT), 0)
    weights = np.round(raw / raw.sum(), DIGITS) if raw.any() else np.full(len(raw), 1 / len(raw))
    has_value = ~np.isnan(replicates)
    weight = (weights[:, None] * has_value).sum(axis=0)
    profile = (weights[:, None] * np.where(has_value, replicates, 0)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(has_value.all(axis=0), profile, profile / weight * weights.sum())
