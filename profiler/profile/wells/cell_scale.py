"""Cells on the scale of their plate's control cells, so that plates can be learnt from together."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from profiler.profile.correction.compress import LIMIT
from profiler.profile.features import feature_matrix
from profiler.profile.scaling.scale import FLOAT_NOISE, MAD_TO_SD
from profiler.profile.wells.aggregate import WELL

NUMBERS = 1 << 23  # taken at a time, 64 MiB

PerFeature: TypeAlias = Float[np.ndarray, " feature"]


class Scale(NamedTuple):
    """Median and robust sd of every feature; a spread of 0 where it does not vary."""

    centre: PerFeature
    spread: PerFeature


Scales: TypeAlias = Mapping[str, Scale]  # plate -> its scale


def cell_scales(
    cells: pl.LazyFrame, *, features: Sequence[str], controls: pl.DataFrame | None
) -> Scales:
    """Find the scale that the control cells of every plate set.

    Args:
        cells: One row per cell; the control cells are read, some columns at a time.
        features: Columns to scale.
        controls: `Metadata_Well` and, unless plates are alike, `Metadata_Plate` of the control
            wells; without a plate map None, and all cells of a plate set its scale.

    Returns:
        No entry for a plate without control cells.
    """
    if controls is not None:
        keys = [name for name in WELL if name in controls.columns]
        cells = cells.join(controls.select(keys).unique().lazy(), on=keys, how="semi")
    counts = cells.group_by("Metadata_Plate").len().collect().sort("Metadata_Plate")
    return {
        plate: _scale(cells.filter(pl.col("Metadata_Plate") == plate), features, n_rows)
        for plate, n_rows in counts.iter_rows()
    }


def _scale(cells: pl.LazyFrame, features: Sequence[str], n_rows: int) -> Scale:
    width = max(1, NUMBERS // max(n_rows, 1))
    blocks = [list(features[i : i + width]) for i in range(0, len(features), width)]
    parts = [_of_block(feature_matrix(cells.select(block).collect(), block)) for block in blocks]
    return Scale(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _of_block(values: Float[np.ndarray, "cell feature"]) -> Scale:
    known = np.isfinite(values).any(axis=0)
    centre, spread = np.zeros((2, values.shape[1]))
    centre[known] = np.nanmedian(values[:, known], axis=0)
    mad = MAD_TO_SD * np.nanmedian(np.abs(values[:, known] - centre[known]), axis=0)
    spread[known] = np.where(mad > FLOAT_NOISE * np.abs(centre[known]), mad, 0.0)
    return Scale(centre, spread)


def standardised(
    cells: pl.DataFrame, *, features: Sequence[str], scales: Scales
) -> tuple[Float[np.ndarray, "cell feature"], Bool[np.ndarray, " cell"]]:
    """Express cells on their plate's scale, far values brought near: `5 asinh(z / 5)`.

    Args:
        cells: With `Metadata_Plate`.
        features: Columns to take.
        scales: From `cell_scales`.

    Returns:
        float32 numbers: 0, as the middle of the controls, where a value is missing or does not
        vary among these. And which cells are usable: at least half of their values are there, and
        their plate has a scale.
    """
    found = np.zeros((cells.height, len(features)), np.float32)
    is_usable = np.zeros(cells.height, bool)
    plates = cells["Metadata_Plate"].to_numpy()
    for plate, scale in scales.items():
        rows = np.flatnonzero(plates == plate)
        values = feature_matrix(cells[rows], features)
        is_usable[rows] = 2 * np.isfinite(values).sum(axis=1) >= len(features)
        z = np.zeros_like(values)
        np.divide(values - scale.centre, scale.spread, out=z, where=scale.spread > 0)
        found[rows] = np.nan_to_num(LIMIT * np.arcsinh(z / LIMIT), nan=0.0)
    return found, is_usable
