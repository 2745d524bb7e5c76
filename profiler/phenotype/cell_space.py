"""Cells as points, from a sample of them, in bounded memory.

Every cell is expressed in robust standard deviations of its plate's control cells, compressed, and
projected on the principal axes of the sample, where features and embeddings weigh the same as
blocks, and features in which some control cells lie far out weigh less. Then the axes are
stretched until control cells that are neighbours differ alike in all directions. The sample takes
as many cells of every well, those whose hashed name comes first: neither the order of the table nor
other wells change which.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from plates.errors import lookup
from profiler.phenotype.space import Axes, Points, Values, fit_axes, whitened
from profiler.profile.blocks import block_weights
from profiler.profile.features import feature_matrix
from profiler.profile.scaling.control_spread import control_spread, medians
from profiler.profile.scaling.scale import FLOAT_NOISE, MAD_TO_SD
from profiler.profile.wells.aggregate import WELL

NAME = ("Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber")
CONTROL_CELLS = 2_000  # of each plate, that set its scale
MOST_USUAL = 4_000  # of all plates, that say what is usual
MOST_BYTES = 2**26  # of one piece of cells, in float64
DRAW = "draw of the cell"  # uniform from 0 to 1

PlateScale: TypeAlias = tuple[Float[np.ndarray, " feature"], Float[np.ndarray, " feature"]]


class CellSpace(NamedTuple):
    """From cells to points.

    Attributes:
        features: Those that vary among the control cells of every plate.
        scales: For each plate with control cells, centre and spread of each feature.
        axes: Principal axes of the sample, stretched by the control cells.
        scaled: The sampled cells that have a profile, in robust sds of the control cells.
        spread: Of the control cells in each feature, from `control_spread`.
        points: The same, on the axes.
    """

    features: list[str]
    scales: Mapping[str, PlateScale]
    axes: Axes
    scaled: Values
    spread: Float[np.ndarray, " feature"]
    points: Points


def fit_cell_space(
    cells: pl.LazyFrame,
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    n_cells: int,
    seed: int,
) -> CellSpace:
    """Draw a sample of cells and find how to turn cells into points.

    Args:
        cells: One row per cell, with `NAME`; streamed twice.
        wells: Metadata_Plate, Metadata_Well, n_cells and is_control of every well in `cells`.
        features: Columns to use.
        n_cells: Size of the sample, about; control wells may give more for the scale.
        seed: Decides the sample, for as long as polars hashes as it does.

    Raises:
        UnknownName: `cells` lacks a column that names cells.
    """
    sample = _draw(cells, _chances(wells, n_cells=n_cells), features=features, seed=seed)
    values, plate = feature_matrix(sample, features), sample["Metadata_Plate"].to_numpy()
    is_control = sample["is_control"].to_numpy()
    scales = _scales(values, plate, is_control)
    varies = np.array([spread > 0 for _, spread in scales.values()]).reshape(
        len(scales), len(features)
    )
    kept = np.flatnonzero(varies.all(axis=0)) if len(scales) else np.arange(0)
    scales = {name: (centre[kept], spread[kept]) for name, (centre, spread) in scales.items()}
    is_scaled = np.isin(plate, list(scales))

    def whole(rows: np.ndarray) -> Values:
        scaled = rescale(values[rows][:, kept], plate[rows], scales)
        return scaled[has_profile(scaled)]

    names = [features[i] for i in kept.tolist()]
    scaled = whole(np.flatnonzero(sample["is_fitted"].to_numpy() & is_scaled))
    controls = np.flatnonzero(is_control & is_scaled)
    usual = whole(controls[:: max(1, -(-len(controls) // MOST_USUAL))])
    spread = control_spread(usual)
    axes = fit_axes(scaled, weights=block_weights(names) / spread**2)
    axes = whitened(axes, axes(usual))
    return CellSpace(names, scales, axes, scaled, spread, axes(scaled))


def _chances(wells: pl.DataFrame, *, n_cells: int) -> pl.DataFrame:
    """Give each well the chance that a cell of it is drawn, to fit axes or to set scales."""
    of_plate = pl.col("is_control").sum().over("Metadata_Plate").clip(lower_bound=1)
    fit = n_cells / max(wells.height, 1) / pl.col("n_cells")
    control = pl.when("is_control").then(CONTROL_CELLS / of_plate / pl.col("n_cells")).otherwise(0)
    return wells.select(
        *WELL, "is_control", fit.alias("fit"), pl.max_horizontal(fit, control).alias("any")
    )


def _draw(
    cells: pl.LazyFrame, chances: pl.DataFrame, *, features: Sequence[str], seed: int
) -> pl.DataFrame:
    schema = cells.collect_schema()
    for name in NAME:
        lookup(schema, kind="column of cells", name=name)
    draw = pl.struct(NAME).hash(seed).cast(pl.Float64) / 2.0**64
    drawn = (
        cells.select(*NAME, *features)
        .with_columns(draw.alias(DRAW))
        .join(chances.lazy(), on=list(WELL), how="inner")
        .filter(pl.col(DRAW) < pl.col("any"))
        .with_columns((pl.col(DRAW) < pl.col("fit")).alias("is_fitted"))
    )
    return drawn.collect(engine="streaming").sort(NAME)


def _scales(
    values: Values, plate: np.ndarray, is_control: Bool[np.ndarray, " row"]
) -> dict[str, PlateScale]:
    return {
        name: _scale(values[is_control & (plate == name)])
        for name in np.unique(plate[is_control]).tolist()
    }


def _scale(values: Values) -> PlateScale:
    """Median and robust sd of every feature; a spread of 0 where it does not vary."""
    centre = medians(values)
    mad = MAD_TO_SD * medians(np.abs(values - centre))
    return centre, np.where(mad > FLOAT_NOISE * np.abs(centre), mad, 0.0)


def rescale(values: Values, plate: np.ndarray, scales: Mapping[str, PlateScale]) -> Values:
    """Express cells in robust sds of their plate's control cells; NaN on a plate without."""
    result = np.full(values.shape, np.nan)
    for name, (centre, spread) in scales.items():
        rows = plate == name
        result[rows] = (values[rows] - centre) / spread
    return result


def pieces(
    cells: pl.DataFrame, space: CellSpace
) -> Iterator[tuple[slice, Bool[np.ndarray, " row"], Points]]:
    """Turn cells into points, 64 MiB of features at a time.

    Yields:
        Which rows; which of them have a profile; the points of those.
    """
    step = max(1, MOST_BYTES // (8 * max(len(space.features), 1)))
    for start in range(0, cells.height, step):
        part = cells[start : start + step]
        plate = part["Metadata_Plate"].to_numpy()
        scaled = rescale(feature_matrix(part, space.features), plate, space.scales)
        is_whole = has_profile(scaled)
        yield slice(start, start + part.height), is_whole, space.axes(scaled[is_whole])


def has_profile(scaled: Values) -> Bool[np.ndarray, " row"]:
    """Tell the cells with at least half of the features, whatever company they come in."""
    return 2 * np.isfinite(scaled).sum(axis=1) >= max(scaled.shape[1], 1)
