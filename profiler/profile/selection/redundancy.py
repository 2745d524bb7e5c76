"""Features that say what another one says."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import polars as pl

from profiler.profile.options import Count, Share, named
from profiler.profile.selection.correlate import CORRELATIONS, Square, correlations
from profiler.profile.selection.judge import Drop, dropped


def correlation_threshold(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    max_correlation: Share = 0.9,
    method: Annotated[str, named(CORRELATIONS, kind="correlation")] = "pearson",
    is_signed: bool = True,
    max_rows: Count | None = None,
) -> pl.DataFrame:
    """Name features that repeat another one.

    Of every pair that correlates above the limit, the one goes whose absolute
    correlations with all features have the larger sum (the later one, if they are
    equal), whether or not its partner has gone, too.

    Args:
        table: Cells or wells.
        features: Columns to judge.
        max_correlation: Largest correlation allowed, 0 to 1.
        method: "pearson" or "spearman".
        is_signed: Whether a pair at -1 may stay, as in pycytominer; else signs are ignored.
        max_rows: Judge by this many evenly spread rows; all by default.

    Returns:
        One row per feature to drop, as in `Selection.report`: the partner is that of
        its largest correlation among those it yields to.

    Raises:
        UnknownName: `method` is none.

    Source:
        pycytominer's `correlation_threshold`.
    """
    if max_rows is not None and max_rows < table.height:
        table = table[np.linspace(0, table.height - 1, max_rows).round().astype(int)]
    found = correlations(table, features=features, method=method)
    return redundant(found, features, max_correlation=max_correlation, is_signed=is_signed)


def redundant(
    found: Square,
    features: Sequence[str],
    *,
    max_correlation: Share = 0.9,
    is_signed: bool = True,
) -> pl.DataFrame:
    """Name features that repeat another one, as `correlation_threshold`, by their correlations."""
    sums = np.nansum(np.abs(found), axis=0).round(9)  # those of equal features differ by rounding
    order = np.argsort(sums, kind="stable")
    rank = np.argsort(order)
    height = found if is_signed else np.abs(found)
    is_above = (height > max_correlation) & (rank[:, None] > rank)
    drops = []
    for i in map(int, np.flatnonzero(is_above.any(axis=1))):
        j = int(np.where(is_above[i], height[i], -np.inf).argmax())
        value, partner = float(found[i, j]), features[j]
        drops.append(Drop(features[i], value, f"it correlates {value:.3f} with {partner}", partner))
    return dropped(drops)
