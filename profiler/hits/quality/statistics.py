"""How well the controls of a plate are told apart, for every readout at once."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float

from profiler.profile.controls import is_role
from profiler.profile.features import feature_matrix, finite, named_features
from profiler.profile.scaling.normalise import FLOAT_NOISE, MAD_TO_SD

PerReadout: TypeAlias = Float[np.ndarray, " readout"]
LEAST_WELLS = 2  # fewer have no spread
KEY = ("Metadata_Plate", "readout")


class Summary(NamedTuple):
    """One role's wells on one plate; NaN with fewer than two wells that have a value."""

    n: PerReadout
    mean: PerReadout
    sd: PerReadout  # ddof = 1
    median: PerReadout
    mad_sd: PerReadout  # 1.4826 MAD


def plate_statistics(wells: pl.DataFrame, *, readouts: Sequence[str]) -> pl.DataFrame:
    """Compare the positive with the negative controls of every plate.

    Args:
        wells: Annotated wells with `Metadata_Role`.
        readouts: Feature columns.

    Returns:
        One row per plate and readout: `n_negative`, `n_positive` (wells with a
        finite value), mean, sd (ddof 1), median and mad_sd (1.4826 MAD) of both, and

        - z_prime: 1 - 3 (sd₊ + sd₋) / |mean₊ - mean₋|; robust_z_prime: with median, mad_sd
        - ssmd: (mean₊ - mean₋) / √(sd₊² + sd₋²); robust_ssmd: with median, mad_sd
        - signal_window: (|mean₊ - mean₋| - 3 (sd₊ + sd₋)) / sd₊
        - signal_to_background: mean₊ / mean₋
        - cv_negative, cv_positive: sd / |mean|

        Null where a role has fewer than two wells, or where a divisor is zero or
        float noise. `n_infinite` counts the plate's wells with an infinite value.

    Source:
        Z': Zhang, Chung & Oldenburg 1999, J Biomol Screen 4:67. SSMD: Zhang 2007,
        Genomics 89:552. Signal window: Sittampalam et al. 1997, J Biomol Screen 2:159.
        Checked by hand in tests/hits/quality/test_statistics.py.
    """
    plates = wells.group_by("Metadata_Plate", maintain_order=True)
    rows = [_of_plate(str(plate), group, readouts) for (plate,), group in plates]
    return pl.concat(rows) if rows else _of_plate("", wells, []).clear()


def best_readout(statistics: pl.DataFrame) -> str | None:
    """Name the readout that separates the controls best.

    Picking the best of many is optimistic: on the controls it was chosen by, its
    Z' overstates what another plate will show, the more so the fewer controls.

    Args:
        statistics: From `plate_statistics`, any number of plates.

    Returns:
        The readout with the highest Z', by its worst plate among those with both
        controls, then by its median, then by name; or none if no readout has one.
        Positions, identities and embeddings (all but `named_features`), readouts with
        an infinite value, and readouts without a robust Z' on one of these plates, which
        lack the spread that scores need, are not considered.
    """
    has_both = (pl.col("n_negative") >= LEAST_WELLS) & (pl.col("n_positive") >= LEAST_WELLS)
    plates = statistics.filter(has_both)["Metadata_Plate"].unique()
    rows = statistics.filter(pl.col("Metadata_Plate").is_in(plates.implode()))
    usable = (
        pl.col("z_prime").is_not_null().all()
        & (pl.col("mad_sd_negative") > FLOAT_NOISE * pl.col("median_negative").abs()).all()
        & (pl.col("n_infinite") == 0).all()
    )
    ranked = (
        rows.filter(pl.col("readout").is_in(named_features(rows["readout"].unique())))
        .group_by("readout")
        .agg(usable.alias("usable"), worst=pl.min("z_prime"), middle=pl.median("z_prime"))
        .filter(pl.col("usable"))
        .sort("worst", "middle", "readout", descending=[True, True, False])
    )
    return ranked["readout"][0] if ranked.height else None


def _of_plate(plate: str, wells: pl.DataFrame, readouts: Sequence[str]) -> pl.DataFrame:
    values = wells.select(is_role("negative").alias("-"), is_role("positive").alias("+"))
    matrix = feature_matrix(wells, readouts)
    infinite = wells.select(pl.col(list(readouts)).cast(pl.Float64).is_infinite().sum())
    negative = _summary(matrix[values["-"].to_numpy()])
    positive = _summary(matrix[values["+"].to_numpy()])
    columns = {
        "Metadata_Plate": [plate] * len(readouts),
        "readout": list(readouts),
        **_described(negative, "negative"),
        **_described(positive, "positive"),
        **_compared(negative, positive),
        "n_infinite": infinite.to_numpy().reshape(-1).astype(np.int64),
    }
    counts = pl.col("n_negative", "n_positive").cast(pl.Int64)
    frame = pl.DataFrame(columns, schema_overrides=dict.fromkeys(KEY, pl.String))
    return frame.with_columns(finite(_numbers(frame))).with_columns(counts)


def _numbers(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if kind == pl.Float64]


def _summary(values: Float[np.ndarray, "well readout"]) -> Summary:
    """Summarise each readout over the wells where it is defined."""
    n = np.isfinite(values).sum(axis=0).astype(float)
    enough = n >= LEAST_WELLS
    mean, sd, median, mad_sd = (np.full(len(n), np.nan) for _ in range(4))
    kept = values[:, enough]
    if kept.size:
        mean[enough] = np.nanmean(kept, axis=0)
        sd[enough] = np.nanstd(kept, axis=0, ddof=1)
        median[enough] = np.nanmedian(kept, axis=0)
        mad_sd[enough] = MAD_TO_SD * np.nanmedian(np.abs(kept - median[enough]), axis=0)
    return Summary(n, mean, sd, median, mad_sd)


def _described(summary: Summary, role: str) -> dict[str, PerReadout]:
    return {f"{name}_{role}": value for name, value in summary._asdict().items()}


def _compared(negative: Summary, positive: Summary) -> dict[str, PerReadout]:
    window = np.abs(positive.mean - negative.mean)
    noise = 3 * (positive.sd + negative.sd)
    robust_window = np.abs(positive.median - negative.median)
    return {
        "z_prime": 1 - _ratio(noise, window, negative.mean),
        "robust_z_prime": 1
        - _ratio(3 * (positive.mad_sd + negative.mad_sd), robust_window, negative.median),
        "ssmd": _ratio(
            positive.mean - negative.mean, np.hypot(positive.sd, negative.sd), negative.mean
        ),
        "robust_ssmd": _ratio(
            positive.median - negative.median,
            np.hypot(positive.mad_sd, negative.mad_sd),
            negative.median,
        ),
        "signal_window": _ratio(window - noise, positive.sd, positive.mean),
        "signal_to_background": _ratio(positive.mean, negative.mean, np.zeros_like(window)),
        "cv_negative": _ratio(negative.sd, np.abs(negative.mean), np.zeros_like(window)),
        "cv_positive": _ratio(positive.sd, np.abs(positive.mean), np.zeros_like(window)),
    }


def _ratio(above: PerReadout, below: PerReadout, scale: PerReadout) -> PerReadout:
    """Divide; NaN where the divisor is zero or float noise beside `scale`."""
    is_some = np.abs(below) > FLOAT_NOISE * np.abs(scale)
    return np.divide(above, below, out=np.full_like(above, np.nan), where=is_some)
