"""Take out what follows from a covariate, such as how many cells there are."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from plates.errors import lookup
from profiler.profile.features import feature_matrix
from profiler.profile.groups import (
    ALL,
    COUNT,
    PLATE,
    columns_within,
    group_rows,
    mask_of,
)
from profiler.profile.matrix import place
from profiler.profile.outcome import Corrected, Lost, infinite_values, lost_table, name_groups
from profiler.profile.scaling.scale import varies

EFFECTS = {
    "group": pl.Int64,
    "feature": pl.String,
    "covariate": pl.String,
    "slope": pl.Float64,
}


def regress_out(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = ALL,
    within: str | Sequence[str] = PLATE,
    covariates: Sequence[str] = (COUNT,),
) -> Corrected:
    """Subtract from every feature what a linear fit on covariates explains.

    Fit on all wells, a treatment that kills loses part of what it does besides; fit on the
    controls alone, only what the count does to untreated cells goes, extrapolated.

    Args:
        table: Wells.
        features: Columns to correct.
        reference: Which wells the fit is on: more than there are covariates, plus one.
        within: Columns whose values name a group; each has its own fit.
        covariates: Columns to regress on, by default the number of cells.

    Returns:
        The table, in float64, each feature as it would be at the reference's mean of the
        covariates; the effects, with `covariate` and `slope`; and what became null: too
        few reference wells with a value ("no_reference"), covariates that do not vary
        there or follow from one another ("no_spread"), wells whose covariate is missing
        ("incomplete"), and infinite values.

    Raises:
        UnknownName: The table lacks a covariate, or a column of `within`.

    Source:
        Ordinary least squares; the cell-count regression of the JUMP production
        pipeline. Against scikit-learn in tests/profile/correction/test_regress.py.
    """
    within, features, names = columns_within(within), list(features), list(covariates)
    for name in names:
        lookup(table.schema, kind="column", name=name)
    groups, is_reference = group_rows(table, within), mask_of(table, reference)
    values, given = feature_matrix(table, features), feature_matrix(table, names)
    lost, effects = infinite_values(table, features, groups), []
    for i, group in enumerate(groups):
        value, covariate = values[group.rows].copy(), given[group.rows]
        has_all = np.isfinite(covariate).all(axis=1)
        fit_on = is_reference[group.rows] & has_all
        centred = covariate - covariate[fit_on].mean(axis=0) if fit_on.any() else covariate
        for j, name in enumerate(features):
            known = np.isfinite(value[:, j])
            rows = fit_on & known
            slopes, reason = _slopes(covariate[rows], value[rows, j])
            values[group.rows, j] = value[:, j] - centred @ slopes
            gone = known if reason else known & ~has_all
            lost.append(Lost(i, name, reason or "incomplete", int(gone.sum())))
            effects += [(i, name, *pair) for pair in zip(names, slopes, strict=True)]
    lines = pl.DataFrame(effects, schema=EFFECTS, orient="row").with_columns(
        pl.col("slope").fill_nan(None)
    )
    return Corrected(
        place(table, drop=features, names=features, values=values),
        features,
        lost_table(lost, groups, table=table, within=within),
        name_groups(lines, groups, table=table, within=within),
    )


def _slopes(covariates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Least-squares slopes, or NaN and why there are none."""
    n, k = covariates.shape
    none = np.full(k, np.nan)
    if n < k + 2:
        return none, "no_reference"
    centre, spread = covariates.mean(axis=0), covariates.std(axis=0)
    if not varies(spread, centre=centre).all():
        return none, "no_spread"
    slopes, _, rank, _ = np.linalg.lstsq((covariates - centre) / spread, values - values.mean())
    return (slopes / spread, "") if rank == k else (none, "no_spread")
