"""Which named features go with a direction among cells' vectors."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from scipy.stats import rankdata

from plates.errors import BadRun
from profiler.profile.fdr import q_values
from profiler.profile.features import feature_matrix

PERMUTATIONS = 200
LEAST_ROWS = 5
LEAST_KNOWN = 0.5  # share of the rows that must have a value

Rows: TypeAlias = Float[np.ndarray, " row"]
Ranks: TypeAlias = Float[np.ndarray, "row feature"]


def direction_features(
    table: pl.DataFrame,
    place: Rows,
    *,
    features: Sequence[str],
    given: str | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pl.DataFrame:
    """Rank named features by how they go with places along a direction.

    Args:
        table: Cells or wells.
        place: Where each row lies along the direction, finite.
        features: Columns of the table. Positions should not be among them.
        given: Column whose groups are held fixed, as the well of cells: ranks are taken over all
            rows, each group's mean is removed from both sides, and permutations stay
            within groups. So what wells differ in, their treatment and all else, does not count.
        permutations: Of the places among the rows.
        seed: Of the permutations.

    Returns:
        One row per feature, the strongest first: feature, correlation (Spearman's, or partial
        given the groups; null where fewer than half of the rows have a value, or it does not
        vary), n_rows with a value (others count as the middle of their group), p_value and
        q_value (Benjamini and Hochberg). The null is pooled over features, so p is at least
        1 / (permutations x features + 1).

    Raises:
        BadRun: There are fewer than five rows, or no feature.

    Source:
        Spearman's rank correlation, by scipy in tests/phenotype/test_direction_features.py; the
        pooled null: Storey & Tibshirani 2003, PNAS 100:9440.
    """
    if table.height < LEAST_ROWS or not features:
        raise BadRun(
            f"Found {table.height} rows and {len(features)} features; which features go with a "
            f"direction takes at least {LEAST_ROWS} rows and one feature. Take more wells or cells."
        )
    group = _groups(table, given)
    values = feature_matrix(table, features)
    known = np.isfinite(values)
    ranks, own = _ranks(values, group), _ranks(np.asarray(place, float)[:, None], group)
    found = (own.T @ ranks)[0]
    found[known.mean(axis=0) < LEAST_KNOWN] = np.nan
    is_asked = np.isfinite(found) & (ranks != 0).any(axis=0)
    found[~is_asked] = np.nan
    p_value = np.full(len(features), np.nan)
    null = _null(own[:, 0], ranks[:, is_asked], group, permutations=permutations, seed=seed)
    p_value[is_asked] = _p_values(np.abs(found[is_asked]), null)
    columns = {"correlation": found, "p_value": p_value}
    return (
        pl.DataFrame({"feature": list(features), "n_rows": known.sum(axis=0)})
        .with_columns(pl.Series(name, x, nan_to_null=True) for name, x in columns.items())
        .with_columns(q_values(p_value))
        .sort(pl.col("correlation").abs(), "feature", descending=[True, False], nulls_last=True)
        .select("feature", "correlation", "n_rows", "p_value", "q_value")
    )


def _groups(table: pl.DataFrame, given: str | None) -> Int[np.ndarray, " row"]:
    if given is None:
        return np.zeros(table.height, int)
    return table[given].rank("dense").cast(pl.Int64).to_numpy() - 1


def _ranks(values: Ranks, group: Int[np.ndarray, " row"]) -> Ranks:
    """Ranks less their group's mean, of length 1 in each column; 0 for what is not known."""
    ranks = rankdata(values, axis=0, nan_policy="omit")
    known = np.isfinite(ranks)
    filled = np.where(known, ranks, 0.0)
    size, total = np.zeros((2, group.max() + 1, values.shape[1]))
    np.add.at(size, group, known)
    np.add.at(total, group, filled)
    centred = np.where(known, filled - (total / np.maximum(size, 1))[group], 0.0)
    length = np.linalg.norm(centred, axis=0)
    return centred / np.where(length > 1e-9 * len(values), length, np.inf)


def _null(
    own: Rows, ranks: Ranks, group: Int[np.ndarray, " row"], *, permutations: int, seed: int
) -> Float[np.ndarray, " draw"]:
    """Sizes of the correlations of all features with places shuffled within their groups."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(group == number) for number in range(group.max() + 1)]
    shuffled = np.tile(own, (permutations, 1))
    for line in shuffled:
        for rows in members:
            line[rows] = own[rng.permutation(rows)]
    return np.sort(np.abs(shuffled @ ranks), axis=None)


def _p_values(
    sizes: Float[np.ndarray, " feature"], null: Float[np.ndarray, " draw"]
) -> Float[np.ndarray, " feature"]:
    as_large = len(null) - np.searchsorted(null, sizes * (1 - 1e-12))
    return (as_large + 1) / (len(null) + 1)
