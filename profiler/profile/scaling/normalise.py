"""Put plates on one scale."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from plates.errors import lookup
from profiler.profile.groups import ALL, PLATE
from profiler.profile.options import require_options
from profiler.profile.outcome import Normalised
from profiler.profile.scaling.scale import FLOAT_NOISE as FLOAT_NOISE
from profiler.profile.scaling.scale import MAD_TO_SD as MAD_TO_SD
from profiler.profile.scaling.scale import (
    inverse_normal,
    mad_robustize,
    robustize,
    standardize,
    transform_features,
)
from profiler.profile.scaling.whiten import spherize

METHODS: Mapping[str, Callable[..., Normalised]] = {
    "standardize": partial(transform_features, transform=standardize),
    "robustize": partial(transform_features, transform=robustize),
    "mad_robustize": partial(transform_features, transform=mad_robustize),
    "inverse_normal": partial(transform_features, transform=inverse_normal),
    "spherize": spherize,
}


def normalise(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    method: str = "mad_robustize",
    reference: pl.Expr = ALL,
    within: str | Sequence[str] = PLATE,
    options: Mapping[str, Any] = {},
) -> Normalised:
    """Express features on the scale of reference rows.

    Args:
        table: Wells or cells.
        features: Columns to replace; the others pass through.
        method: A name in `METHODS`: "standardize" (mean, sd), "robustize" (median,
            interquartile range), "mad_robustize" (robust z: median, 1.4826 MAD),
            "inverse_normal" (normal quantile of the rank), "spherize" (whitening).
        reference: Which rows set the scale, as in
            `pl.col("Metadata_Role") == "negative"`; all by default.
        within: Columns whose values together name a group (plates by default, a batch,
            or none for the whole table); groups are normalised apart.
        options: Further arguments of the method: `variant` and `ridge` of "spherize".

    Returns:
        The table, the features that hold the result, and what is lost: a feature whose
        reference rows do not vary in a group, or by no more than float noise, has no
        scale there and becomes null, never huge; so does an infinite value. float32
        features stay float32 (but for "spherize"), all others become float64.

    Raises:
        UnknownName: `method` is none.
        BadRecipe: The method has no such option, or refuses its value.

    Source:
        pycytominer 1.7.1's `normalize`, to 1e-9, but for features without spread, which
        it divides by 1, 1e-18 or refuses (tests/profile/scaling/test_scale.py).

    >>> drugs = ["DMSO", "DMSO", "DMSO", "taxol"]
    >>> wells = pl.DataFrame({"Metadata_Plate": "P", "drug": drugs, "x": [1.0, 2.0, 3.0, 9.0]})
    >>> z = normalise(wells, features=["x"], reference=pl.col("drug") == "DMSO")
    >>> z.table["x"].round(2).to_list()
    [-0.67, 0.0, 0.67, 4.72]
    """
    change = find_normalisation(method=method, options=options)
    return change(table, features=features, reference=reference, within=within, **options)


def find_normalisation(
    *, method: str = "mad_robustize", options: Mapping[str, Any] = {}
) -> Callable[..., Normalised]:
    """Find a method of `normalise`, and check that it has these options.

    Raises:
        UnknownName: `method` is none.
        BadRecipe: The method has no such option.
    """
    change = lookup(METHODS, kind="normalisation", name=method)
    require_options(change, options, name=method)
    return change


def robust_z(
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr,
    within: str | Sequence[str] = PLATE,
) -> pl.DataFrame:
    """Express features in robust standard deviations from their plate's controls.

    Args:
        wells: One row per well.
        features: Columns to replace; the others pass through.
        reference: Which rows set centre and scale, as in
            `pl.col("Metadata_Role") == "negative"`.
        within: Columns whose groups are normalised apart.

    Returns:
        The table of `normalise` by "mad_robustize", with `features` in float64.
        `lost_features` lists what became null.

    Source:
        Robust z-score of Birmingham et al. 2009, Nature Methods 6:569; pycytominer's
        mad_robustize without its epsilon (tests/profile/scaling/test_normalise.py).

    >>> dmso = pl.col("drug") == "DMSO"
    >>> drugs = ["DMSO", "DMSO", "DMSO", "taxol"]
    >>> wells = pl.DataFrame({"plate": "P", "drug": drugs, "x": [1.0, 2.0, 3.0, 9.0]})
    >>> z = robust_z(wells, features=["x"], reference=dmso, within="plate")
    >>> z["x"].round(2).to_list()
    [-0.67, 0.0, 0.67, 4.72]
    """
    wells = wells.with_columns(pl.col(list(features)).cast(pl.Float64))
    return normalise(wells, features=features, reference=reference, within=within).table


def lost_features(
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr,
    within: str | Sequence[str] = PLATE,
) -> pl.DataFrame:
    """List what `robust_z` turns to null, and why.

    Args:
        wells: The table before normalising.
        features: As for `robust_z`.
        reference: As for `robust_z`.
        within: As for `robust_z`.

    Returns:
        One row per group, feature and reason, with the number of `wells` that
        lose their value: `no_reference` (no reference well has a value),
        `no_spread` (those that have one agree) or `infinite`. Sorted.
    """
    return normalise(wells, features=features, reference=reference, within=within).lost
