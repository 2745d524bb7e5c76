"""Average precision: whether replicates find one another among wells that are something else.

One row per well (`average_precision`), then per compound (`mean_average_precision`). How likely
a mean is by chance is answered here from counts alone; `profiler.hits.precision.activity`
answers it from the profiles, which is slower, and right also where replicates' precisions go
together.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from plates.errors import ProfilingError
from profiler.hits.precision.chance import expected_precisions, null_of_mean, p_values
from profiler.hits.precision.matching import Matching, Rows, Sides, read_matching, rows_by_value
from profiler.hits.precision.retrieval import (
    IGNORED,
    MATCH,
    OTHER,
    Counts,
    PerQuery,
    Unit,
    has_profile,
    likeness,
    precision_of,
    rows_at_once,
    unit_profiles,
)
from profiler.profile.fdr import q_values
from profiler.profile.features import feature_columns, phenotype_features

KEY = ("Metadata_Plate", "Metadata_Well")
DEFAULT = Matching()


def average_precision(
    profiles: pl.DataFrame,
    *,
    matching: Matching = DEFAULT,
    features: Sequence[str] | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Rank, for every well, its replicates among other wells by the cosine of the profiles.

    Memory is bounded: `retrieval.MOST_BYTES` of likeness at a time, beside the profiles.

    Args:
        profiles: Wells with features that are 0 where there is no effect, as robust z are.
        matching: Which wells are replicates, and what they are ranked against.
        features: Columns that make a profile; all of a phenotype if not given.
        seed: Decides, where a p-value is drawn and not exact, what is drawn.

    Returns:
        One row for each well of a compound, in the order of `profiles`: plate, well, the columns
        of `matching.same`, `n_matches`, `n_others`, `average_precision`, `chance_precision`
        (its mean by chance), `p_value` (exact where the ranks can be gone through) and
        `status`: ok, `no_profile` (see `unit_profiles`), `no_match` (no other replicate has
        a profile), `no_other` (nothing to rank against). Null but for ok.

    Raises:
        UnknownName: The table lacks a column of the matching.

    Source:
        copairs 0.5.5, equal to 1e-9 in tests/hits/precision/test_average.py but for ties, which
        copairs decides in favour of the match; see `profiler.hits.precision.retrieval`.
    """
    table = well_precision(profiles, matching=matching, features=features)
    return with_p_values(table, seed=seed)


def well_precision(
    profiles: pl.DataFrame, *, matching: Matching, features: Sequence[str] | None
) -> pl.DataFrame:
    """Do what `average_precision` does, but for the p-values.

    Args:
        profiles: As for `average_precision`.
        matching: As for `average_precision`.
        features: As for `average_precision`.
    """
    sides = read_matching(profiles, matching)
    unit = unit_profiles(profiles, features_of(profiles, features))
    present = [name for name in KEY if name in profiles.columns]
    table = profiles.select(*present, *matching.columns_same(profiles))
    table = with_precision(table, *_every_precision(unit, sides))
    status = pl.when(pl.Series(has_profile(unit))).then("status").otherwise(pl.lit("no_profile"))
    return table.with_columns(status.alias("status")).filter(sides.is_query)


def with_precision(
    table: pl.DataFrame, precision: PerQuery, n_matches: Counts, n_others: Counts
) -> pl.DataFrame:
    """Add what `precision_of` found to its rows."""
    chance = np.where(np.isfinite(precision), expected_precisions(n_matches, n_others), np.nan)
    reasons = [n_matches == 0, n_others == 0]
    return table.with_columns(
        pl.Series("n_matches", n_matches),
        pl.Series("n_others", n_others),
        pl.Series("average_precision", precision, nan_to_null=True),
        pl.Series("chance_precision", chance, nan_to_null=True),
        pl.Series("status", np.select(reasons, ["no_match", "no_other"], default="ok")),
    )


def with_p_values(table: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    """Add the p-value of every average precision, as its counts alone give it."""
    columns = (table[name] for name in ("average_precision", "n_matches", "n_others"))
    precision, *counts = (column.to_numpy() for column in columns)
    p_value = pl.Series(p_values(precision, *counts, seed=seed), nan_to_null=True)
    return table.with_columns(p_value=p_value)


def mean_average_precision(
    wells: pl.DataFrame, *, per: Sequence[str], seed: int = 0
) -> pl.DataFrame:
    """Average the precision of replicates, and ask from their counts how rare that is.

    The p-value takes wells with equal counts to have the same luck, as copairs does: with
    three replicates or more it is far too high, as each well of an inactive compound has some
    luck of its own. `profiler.hits.precision.activity` makes no such assumption.

    Args:
        wells: From `average_precision`.
        per: Columns that name a compound.
        seed: Decides what is drawn where the p-value is not exact; nothing else does.

    Returns:
        One row per compound, best first (ties by name): the columns of `per`, `n_wells` that
        have a precision, `mean_average_precision`, `chance_precision`, `p_value`, and
        `q_value` over all compounds; null for a compound without such wells.
    """
    known = pl.col("average_precision").is_not_null()
    means = pl.col("average_precision", "chance_precision").mean()
    counts = pl.col("n_matches", "n_others").filter(known)
    table = wells.group_by(list(per)).agg(
        known.sum().cast(pl.Int64).alias("n_wells"), means, counts
    )
    rows = table.select("average_precision", "n_matches", "n_others").iter_rows()
    p_value = [_p_of_mean(*row, seed=seed) for row in rows]
    table = table.drop("n_matches", "n_others").with_columns(
        p_value=pl.Series(p_value, dtype=pl.Float64)
    )
    table = table.with_columns(q_value=q_values(table["p_value"]))
    table = table.rename({"average_precision": "mean_average_precision"})
    return in_order(table, per)


def in_order(table: pl.DataFrame, per: Sequence[str]) -> pl.DataFrame:
    """Sort compounds by their mean average precision, the best first, ties by name."""
    falling = [True, *(False for _ in per)]
    return table.sort("mean_average_precision", *per, descending=falling, nulls_last=True)


def _p_of_mean(
    mean: float | None, n_matches: list[int], n_others: list[int], *, seed: int
) -> float | None:
    if mean is None:
        return None
    wells = Counter(zip(n_matches, n_others, strict=True))
    counts = sorted((*pair, count) for pair, count in wells.items())
    return float(null_of_mean(tuple(counts), seed=seed).p_value(np.array([mean]))[0])


def features_of(profiles: pl.DataFrame, features: Sequence[str] | None) -> list[str]:
    """Name the columns that make a profile: those given, or all that tell of a phenotype.

    Raises:
        ProfilingError: There is none.
    """
    names = phenotype_features(feature_columns(profiles)) if features is None else list(features)
    if not names:
        raise ProfilingError(
            "The profiles have no feature to compare wells by. Expected columns that start with "
            "Cells_, Nuclei_ or Cytoplasm_, or their names in `features`."
        )
    return names


def _every_precision(unit: Unit, sides: Sides) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average precision, matches and others of every well, pool by pool."""
    n = len(unit)
    precision, n_matches, n_others = np.full(n, np.nan), np.zeros(n, int), np.zeros(n, int)
    is_usable = has_profile(unit)
    members = rows_by_value(np.where(is_usable, sides.group, -1))
    for rows in rows_by_value(np.where(is_usable, sides.pool, -1)).values():
        queries = rows[sides.is_query[rows]]
        replicates = [members[group] for group in np.unique(sides.group[queries])]
        wells = np.unique(np.concatenate([rows[sides.is_other[rows]], *replicates]))
        step = rows_at_once(len(wells))
        for first in range(0, len(queries), step):
            some = queries[first : first + step]
            found = precision_of(likeness(unit[some], unit[wells]), _relation(sides, some, wells))
            precision[some], n_matches[some], n_others[some] = found
    return precision, n_matches, n_others


def _relation(sides: Sides, queries: Rows, wells: Rows) -> np.ndarray:
    """What each well is to each query."""

    def is_alike(code: np.ndarray) -> np.ndarray:
        return code[queries][:, None] == code[wells][None]

    is_same = is_alike(sides.group)
    is_other = sides.is_other[wells] & is_alike(sides.pool) & ~is_same
    relation = np.where(is_other, np.int8(OTHER), np.int8(IGNORED))
    relation[is_same & ~is_alike(sides.apart)] = MATCH
    return relation
