"""One row per well: how far it is from the negative controls, by readout, profile and count."""

from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from plates.errors import ProfilingError
from profiler.profile.blocks import Weights, block_weights
from profiler.profile.controls import has_controls, is_role
from profiler.profile.features import (
    feature_columns,
    feature_matrix,
    finite,
    phenotype_features,
)
from profiler.profile.scaling.normalise import FLOAT_NOISE, MAD_TO_SD, robust_z

KEY = ["Metadata_Plate", "Metadata_Well"]
FIELDS = "Metadata_QC_FieldsOk"
CLIP = 10.0  # robust sds: beyond, a feature has said all it can
LEAST_NEGATIVE = 2  # controls of a plate, with cells: one has no spread
LEAST_CONTROLS = 3  # so that each can be judged by at least two others

PerWell: TypeAlias = Float[np.ndarray, " well"]


def score_wells(
    wells: pl.DataFrame, profiles: pl.DataFrame, *, readout: str | None
) -> pl.DataFrame:
    """Measure the effect in every well.

    Args:
        wells: Annotated wells, with features in their own units.
        profiles: The same wells with features as robust z of the negative controls.
        readout: Feature to score, or none.

    Returns:
        One row per well, in the order of `wells`: its `Metadata_*` columns and

        - readout: its name; readout_value: in its own unit; readout_z: its robust z
        - percent_effect: 0 at the median of the plate's negative controls, 100 at
          that of its positive controls; null without positive controls
        - profile_score: from `profile_score`
        - viability: cells per usable field, or per well if fields are not counted; 1 at
          the median of the plate's negative controls; count_z: the same as robust z

        All null where the well has no usable field, and all but readout_value where its plate
        has fewer than two negative controls with cells.

    Raises:
        ProfilingError: The readout is infinite in some well.
    """
    table = wells.select(pl.col("^Metadata_.*$"), _cells_per_field(wells))
    table = robust_z(
        table.with_columns(count_z="cells"), features=["count_z"], reference=is_role("negative")
    )
    scores = profiles.select(KEY).with_columns(profile_score=profile_score(profiles))
    if readout is not None:
        _refuse_infinite(wells, readout)
        scores = scores.with_columns(profiles[readout].cast(pl.Float64).alias("readout_z"))
        table = table.with_columns(wells.select(finite([readout]).alias("readout_value")))
    table = table.join(scores, on=KEY, how="left", validate="1:1", maintain_order="left")
    empty = [name for name in ("readout_value", "readout_z") if name not in table.columns]
    table = table.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in empty)
    comparable = has_controls(wells, role="negative", at_least=LEAST_NEGATIVE)
    return table.select(
        pl.col("^Metadata_.*$"),
        pl.lit(readout, dtype=pl.String).alias("readout"),
        "readout_value",
        "readout_z",
        pl.when(comparable).then(_percent_effect()),
        "profile_score",
        pl.when(comparable).then(_viability()),
        "count_z",
    )


def profile_score(profiles: pl.DataFrame) -> pl.Series:
    """Say how far the whole profile of each well is from the negative controls.

    The root mean square of the robust z over the plate's features, each clipped
    to ±10 so that no single one decides, to the power 2/3, which makes it nearly
    normal (Wilson & Hilferty 1931), as robust z against the negative controls'.
    These are scored by the other controls alone: a well that had set the scale
    it is measured by would look too close. Positions and identities do not count; where there
    are features and embeddings, each block as a whole counts as much as the other.

    Args:
        profiles: Wells with features as robust z, `Metadata_Plate`, `Metadata_Role`.

    Returns:
        One value per row; null on plates with fewer than three negative controls,
        and for wells in which over half of their plate's features are undefined.
    """
    features = phenotype_features(feature_columns(profiles))
    values, weights = feature_matrix(profiles, features), block_weights(features)
    is_control = profiles.select(is_role("negative")).to_series().to_numpy()
    plate = profiles["Metadata_Plate"].rank("dense").fill_null(0).to_numpy()
    score = np.full(profiles.height, np.nan)
    for each in np.unique(plate):
        rows = plate == each
        score[rows] = _of_plate(values[rows], is_control[rows], weights)
    return pl.Series("profile_score", score, dtype=pl.Float64).fill_nan(None)


def _of_plate(
    values: Float[np.ndarray, "well feature"],
    is_control: Bool[np.ndarray, " well"],
    weights: Weights,
) -> PerWell:
    controls = values[is_control & np.isfinite(values).any(axis=1)]
    usable = np.isfinite(controls).sum(axis=0) >= LEAST_CONTROLS
    if len(controls) < LEAST_CONTROLS or not usable.any():
        return np.full(len(values), np.nan)
    weights = weights[usable]
    distance = _distance(values[:, usable], weights)
    distance[is_control] = _distance(_by_the_others(values[is_control][:, usable]), weights)
    known = distance[is_control & np.isfinite(distance)]
    centre = np.median(known) if len(known) else np.nan
    spread = np.median(np.abs(known - centre)) if len(known) else np.nan
    has_scale = spread > FLOAT_NOISE * abs(centre)
    return (distance - centre) / (MAD_TO_SD * spread) if has_scale else np.full(len(values), np.nan)


def _by_the_others(
    controls: Float[np.ndarray, "well feature"],
) -> Float[np.ndarray, "well feature"]:
    """Robust z of each control against the rest of them; NaN where these do not vary."""
    z = np.full_like(controls, np.nan)
    for i, control in enumerate(controls):
        others = np.delete(controls, i, axis=0)
        centre = _median(others)
        spread = _median(np.abs(others - centre))
        varies = spread > FLOAT_NOISE
        np.divide(control - centre, MAD_TO_SD * spread, out=z[i], where=varies)
    return z


def _median(values: Float[np.ndarray, "well feature"]) -> Float[np.ndarray, " feature"]:
    """Median of the defined values; np.nanmedian is slow, and mostly nothing is missing."""
    if not np.isnan(values).any():
        return np.median(values, axis=0)
    median = np.full(values.shape[1], np.nan)
    known = np.isfinite(values).any(axis=0)
    median[known] = np.nanmedian(values[:, known], axis=0)
    return median


def _distance(z: Float[np.ndarray, "well feature"], weights: Weights) -> PerWell:
    known = np.isfinite(z)
    n = known.sum(axis=1)
    square = (weights * np.where(known, np.clip(z, -CLIP, CLIP), 0.0) ** 2).sum(axis=1)
    has_most = 2 * n >= max(z.shape[1], 1)
    total = (weights * known).sum(axis=1)
    mean = np.divide(square, total, out=np.full(len(z), np.nan), where=has_most & (n > 0))
    return np.cbrt(mean)  # (√mean)^(2/3)


def _cells_per_field(wells: pl.DataFrame) -> pl.Expr:
    count = pl.col("Metadata_Object_Count")
    if FIELDS not in wells.columns:
        return count.cast(pl.Float64).alias("cells")
    return pl.when(pl.col(FIELDS) > 0).then(count / pl.col(FIELDS)).alias("cells")


def _viability() -> pl.Expr:
    control = pl.col("cells").filter(is_role("negative")).median().over("Metadata_Plate")
    return pl.when(control > 0).then(pl.col("cells") / control).alias("viability")


def _percent_effect() -> pl.Expr:
    value = pl.col("readout_value")
    none, full = (
        value.filter(is_role(role)).median().over("Metadata_Plate")
        for role in ("negative", "positive")
    )
    differ = (full - none).abs() > FLOAT_NOISE * none.abs()
    return pl.when(differ).then(100 * (value - none) / (full - none)).alias("percent_effect")


def _refuse_infinite(wells: pl.DataFrame, readout: str) -> None:
    infinite = wells.filter(pl.col(readout).cast(pl.Float64).is_infinite())
    if infinite.height:
        names = infinite.select(pl.format("{}/{}", *KEY)).to_series().to_list()
        raise ProfilingError(
            f"The readout {readout!r} is infinite in {len(names)} wells ({', '.join(names[:8])}), "
            "and cannot be ranked. Choose another, or leave these wells out of the plate map."
        )
