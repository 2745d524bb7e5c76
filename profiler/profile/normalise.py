"""Put plates on one scale."""

from collections.abc import Sequence

import polars as pl

from profiler.profile.features import finite

MAD_TO_SD = 1.4826  # 1 / Φ⁻¹(3/4): scales the MAD to the sd of a normal
FLOAT_NOISE = 1e-6  # about eight roundings of a float32: a smaller relative spread is none


def robust_z(
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr,
    within: str = "Metadata_Plate",
) -> pl.DataFrame:
    """Express features in robust standard deviations from their plate's controls.

    Args:
        wells: One row per well.
        features: Columns to replace; the others pass through.
        reference: Which rows set centre and scale, as in
            `pl.col("Metadata_Role") == "negative"`.
        within: Column whose groups are normalised apart.

    Returns:
        The table with `features` replaced, in float64. A feature whose reference
        wells do not vary on a plate, or by no more than float noise, has no scale
        there and becomes null, never huge; so does an infinite value.
        `lost_features` lists both.

    Source:
        Robust z-score of Birmingham et al. 2009, Nature Methods 6:569; pycytominer's
        mad_robustize without its epsilon (tests/profile/test_normalise.py).

    >>> dmso = pl.col("drug") == "DMSO"
    >>> drugs = ["DMSO", "DMSO", "DMSO", "taxol"]
    >>> wells = pl.DataFrame({"plate": "P", "drug": drugs, "x": [1.0, 2.0, 3.0, 9.0]})
    >>> z = robust_z(wells, features=["x"], reference=dmso, within="plate")
    >>> z["x"].round(2).to_list()
    [-0.67, 0.0, 0.67, 4.72]
    """
    wells = wells.with_columns(finite(features))
    value = pl.col(list(features))
    centre = value.filter(reference).median().over(within)
    spread = (value - centre).abs().filter(reference).median().over(within)
    has_scale = spread > FLOAT_NOISE * centre.abs()
    return wells.with_columns(pl.when(has_scale).then((value - centre) / (MAD_TO_SD * spread)))


def lost_features(
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr,
    within: str = "Metadata_Plate",
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
    infinite = pl.col(list(features)).cast(pl.Float64).is_infinite().sum()
    counts = _long(wells.group_by(within).agg(infinite), within=within, value="wells")
    coded = counts.filter(pl.col("wells") > 0).with_columns(reason=pl.lit("infinite"))
    lost = wells.with_columns(finite(features)).filter(pl.col(within).is_not_null())
    columns = [within, "feature", "reason", "wells"]
    unscaled = [
        _long(lost.group_by(within).agg(count), within=within, value="wells")
        .filter(pl.col("wells") > 0)
        .with_columns(reason=pl.lit(reason))
        for reason, count in _unscaled(features, reference).items()
    ]
    return pl.concat([frame.select(columns) for frame in (*unscaled, coded)]).sort(columns)


def _unscaled(features: Sequence[str], reference: pl.Expr) -> dict[str, pl.Expr]:
    """Wells of a group that have a value but no scale, for each reason."""
    value = pl.col(list(features))
    control = value.filter(reference).drop_nulls()
    has_spread = (control - control.median()).abs().median() > FLOAT_NOISE * control.median().abs()
    is_empty = control.len() == 0
    return {
        "no_reference": value.count() * is_empty,
        "no_spread": value.count() * (~is_empty & ~has_spread.fill_null(value=False)),
    }


def _long(wide: pl.DataFrame, *, within: str, value: str) -> pl.DataFrame:
    long = wide.unpivot(index=within, variable_name="feature", value_name=value)
    return long.with_columns(pl.col(value).cast(pl.Int64))
