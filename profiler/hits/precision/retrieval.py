"""How far forward the matches of a well stand when all others are ranked by likeness to it.

Likeness is the cosine of two profiles. A match's precision is the share of matches among the
wells at least as like as it; their mean over the matches is the average precision, 1 when every
match comes before every other well. Wells that tie with a match count against it, so that the
order of the table does not matter and profiles that are all alike gain nothing.
"""

from typing import TypeAlias, no_type_check

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int8, Int64

from profiler.hits.compiled import compiled
from profiler.profile.features import feature_matrix

MATCH, IGNORED, OTHER = 1, 0, -1
SMALLEST = 1e-10  # difference of two cosines; below it they tie
MOST_BYTES = 2**24  # of likeness in memory together

Unit: TypeAlias = Float[np.ndarray, "well feature"]
Likeness: TypeAlias = Float[np.ndarray, "query well"]
Relation: TypeAlias = Int8[np.ndarray, "query well"]
PerQuery: TypeAlias = Float[np.ndarray, " query"]
Counts: TypeAlias = Int64[np.ndarray, " query"]


def unit_profiles(profiles: pl.DataFrame, features: list[str]) -> Unit:
    """Scale every profile to length one.

    Args:
        profiles: Wells whose features are 0 where there is no effect, as robust z are.
        features: The columns that make a profile.

    Returns:
        A value that is null, NaN or infinite counts as 0, no effect. All NaN for a well
        without profile: over half of the features that any well has are undefined in it,
        or all are 0.
    """
    values = feature_matrix(profiles, features)
    known = np.isfinite(values)
    used = known.any(axis=0)
    if not used.any():
        return np.full((len(values), 1), np.nan)
    values, known = values[:, used], known[:, used]
    values[~known] = 0.0
    largest = np.abs(values).max(axis=1, initial=0.0)
    has_profile = (largest > 0) & (2 * known.sum(axis=1) >= used.sum())
    values /= np.where(has_profile, largest, 1.0)[:, None]  # so that no square overflows
    values /= np.where(has_profile, np.linalg.norm(values, axis=1), 1.0)[:, None]
    values[~has_profile] = np.nan
    return values


def has_profile(unit: Unit) -> Bool[np.ndarray, " well"]:
    """Tell the wells with a profile from those without."""
    return np.isfinite(unit.sum(axis=1))


def likeness(queries: Float[np.ndarray, "query feature"], wells: Unit) -> Likeness:
    """Compare every query with every well.

    Returns:
        The cosine, as a whole number of `SMALLEST`: float noise makes no order.
    """
    cosine = queries @ wells.T
    cosine *= 1 / SMALLEST
    return np.rint(cosine, out=cosine)


def rows_at_once(n_wells: int) -> int:
    """How many queries to compare with so many wells at a time."""
    return max(1, MOST_BYTES // (8 * max(n_wells, 1)))


def precision_of(similarity: Likeness, relation: Relation) -> tuple[PerQuery, Counts, Counts]:
    """Give the average precision of every query.

    Args:
        similarity: Likeness of each query and well, finite where they are related.
        relation: `MATCH`, `OTHER` or `IGNORED`.

    Returns:
        The average precision, NaN without a match or without others; the number of
        matches; and of others.

    Source:
        scikit-learn's average_precision_score, which treats ties alike; without ties,
        copairs 0.5.5 (both in tests/hits/precision/test_average.py).

    >>> cosine = np.array([[0.9, 0.8, 0.7, 0.6]])
    >>> relation = np.array([[MATCH, OTHER, MATCH, OTHER]], dtype=np.int8)
    >>> precision_of(cosine, relation)[0].round(3).tolist()
    [0.833]
    """
    return _precision_of(similarity, relation)


@no_type_check
@compiled()
def up_to(ascending, value):
    """How many are at most the value: np.searchsorted, which numba makes slow."""
    below, size = 0, len(ascending)
    while size > 0:
        half = size >> 1
        if ascending[below + half] <= value:
            below += half + 1
            size -= half + 1
        else:
            size = half
    return below


@no_type_check
@compiled()
def _precision_of(similarity, relation):
    n_queries, n_wells = similarity.shape
    precision = np.full(n_queries, np.nan)
    n_matches = np.zeros(n_queries, np.int64)
    n_others = np.zeros(n_queries, np.int64)
    for q in range(n_queries):
        matches = similarity[q][relation[q] == MATCH]
        n = len(matches)
        matches.sort()
        before = np.zeros(n + 1, np.int64)  # others from this match to the next more alike
        others = 0
        for w in range(n_wells):
            if relation[q, w] == OTHER:
                others += 1
                before[up_to(matches, similarity[q, w])] += 1
        n_matches[q], n_others[q] = n, others
        if n == 0 or others == 0:
            continue
        total = 0.0
        ahead = 0
        at = n - 1
        while at >= 0:
            first = at  # of the matches that tie
            while first > 0 and matches[first - 1] == matches[at]:
                first -= 1
            for i in range(first, at + 1):
                ahead += before[i + 1]
            total += (at - first + 1) * (n - first) / (n - first + ahead)
            at = first - 1
        precision[q] = total / n
    return precision, n_matches, n_others
