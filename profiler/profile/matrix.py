"""Profiles as one matrix, for steps that treat all features of a row together."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from profiler.profile.features import feature_matrix
from profiler.profile.groups import Mask, Matrix, to_series
from profiler.profile.outcome import Lost
from profiler.profile.scaling.scale import mean, varies

FEWEST = 2  # reference rows without which there is no covariance


class Part(NamedTuple):
    """What of a group of rows can be treated jointly: a matrix without gaps.

    Attributes:
        values: Rows that have every usable feature, by usable feature.
        is_reference: Which of these rows are of the reference.
        rows: Where these rows are in the table.
        columns: Where the usable features are among the features.
        lost: What cannot take part, and why.
    """

    values: Matrix
    is_reference: Mask
    rows: Int[np.ndarray, " row"]
    columns: Int[np.ndarray, " feature"]
    lost: list[Lost]

    @property
    def reference(self) -> Matrix:
        """The rows of the reference."""
        return self.values[self.is_reference]


def usable_part(
    table: pl.DataFrame,
    features: Sequence[str],
    *,
    rows: slice | Int[np.ndarray, " row"] = slice(None),
    is_reference: Mask,
    group: int = 0,
) -> Part:
    """Find the features that vary on the reference, and the rows that have them all.

    Args:
        table: Wells.
        features: Columns to treat together.
        rows: The rows of the group; all by default.
        is_reference: Which rows of the table are of the reference.
        group: Number of the group, for `lost`.

    Returns:
        The part; without any feature where fewer than two rows of the reference are left.
    """
    index = np.arange(table.height)[rows]
    of_group, of_reference = table[index], is_reference[index]
    values = feature_matrix(of_group, features)
    reasons = _reasons(values[of_reference])
    columns = np.flatnonzero(reasons == "")
    has_all = np.isfinite(values[:, columns]).all(axis=1)
    if (has_all & of_reference).sum() < FEWEST:
        reasons = np.where(reasons == "", "no_reference", reasons)
        columns = columns[:0]
    lost = list(_tell(of_group, features, values, reasons, group=group))
    return Part(values[has_all][:, columns], of_reference[has_all], index[has_all], columns, lost)


def _reasons(reference: Matrix) -> np.ndarray:
    """Why each feature cannot take part, empty if it can."""
    values = np.ascontiguousarray(reference.T)
    centre = mean(values)
    spread = np.sqrt(mean((values - centre[:, None]) ** 2))
    unusable = np.where(np.isnan(centre), "no_reference", "no_spread")
    return np.where(varies(spread, centre=centre), "", unusable)


def _tell(
    rows: pl.DataFrame,
    features: Sequence[str],
    values: Matrix,
    reasons: np.ndarray,
    *,
    group: int,
) -> Iterator[Lost]:
    numbers = rows.select(pl.col(list(features)).cast(pl.Float64)).to_numpy()
    is_infinite, is_known = np.isinf(numbers.reshape(values.shape)), np.isfinite(values)
    has_any = (is_known | is_infinite).any(axis=1, keepdims=True)  # a row without any loses none
    counts = (each.sum(axis=0).tolist() for each in (is_infinite, is_known, has_any & ~is_known))
    for name, reason, infinite, known, missing in zip(features, reasons, *counts, strict=True):
        yield Lost(group, name, "infinite", infinite)
        gone = known if reason else missing - infinite
        yield Lost(group, name, str(reason) or "incomplete", gone)


def place(
    table: pl.DataFrame,
    *,
    drop: Sequence[str],
    names: Sequence[str],
    values: Float[np.ndarray, "row feature"],
) -> pl.DataFrame:
    """Put a matrix into the table: in place of features, or behind the other columns.

    Args:
        table: Wells.
        drop: Features that the matrix replaces.
        names: Its columns; NaN becomes null.
        values: The matrix, one row for each of the table.
    """
    rest = table.drop([name for name in drop if name not in set(names)])
    columns = np.ascontiguousarray(values.T)
    return rest.with_columns(to_series(name, x) for name, x in zip(names, columns, strict=True))
