"""Bring batches together by their controls: CORAL, and TVN, which whitens first."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from profiler.profile.groups import (
    ALL,
    PLATE,
    Matrix,
    columns_within,
    group_rows,
    mask_of,
)
from profiler.profile.matrix import FEWEST, place, usable_part
from profiler.profile.options import NotNegative
from profiler.profile.outcome import Lost, Normalised, lost_table, whole_table
from profiler.profile.scaling.whiten import spherize

RIDGE = 1.0  # added to variances before they are matched, as in CORAL


def coral(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = ALL,
    within: str | Sequence[str] = PLATE,
    ridge: NotNegative = RIDGE,
) -> Normalised:
    """Give the reference of every batch the same mean and covariance.

    Args:
        table: Wells, with features of comparable scale.
        features: Columns to align together.
        reference: Which wells should look alike in all batches, at least two in each.
        within: Columns whose values name a batch.
        ridge: Added to the variances of each batch and of all before they are matched, so
            that directions known from few wells are left nearly as they are.

    Returns:
        The table with `features` aligned to mean and covariance of the reference of all
        batches, in float64; null as `lost` says, as in `spherize`; there, a line without
        a batch is about the whole table.

    Source:
        Sun, Feng & Saenko 2016, "Return of frustratingly easy domain adaptation",
        algorithm 1. Against scipy's `fractional_matrix_power` in
        tests/profile/correction/test_align.py.
    """
    within = columns_within(within)
    groups = [whole_table(table, within), *group_rows(table, within)]
    whole = usable_part(table, features, is_reference=mask_of(table, reference))
    lost, result = list(whole.lost), np.full((table.height, len(features)), np.nan)
    centre, colour = _moments(whole.reference, ridge=ridge, power=0.5)
    for i, group in enumerate(groups[1:] if len(whole.columns) else [], start=1):
        members = np.isin(whole.rows, np.arange(table.height)[group.rows])
        values, controls = whole.values[members], whole.values[members & whole.is_reference]
        if len(controls) < FEWEST:
            names_lost = [features[int(j)] for j in whole.columns]
            lost += [Lost(i, name, "no_reference", len(values)) for name in names_lost]
            continue
        mean, whiten = _moments(controls, ridge=ridge, power=-0.5)
        aligned = (values - mean) @ whiten @ colour + centre
        result[np.ix_(whole.rows[members], whole.columns)] = aligned
    names = list(features)
    return Normalised(
        place(table, drop=names, names=names, values=result),
        names,
        lost_table(lost, groups, table=table, within=within),
    )


def _moments(rows: Matrix, *, ridge: float, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and a power of the covariance with its ridge."""
    if not rows.size:
        return np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2)
    covariance = np.atleast_2d(np.cov(rows, rowvar=False)) + ridge * np.eye(rows.shape[1])
    variances, axes = np.linalg.eigh(covariance)
    return rows.mean(axis=0), (axes * variances**power) @ axes.T


def tvn(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = ALL,
    within: str | Sequence[str] = PLATE,
    ridge: NotNegative = RIDGE,
) -> Normalised:
    """Typical variation normalisation: shrink what varies between controls, in every batch.

    Args:
        table: Wells of all batches, features normalised per plate.
        features: Columns to correct together.
        reference: The negative controls, at least two in each batch.
        within: Columns whose values name a batch.
        ridge: Added to variances, as for `spherize` and `coral`.

    Returns:
        The table with `features` whitened by the controls of all batches ("ZCA-cor", so
        that they keep their names), then aligned between batches by `coral`, in float64;
        null as `lost` says, where a line without a batch is about the whole table.

    Source:
        Ando, McLean & Berndl 2017, "Improving phenotypic measurements in high-content
        imaging screens", bioRxiv 161422, up to a rotation.
    """
    within = columns_within(within)
    white = spherize(table, features=features, reference=reference, within=(), ridge=ridge)
    of_table = white.lost.with_columns(
        pl.lit(None, dtype=table.schema[name]).alias(name) for name in within
    )
    gone = white.lost.filter(pl.col("reason").is_in(["no_reference", "no_spread"]))["feature"]
    left = [name for name in features if name not in set(gone)]
    aligned = coral(white.table, features=left, reference=reference, within=within, ridge=ridge)
    of_batches = aligned.lost.filter(pl.col("reason") != "incomplete")  # told of the table
    lost = pl.concat([of_table.select(aligned.lost.columns), of_batches])
    return Normalised(aligned.table, list(features), lost)
