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
    scaled = _with_scales(wells, features, reference=reference, within=within)
    z = [(pl.col(name) - _centre(name)) / (MAD_TO_SD * _spread(name)) for name in features]
    kept = [
        pl.when(_has_scale(name)).then(value).alias(name)
        for name, value in zip(features, z, strict=True)
    ]
    return scaled.with_columns(kept).select(wells.columns)


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
    scaled = _with_scales(wells, features, reference=reference, within=within)
    value = {name: pl.col(name).count() for name in features}
    counts = {
        "infinite": [pl.col(name).cast(pl.Float64).is_infinite().sum() for name in features],
        "no_reference": [n * _centre(name).first().is_null() for name, n in value.items()],
        "no_spread": [n * (~_has_scale(name)).first() for name, n in value.items()],
    }
    frames = [
        _long(wells if reason == "infinite" else scaled, count, within).with_columns(
            reason=pl.lit(reason)
        )
        for reason, count in counts.items()
    ]
    columns = [within, "feature", "reason", "wells"]
    return pl.concat(frames).filter(pl.col("wells") > 0).select(columns).sort(columns)


def _with_scales(
    wells: pl.DataFrame, features: Sequence[str], *, reference: pl.Expr, within: str
) -> pl.DataFrame:
    """Make features finite or null, and add centre and spread of the reference wells."""
    wells = wells.with_columns(finite(features))
    value = pl.col(list(features))
    scales = (
        wells.filter(reference)
        .group_by(within)
        .agg(
            value.median().name.suffix(".centre"),
            (value - value.median()).abs().median().name.suffix(".spread"),
        )
    )
    return wells.join(scales, on=within, how="left", nulls_equal=True, maintain_order="left")


def _centre(feature: str) -> pl.Expr:
    return pl.col(f"{feature}.centre")


def _spread(feature: str) -> pl.Expr:
    return pl.col(f"{feature}.spread")


def _has_scale(feature: str) -> pl.Expr:
    """Whether the reference wells vary; null where none has a value."""
    return _spread(feature) > FLOAT_NOISE * _centre(feature).abs()


def _long(table: pl.DataFrame, counts: Sequence[pl.Expr], within: str) -> pl.DataFrame:
    wide = table.group_by(within).agg(counts)
    long = wide.unpivot(index=within, variable_name="feature", value_name="wells")
    return long.with_columns(pl.col("wells").cast(pl.Int64))
