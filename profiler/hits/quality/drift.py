"""What a plate's layout and the order of the run do to a readout: edges, rows, columns, drift."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int64
from scipy import stats

from plates.well import smallest_format, well_position
from profiler.profile.features import feature_matrix
from profiler.profile.groups import ALL
from profiler.profile.scaling.normalise import FLOAT_NOISE, MAD_TO_SD

PerReadout: TypeAlias = Float[np.ndarray, " readout"]
Ranks: TypeAlias = Float[np.ndarray, "well readout"]
NUMBERS = ("edge_shift", "edge_p", "row_share", "row_p", "column_share", "column_p")
TRENDS = ("row_trend", "column_trend")
LEAST_WELLS = 3
LEAST_PLATES = 4


class _Grid(NamedTuple):
    """Where the wells of a plate lie."""

    row: Int64[np.ndarray, " well"]
    column: Int64[np.ndarray, " well"]
    is_edge: Bool[np.ndarray, " well"]


def position_effects(
    wells: pl.DataFrame, *, readouts: Sequence[str], reference: pl.Expr = ALL
) -> pl.DataFrame:
    """Ask of every plate and readout what depends on the position.

    Args:
        wells: One row per well, with `Metadata_Plate` and `Metadata_Well`.
        readouts: Columns to look at.
        reference: Which wells to look at: those that are alike but for their position, as
            the negative controls, or all where most do nothing. Leave out controls that
            fill columns of their own. The others still tell where the plate's edge is.

    Returns:
        One row per plate and readout, `n_wells` with a finite value, and

        - edge_shift: median of the outermost rows and columns less that of the others, in
          1.4826 MADs of the others; edge_p: of the Kruskal-Wallis test
        - row_share, column_share: share of the variance of ranks between rows or columns,
          less what chance gives (η² of the test; about 0 without effect, at most 1);
          row_p, column_p
        - row_trend, column_trend: Spearman correlation with the row's and column's number

        Null with fewer than three wells, one kind of position, or no variation. p-values
        are of one plate and readout; see `profiler.profile.fdr.q_values` for many.

    Source:
        Kruskal & Wallis 1952, J Am Stat Assoc 47:583; η² of Tomczak & Tomczak 2014, Trends in
        Sport Sciences 1:19. Against scipy.stats.kruskal and spearmanr in
        tests/hits/quality/test_drift.py.
    """
    rows = [
        _of_plate(str(plate), group.filter(reference), readouts, of=group["Metadata_Well"])
        for (plate,), group in wells.group_by("Metadata_Plate", maintain_order=True)
    ]
    return pl.concat(rows) if rows else _of_plate("", wells, [], of=wells["Metadata_Well"])


def run_drift(
    wells: pl.DataFrame,
    *,
    readouts: Sequence[str],
    order: Sequence[str] | None = None,
    reference: pl.Expr = ALL,
) -> pl.DataFrame:
    """Ask of every readout whether plates differ, and whether they do so in order.

    Args:
        wells: As for `position_effects`.
        readouts: Columns to look at.
        order: Plates as they were run; by name if not given. Others are left out.
        reference: Which wells to look at; alike on all plates.

    Returns:
        One row per readout: `n_plates` with a value, `plate_share` of the variance of ranks
        between plates (η²), `plate_p`, `run_trend` (Spearman of the plates' medians with
        their order), `run_p`, and `run_shift`: the median plate of the last third less that of
        the first, in 1.4826 MADs within plates. Null with fewer than four plates.
    """
    wells = wells.filter(reference)
    plates = sorted(wells["Metadata_Plate"].unique()) if order is None else list(order)
    wells = wells.filter(pl.col("Metadata_Plate").is_in(plates))
    number = wells["Metadata_Plate"].replace_strict(plates, range(len(plates)), default=None)
    plate, values = number.to_numpy().astype(np.int64), feature_matrix(wells, readouts)
    medians = np.full((len(plates), len(readouts)), np.nan)
    spreads = medians.copy()
    for i in np.unique(plate):
        medians[i], spreads[i] = _middle(values[plate == i])
    share, p_value = _between(_ranks(values), plate)
    trend, trend_p = _trend(medians, np.arange(len(plates)))
    third = max(len(plates) // 3, 1)
    shift = _middle(medians[-third:])[0] - _middle(medians[:third])[0] if plates else share
    n_plates = np.isfinite(medians).sum(axis=0)
    few = n_plates < LEAST_PLATES
    columns = {
        "plate_share": share,
        "plate_p": p_value,
        "run_trend": trend,
        "run_p": trend_p,
        "run_shift": _ratio(shift, _middle(spreads)[0]),
    }
    table = pl.DataFrame({"readout": list(readouts), "n_plates": n_plates.astype(np.int64)})
    return table.with_columns(
        pl.Series(name, np.where(few, np.nan, value), nan_to_null=True)
        for name, value in columns.items()
    )


def is_edge(wells: pl.Series, *, of: pl.Series) -> Bool[np.ndarray, " well"]:
    """Tell the wells in the outermost rows and columns from the others.

    Args:
        wells: Names of wells.
        of: Names of the plate's wells; its format is the smallest that holds them.
    """
    return _grid(wells, of=of).is_edge


def _of_plate(
    plate: str, wells: pl.DataFrame, readouts: Sequence[str], *, of: pl.Series
) -> pl.DataFrame:
    values, grid = feature_matrix(wells, readouts), _grid(wells["Metadata_Well"], of=of)
    ranks = _ranks(values)
    middle, spread = _middle(values[~grid.is_edge])
    columns = {
        "edge_shift": _ratio(_middle(values[grid.is_edge])[0] - middle, spread),
        "edge_p": _between(ranks, grid.is_edge.astype(np.int64))[1],
    }
    for axis in ("row", "column"):
        line = getattr(grid, axis)
        columns[f"{axis}_share"], columns[f"{axis}_p"] = _between(ranks, line)
        columns[f"{axis}_trend"], _ = _trend(values, line)
    table = pl.DataFrame(
        {"Metadata_Plate": [plate] * len(readouts), "readout": list(readouts)},
        schema={"Metadata_Plate": pl.String, "readout": pl.String},
    )
    return table.with_columns(
        pl.Series("n_wells", np.isfinite(values).sum(axis=0), dtype=pl.Int64),
        *(pl.Series(name, columns[name], nan_to_null=True) for name in (*NUMBERS, *TRENDS)),
    )


def _grid(names: pl.Series, *, of: pl.Series) -> _Grid:
    positions = np.array([well_position(name) for name in names], dtype=np.int64).reshape(-1, 2)
    row, column = positions.T
    shape = smallest_format(of)
    ends = np.isin(row, [0, shape.rows - 1]) | np.isin(column, [0, shape.columns - 1])
    return _Grid(row, column, ends)


def _ranks(values: Ranks) -> Ranks:
    """Ranks of each readout's finite values; all NaN where these are too few or do not vary."""
    ranks = stats.rankdata(values, axis=0, nan_policy="omit") if values.size else values.copy()
    enough = np.isfinite(values).sum(axis=0) >= LEAST_WELLS
    ranks[:, ~(enough & _varies(values))] = np.nan
    return ranks


def _varies(values: Ranks) -> Bool[np.ndarray, " readout"]:
    known = np.isfinite(values)
    high = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)
    low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
    return high - low > FLOAT_NOISE * np.maximum(np.abs(high), np.abs(low))


def _between(ranks: Ranks, group: Int64[np.ndarray, " well"]) -> tuple[PerReadout, PerReadout]:
    """Share of the variance of ranks between groups, less chance, and the test's p-value."""
    known = np.isfinite(ranks)
    n = known.sum(axis=0).astype(float)
    centred = np.where(known, ranks - (n + 1) / 2, 0.0)
    total = (centred**2).sum(axis=0)
    explained, n_groups = np.zeros_like(n), np.zeros_like(n)
    for each in np.unique(group):
        members = group == each
        size = known[members].sum(axis=0)
        explained += centred[members].sum(axis=0) ** 2 / np.maximum(size, 1)
        n_groups += size > 0
    h = _ratio(explained * (n - 1), total)
    is_defined = (n_groups > 1) & (n > n_groups)
    h, n_groups = np.where(is_defined, h, np.nan), np.where(is_defined, n_groups, 2.0)
    return (h - n_groups + 1) / np.maximum(n - n_groups, 1), stats.chi2.sf(h, n_groups - 1)


def _trend(values: Ranks, number: Int64[np.ndarray, " well"]) -> tuple[PerReadout, PerReadout]:
    """Spearman correlation with a number, and its p-value by Student's t."""
    known = np.isfinite(values)
    numbers = np.where(known, number[:, None], np.nan).astype(float)
    x, y = (ranks - np.nansum(ranks, axis=0) / np.maximum(known.sum(axis=0), 1) for ranks in
            (_ranks(numbers), _ranks(values)))  # fmt: skip
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
    rho = _ratio((x * y).sum(axis=0), np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0)))
    freedom = np.maximum(known.sum(axis=0) - 2, 1)
    left = np.maximum(1 - rho**2, np.finfo(float).eps)
    return rho, 2 * stats.t.sf(np.abs(rho) * np.sqrt(freedom / left), freedom)


def _middle(values: Ranks) -> tuple[PerReadout, PerReadout]:
    """Median, and 1.4826 MAD, of the finite values; NaN where there are none."""
    middle, spread = np.full((2, values.shape[1]), np.nan)
    some = np.isfinite(values).any(axis=0)
    if some.any():
        middle[some] = np.nanmedian(values[:, some], axis=0)
        spread[some] = MAD_TO_SD * np.nanmedian(np.abs(values[:, some] - middle[some]), axis=0)
    return middle, spread


def _ratio(above: PerReadout, below: PerReadout) -> PerReadout:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
