"""Cells of every plate on one scale: in robust standard deviations of their plate's own cells.

So a classifier learned on one plate works on the next, whose stain is brighter and whose cells
were seeded denser.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from profiler.profile.features import feature_matrix, finite
from profiler.profile.scaling.scale import FLOAT_NOISE, MAD_TO_SD

MOST_BYTES = 2**27  # of columns that are held together, in float64
CLIP = 10.0  # robust standard deviations: debris must not decide alone

PerFeature = Float[np.ndarray, " feature"]


class Scale(NamedTuple):
    """How the cells of a plate vary.

    Attributes:
        centre: Median of every feature.
        spread: 1.4826 times its median absolute deviation; 0 where it does not vary, or is
            undefined in every cell.
        known: Share of the cells in which it is defined.
        cells: How many there are.
    """

    centre: PerFeature
    spread: PerFeature
    known: PerFeature
    cells: int


class Scaled(NamedTuple):
    """Cells as vectors.

    Attributes:
        vectors: [cell, feature], finite: 0, the plate's median, where a feature is undefined or
            does not vary on the plate.
        has_profile: Whether at least half of a cell's features are defined.
        gaps: How many values were undefined.
    """

    vectors: Float[np.ndarray, "cell feature"]
    has_profile: Bool[np.ndarray, " cell"]
    gaps: int


def plate_scale(cells: pl.LazyFrame, *, features: Sequence[str]) -> Scale:
    """Find how the cells of a plate vary, a few columns at a time.

    Args:
        cells: All cells of one plate; read as often as needed to hold 128 MiB at most.
        features: Numeric columns.

    Returns:
        The scale; of a plate without cells, all spreads are 0.
    """
    rows = int(cells.select(pl.len()).collect(engine="streaming").item())
    step = max(1, MOST_BYTES // (8 * max(rows, 1)))
    parts = [
        _of_columns(cells, features[start : start + step])
        for start in range(0, len(features), step)
    ]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    centre, spread, known = columns or [np.zeros(0)] * 3
    return Scale(centre, spread, known / max(rows, 1), rows)


def on_scale(cells: pl.DataFrame, scale: Scale, *, features: Sequence[str]) -> Scaled:
    """Express cells in their plate's robust standard deviations.

    Args:
        cells: Of the plate that the scale is of.
        scale: From `plate_scale`.
        features: The columns that the scale was found for, in that order.
    """
    values = feature_matrix(cells, features)
    is_gap = np.isnan(values)
    varies = scale.spread > 0
    values -= scale.centre
    values /= np.where(varies, scale.spread, 1.0)
    values[is_gap] = 0.0
    values[:, ~varies] = 0.0
    np.clip(values, -CLIP, CLIP, out=values)
    has_profile = 2 * (~is_gap).sum(axis=1) >= max(len(features), 1)
    return Scaled(values, has_profile, int(is_gap.sum()))


def _of_columns(cells: pl.LazyFrame, names: Sequence[str]) -> tuple[np.ndarray, ...]:
    held = cells.select(finite(names)).collect(engine="streaming")
    value = pl.col(list(names))
    centre = _row(held.select(value.median()))
    gaps = [(pl.col(name) - middle).abs().median() for name, middle in _pairs(names, centre)]
    spread = MAD_TO_SD * _row(held.select(gaps))
    is_real = spread > FLOAT_NOISE * np.abs(centre)
    known = _row(held.select(value.count()))
    return np.nan_to_num(centre), np.where(is_real, spread, 0.0), known


def _pairs(names: Sequence[str], values: PerFeature) -> list[tuple[str, float | None]]:
    known = [None if np.isnan(value) else float(value) for value in values]
    return list(zip(names, known, strict=True))


def _row(frame: pl.DataFrame) -> PerFeature:
    """The only row of a frame; null as NaN."""
    return frame.cast(pl.Float64).to_numpy()[0] if frame.height else np.full(frame.width, np.nan)
