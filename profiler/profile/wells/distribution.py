"""How the cells of a well are distributed, against those of the plate's controls.

A median hides a subpopulation: a tenth of the cells can change wholly without moving it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, no_type_check

import numba
import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from plates.errors import lookup
from profiler.profile.features import feature_columns
from profiler.profile.groups import (
    COUNT,
    PLATE,
    Mask,
    Values,
    column_values,
    columns_within,
    each,
    group_rows,
    mask_of,
    to_series,
)
from profiler.profile.scaling.scale import MAD_TO_SD, median, varies
from profiler.profile.wells.aggregate import WELL

compiled = partial(numba.njit, cache=True, nogil=True)


class Gaps(NamedTuple):
    """Integrals over x of the gap F(x) - G(x) between two distribution functions, by well.

    Attributes:
        size: Of its absolute value.
        shift: Of itself: the mean of G's distribution minus that of F's.
        square: Of its square.
        largest: Largest absolute value, no integral.
    """

    size: Float[np.ndarray, " well"]
    shift: Float[np.ndarray, " well"]
    square: Float[np.ndarray, " well"]
    largest: Float[np.ndarray, " well"]


def _earth_movers(gaps: Gaps, unit: float) -> np.ndarray:
    return gaps.size / unit


def _signed_earth_movers(gaps: Gaps, unit: float) -> np.ndarray:
    return np.copysign(gaps.size, -gaps.shift) / unit


def _energy(gaps: Gaps, unit: float) -> np.ndarray:
    return np.sqrt(2 * gaps.square / unit)


def _kolmogorov_smirnov(gaps: Gaps, unit: float) -> np.ndarray:
    return gaps.largest


Distance: TypeAlias = Callable[[Gaps, float], np.ndarray]

DISTANCES: Mapping[str, Distance] = {
    "earth_movers": _earth_movers,
    "signed_earth_movers": _signed_earth_movers,
    "energy": _energy,
    "kolmogorov_smirnov": _kolmogorov_smirnov,
}


def distances_to_reference(
    cells: pl.DataFrame,
    *,
    reference: pl.Expr,
    by: Sequence[str] = WELL,
    within: str | Sequence[str] = PLATE,
    features: Sequence[str] | None = None,
    metric: str = "earth_movers",
) -> pl.DataFrame:
    """Measure how far each well's cells are distributed from the reference cells, by feature.

    Exact, by sorting: the reference of a plate once, then each well into it. Holds the
    cells, and a few copies of one column per thread.

    Args:
        cells: One row per cell.
        reference: Which cells are of the reference, as in `is_role("negative")`.
        by: Columns whose values together name a well.
        within: Columns whose values name what shares a reference.
        features: Columns to compare; by default all features.
        metric: A name in `DISTANCES`: "earth_movers" (Wasserstein-1; signed: positive
            where the well's mean is above the reference's), "energy" (the root of
            twice Cramér's distance, as in scipy) or "kolmogorov_smirnov". But for the
            last, in units of the reference's robust standard deviation.

    Returns:
        One row per well, sorted: `by`, `Metadata_Object_Count`, features. A well of the
        reference is held against the other wells of it. Null where a well or its
        reference has no value of a feature, or the reference does not vary.

    Raises:
        UnknownName: `metric` is none.

    Source:
        Ramdas, Garcia & Cuturi 2017, "On Wasserstein two sample testing"; scipy's
        `wasserstein_distance`, `energy_distance` and `ks_2samp`, each checked in
        tests/profile/wells/test_distribution.py.
    """
    distance = lookup(DISTANCES, kind="distance", name=metric)
    columns = feature_columns(cells) if features is None else list(features)
    within = columns_within(within)
    keys = list(dict.fromkeys((*within, *by)))
    found = cells.group_by(keys, maintain_order=True).agg(pl.len().cast(pl.Int64).alias(COUNT))
    plates = _plates(cells, found, within=within, is_reference=mask_of(cells, reference))

    def one(column: pl.Series) -> pl.Series:
        values, result = column_values(column), np.full(found.height, np.nan)
        for plate in plates:
            result[plate.wells] = _of_plate(values[plate.cells], plate, distance)
        return to_series(column.name, result)

    return found.with_columns(each(cells.select(columns).get_columns(), one)).sort(list(by))


class Plate(NamedTuple):
    """Cells that share a reference, well after well.

    Attributes:
        wells: Where its wells are in the answer.
        cells: Where its cells are in the table.
        owner: Number of each cell's well, ascending from 0.
        is_reference: Which of its cells are of the reference.
    """

    wells: Int[np.ndarray, " well"]
    cells: Int[np.ndarray, " cell"]
    owner: Int[np.ndarray, " cell"]
    is_reference: Bool[np.ndarray, " cell"]


def _plates(
    cells: pl.DataFrame, wells: pl.DataFrame, *, within: Sequence[str], is_reference: Mask
) -> list[Plate]:
    keys = [name for name in wells.columns if name != COUNT]
    numbered = wells.select(keys).with_row_index("number of the well")
    joined = cells.select(keys).join(
        numbered, on=keys, how="left", nulls_equal=True, maintain_order="left"
    )
    well_of_cell = joined["number of the well"].to_numpy().astype(np.int64)
    order = np.argsort(well_of_cell, kind="stable")
    n_cells = np.bincount(well_of_cell, minlength=wells.height)
    members = np.split(order, np.cumsum(n_cells)[:-1])
    plates = []
    for group in group_rows(wells, within):
        inside = np.arange(wells.height)[group.rows]
        of_plate = np.concatenate([members[i] for i in inside])
        owner = np.repeat(np.arange(len(inside)), n_cells[inside])
        plates.append(Plate(inside, of_plate, owner, is_reference[of_plate]))
    return plates


def _of_plate(values: Values, plate: Plate, distance: Distance) -> Float[np.ndarray, " well"]:
    known = np.isfinite(values)
    values, owner = values[known], plate.owner[known]
    is_reference = plate.is_reference[known]
    reference, its_owner = values[is_reference], owner[is_reference]
    if not len(reference):
        return np.full(len(plate.wells), np.nan)
    centre = median(reference[None])
    unit = MAD_TO_SD * median(np.abs(reference - centre)[None])
    if not varies(unit, centre=centre).all():
        return np.full(len(plate.wells), np.nan)
    order = np.argsort(reference)
    starts = np.searchsorted(owner, np.arange(len(plate.wells) + 1))
    gaps = _gaps(values, starts, reference[order], its_owner[order])
    return distance(Gaps(*gaps), unit.item())


@compiled()
@no_type_check
def _gaps(values, starts, reference, owner):
    """Every well's `Gaps`: merge its sorted values with the reference's that are not its own."""
    n_wells = len(starts) - 1
    found = np.full((4, n_wells), np.nan)
    own = np.zeros(n_wells, np.int64)
    for well in owner:
        own[well] += 1
    for well in range(n_wells):
        cells = np.sort(values[starts[well] : starts[well + 1]])
        n, m = len(cells), len(reference) - own[well]
        if n == 0 or m == 0:
            continue
        size = shift = square = largest = 0.0
        i = j = passed = 0  # of the cells, of the reference, of the reference without its own
        last = gap = 0.0
        while i < n or passed < m:
            if passed < m and owner[j] == well:
                j += 1
                continue
            if passed == m or (i < n and cells[i] <= reference[j]):
                x = cells[i]
                i += 1
            else:
                x = reference[j]
                j += 1
                passed += 1
            if gap != 0.0 and x > last:  # before the first value and after the last there is none
                width = x - last
                size += abs(gap) * width
                shift += gap * width
                square += gap * gap * width
                largest = max(largest, abs(gap))
            last = x
            gap = i / n - passed / m
        found[0, well], found[1, well] = size, shift
        found[2, well], found[3, well] = square, largest
    return found
