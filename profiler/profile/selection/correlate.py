"""Correlations of all columns with all, a block of rows at a time, missing values pair by pair."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from plates.errors import lookup
from profiler.profile.features import feature_matrix, finite_in
from profiler.profile.groups import Matrix, each

BLOCK = 1 << 22  # numbers held at a time, 32 MiB
NONE = np.arange(0)
ROUNDING = 1e-13  # share of a sum of squares below which a variance taken from it is none

Square: TypeAlias = Float[np.ndarray, "feature feature"]


def correlations(
    table: pl.DataFrame, *, features: Sequence[str], method: str = "pearson"
) -> Square:
    """Correlate every feature with every other.

    Args:
        table: Cells or wells.
        features: Columns to correlate.
        method: A name in `CORRELATIONS`.

    Returns:
        Symmetrical, in the order of `features`; each pair over the rows in which both
        are finite, NaN where one of them does not vary there. Holds a few squares and
        a block of rows ("pearson"), or twice the features ("spearman").

    Raises:
        UnknownName: `method` is none.

    Source:
        pandas' `DataFrame.corr`, checked in tests/profile/selection/test_correlate.py.
    """
    correlate = lookup(CORRELATIONS, kind="correlation", name=method)
    return correlate(table, list(features)) if features else np.empty((0, 0))


def spearman(values: Matrix) -> Square:
    """Correlate the ranks of every column with those of every other, as `correlations` does.

    Args:
        values: Rows by features; NaN is missing.
    """
    has_gaps = np.isnan(values).any(axis=0)
    complete, gaps = np.flatnonzero(~has_gaps), np.flatnonzero(has_gaps)
    found = np.full((values.shape[1],) * 2, np.nan)
    found[np.ix_(complete, complete)] = _of_ranks(values[:, complete])
    for i in gaps:  # ranks among the rows that both have
        known = ~np.isnan(values[:, i])
        with_complete = _of_ranks(values[known][:, [i, *complete]])[0]
        found[i, i] = with_complete[0]
        found[i, complete] = found[complete, i] = with_complete[1:]
        for j in gaps[gaps < i]:
            both = known & ~np.isnan(values[:, j])
            found[i, j] = found[j, i] = _of_ranks(values[both][:, [i, j]])[0, 1]
    return found


def _of_ranks(values: Matrix) -> Square:
    ranks = rankdata(values, axis=0) - (len(values) + 1) / 2
    return _correlation(_sums_of(ranks, NONE), NONE)


def _pearson_of_table(table: pl.DataFrame, features: list[str]) -> Square:
    values = finite_in(table, features).values()
    centre = feature_matrix(table.select(value.mean() for value in values), features)[0]
    n_missing = np.array(table.select(value.null_count() for value in values).row(0))

    def read(rows: slice) -> Matrix:
        return feature_matrix(table[rows], features)

    return pearson(read, n_rows=table.height, centre=centre, has_gaps=n_missing > 0)


def pearson(
    read: Callable[[slice], Matrix],
    *,
    n_rows: int,
    centre: Float[np.ndarray, " feature"],
    has_gaps: Bool[np.ndarray, " feature"],
) -> Square:
    """Correlate the columns of a matrix that is read a block of rows at a time.

    Args:
        read: Gives these rows of all columns, float64, NaN where missing; from any thread.
        n_rows: How many there are.
        centre: Mean of each column, about: it keeps digits.
        has_gaps: Which columns have missing values.

    Returns:
        As `correlations`.
    """
    gaps, height = np.flatnonzero(has_gaps), max(1, BLOCK // len(centre))
    starts = range(0, max(n_rows, 1), height)

    def of_block(start: int) -> Sums:
        return _sums_of(read(slice(start, start + height)) - centre, gaps)

    # A thread for every share of the blocks: those of BLAS itself wait for one another.
    n_threads = min(pl.thread_pool_size(), len(starts))
    with threadpool_limits(1, user_api="blas"):
        shares = [starts[i::n_threads] for i in range(n_threads)]
        sums = each(shares, lambda share: reduce(_add, map(of_block, share)))
    return _correlation(reduce(_add, sums), gaps)


def _spearman_of_table(table: pl.DataFrame, features: list[str]) -> Square:
    return spearman(feature_matrix(table, features))


CORRELATIONS = {"pearson": _pearson_of_table, "spearman": _spearman_of_table}


class Sums(NamedTuple):
    """Sums from which each pair's correlation over its common rows follows.

    Only features with gaps need their own: `[i, k]` is of feature i over the rows in
    which the k-th feature with gaps has a value.

    Attributes:
        rows: How many, a number.
        totals: Sum of each feature, [feature].
        products: Sum of the products of each pair, [feature, feature].
        common: Rows in which both have a value, [feature, gap].
        totals_of_common: Sum of each feature over these, [feature, gap].
        squares_of_common: Sum of its squares over these, [feature, gap].
    """

    rows: np.ndarray
    totals: np.ndarray
    products: np.ndarray
    common: np.ndarray
    totals_of_common: np.ndarray
    squares_of_common: np.ndarray


def _add(one: Sums, other: Sums) -> Sums:
    return Sums(*map(np.add, one, other))


def _sums_of(block: Matrix, gaps: np.ndarray) -> Sums:
    """Sum up a block, in which missing values are made 0."""
    known = ~np.isnan(block[:, gaps])
    block[:, gaps] = np.where(known, block[:, gaps], 0)
    known = known.astype(float)
    common = np.broadcast_to(known.sum(axis=0), (block.shape[1], len(gaps))).copy()
    common[gaps] = known.T @ known
    squares = (block**2).T @ known if len(gaps) else common
    return Sums(
        np.array(len(block)), block.sum(axis=0), block.T @ block, common, block.T @ known, squares
    )


def _correlation(sums: Sums, gaps: np.ndarray) -> Square:
    shape = sums.products.shape
    rows = np.full(shape, float(sums.rows))
    totals = np.broadcast_to(sums.totals[:, None], shape).copy()
    squares = np.broadcast_to(np.diag(sums.products)[:, None], shape).copy()
    totals[:, gaps], squares[:, gaps] = sums.totals_of_common, sums.squares_of_common
    rows[:, gaps], rows[gaps, :] = sums.common, sums.common.T
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = squares - totals**2 / rows
        variance[~(variance > ROUNDING * squares)] = np.nan
        covariance = sums.products - totals * totals.T / rows
        return np.clip(covariance / np.sqrt(variance * variance.T), -1, 1)
