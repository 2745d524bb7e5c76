"""Take out where a well lies on its plate."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float

from plates.errors import BadLayout
from plates.well import well_name, well_position
from profiler.profile.features import feature_matrix
from profiler.profile.groups import (
    ALL,
    PLATE,
    columns_within,
    group_rows,
    mask_of,
    to_series,
)
from profiler.profile.matrix import place
from profiler.profile.outcome import (
    Corrected,
    Lost,
    Normalised,
    infinite_values,
    lost_table,
    name_groups,
)
from profiler.profile.scaling.scale import References, Rows, mean, median, transform_features

MOST_SWEEPS = 10  # as R's medpolish
FEWEST_AT_POSITION = 2  # one well less its own mean is 0, whatever it holds
TOLERANCE = 0.01  # relative change of the sum of absolute residuals, as R's medpolish

EFFECTS = {
    "group": pl.Int64,
    "feature": pl.String,
    "axis": pl.String,
    "position": pl.String,
    "effect": pl.Float64,
}

Grid: TypeAlias = Float[np.ndarray, "line column feature"]


class Polish(NamedTuple):
    """An additive fit of one plate: overall + line + column + residual."""

    overall: Float[np.ndarray, " feature"]
    line: Float[np.ndarray, "line feature"]
    column: Float[np.ndarray, "column feature"]
    residual: Grid


def median_polish(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = ALL,
    within: str | Sequence[str] = PLATE,
) -> Corrected:
    """Take the effects of plate rows and columns out of every feature.

    Args:
        table: One row per well, with `Metadata_Well`.
        features: Columns to correct.
        reference: Which wells the effects are estimated from, as all but strong
            positive controls; every plate row and column needs one.
        within: Columns whose values name a plate.

    Returns:
        The table with each plate row's and column's effect subtracted, the overall
        level kept, in float64; the effects, with `axis` ("row" or "column"), `position`
        ("C", "07") and `effect`; and what became null: wells whose plate row or column
        has no reference, and infinite values. The B-score is this, less the plate's
        median, over its MAD.

    Raises:
        BadLayout: A plate names a well twice.

    Source:
        Tukey 1977, Exploratory Data Analysis, as R's `medpolish` and Malo et al. 2006,
        Nature Biotechnology 24:167. Tukey's own table in tests/profile/correction/test_position.py.
    """
    within, features = columns_within(within), list(features)
    groups, is_reference = group_rows(table, within), mask_of(table, reference)
    values = feature_matrix(table, features)
    lost, effects = infinite_values(table, features, groups), [pl.DataFrame(schema=EFFECTS)]
    for i, group in enumerate(groups):
        value = values[group.rows].copy()
        lines, columns = _grid_positions(table["Metadata_Well"][group.rows])
        grid = np.full((lines.max() + 1, columns.max() + 1, len(features)), np.nan)
        grid[lines, columns] = np.where(is_reference[group.rows][:, None], value, np.nan)
        fit = polish(grid)
        corrected = value - fit.line[lines] - fit.column[columns]
        values[group.rows] = corrected
        gone = (np.isfinite(value) & np.isnan(corrected)).sum(axis=0)
        lost += [
            Lost(i, name, "no_reference", int(n)) for name, n in zip(features, gone, strict=True)
        ]
        effects.append(_effects(fit, features, group=i))
    return Corrected(
        place(table, drop=features, names=features, values=values),
        features,
        lost_table(lost, groups, table=table, within=within),
        name_groups(pl.concat(effects), groups, table=table, within=within),
    )


def polish(grid: Grid) -> Polish:
    """Fit row and column effects by medians, every feature at once.

    Args:
        grid: One plate; NaN where there is no value.

    Returns:
        Effects are NaN for rows and columns without any value.
    """
    height, width, n = grid.shape
    fit = Polish(np.zeros(n), np.zeros((height, n)), np.zeros((width, n)), grid)
    before, is_done = np.zeros(n), np.zeros(n, dtype=bool)
    for _ in range(MOST_SWEEPS):
        swept = _sweep(fit)
        fit = Polish(*(np.where(is_done, old, new) for old, new in zip(fit, swept, strict=True)))
        left = np.nansum(np.abs(fit.residual), axis=(0, 1))
        is_done |= (left == 0) | (np.abs(left - before) < TOLERANCE * left)
        before = left
        if is_done.all():
            break
    return fit


def _sweep(fit: Polish) -> Polish:
    overall, line, column, residual = fit
    more = _median(residual, axis=1)
    residual, line = residual - more[:, None], line + more
    level = _median(column, axis=0)
    overall, column = overall + level, column - level
    more = _median(residual, axis=0)
    residual, column = residual - more, column + more
    level = _median(line, axis=0)
    return Polish(overall + level, line - level, column, residual)


def _median(values: np.ndarray, *, axis: int) -> np.ndarray:
    return median(np.moveaxis(values, axis, -1))


def _grid_positions(wells: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    positions = [well_position(well) for well in wells]
    twice = [position for position, n in Counter(positions).items() if n > 1]
    if twice:
        raise BadLayout(
            f"{len(twice)} wells of a plate come more than once, {well_name(**twice[0]._asdict())} "
            "first. Aggregate to one row per well before correcting positions."
        )
    lines, columns = np.array(positions).T
    return lines, columns


def _effects(fit: Polish, features: Sequence[str], *, group: int) -> pl.DataFrame:
    lines = [well_name(row=i, column=0)[:-2] for i in range(len(fit.line))]
    columns = [f"{i + 1:02d}" for i in range(len(fit.column))]
    n, m = len(lines), len(columns)
    return pl.DataFrame(
        {
            "group": pl.Series([group] * (n + m) * len(features), dtype=pl.Int64),
            "feature": np.tile(np.array(features, dtype=str), n + m),
            "axis": np.repeat(["row", "column"], [n * len(features), m * len(features)]),
            "position": np.repeat([*lines, *columns], len(features)),
            "effect": to_series("effect", np.concatenate([fit.line, fit.column]).ravel()),
        },
        schema=EFFECTS,
    )


def position_means(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = ALL,
    within: str | Sequence[str] = "Metadata_Batch",
) -> Normalised:
    """Subtract from every feature its mean over the plates' wells at the same position.

    Only where a position holds different treatments on the plates of a batch, as in large
    libraries: where it holds replicates of one, this takes its effect away.

    Args:
        table: One row per well, with `Metadata_Well`; normalised.
        features: Columns to correct.
        reference: Which wells the means are of, at least two at each position.
        within: Columns whose values name a batch of plates.

    Returns:
        The table, the features, and what became null: wells at positions with fewer than
        two reference wells, and infinite values. float32 stays, all else becomes float64.

    Source:
        The well-position correction of the JUMP production pipeline.
    """
    by = (*columns_within(within), "Metadata_Well")
    found = transform_features(
        table, features=features, reference=reference, within=by, transform=_from_mean
    )
    reason = pl.col("reason").replace("no_spread", "one_reference")
    return found._replace(lost=found.lost.with_columns(reason).sort(found.lost.columns))


def _from_mean(values: Rows, reference: References) -> Rows:
    n_known = (~np.isnan(reference)).sum(axis=1)
    centre = np.where(n_known >= FEWEST_AT_POSITION, mean(reference), np.nan)
    return values - centre[:, None]
