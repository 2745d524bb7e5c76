"""Readouts between the controls, and readouts as they would be at equal cell count."""

from collections.abc import Sequence

import polars as pl

from profiler.profile.controls import is_role, require_controls
from profiler.profile.correction.regress import regress_out
from profiler.profile.features import finite
from profiler.profile.scaling.normalise import FLOAT_NOISE

COUNT = "Metadata_Object_Count"
CONTROLS = is_role("negative")


def percent_inhibition(
    wells: pl.DataFrame, *, features: Sequence[str], within: str = "Metadata_Plate"
) -> pl.DataFrame:
    """Normalise percent inhibition: 0 at the mean negative control, 100 at the mean positive.

    `percent_effect` of `profiler.hits.scores.score` is the same by medians, for the ranked readout.

    Args:
        wells: Annotated wells, with features in their own units.
        features: Columns to replace.
        within: Column whose groups have controls of their own.

    Returns:
        The table with `features` replaced, in float64; null where the controls' means do not
        differ, and for infinite values.

    Raises:
        NoControls: A plate lacks negative or positive controls.

    Source:
        Malo et al. 2006, Nature Biotechnology 24:167, box 1.

    >>> roles = ["negative", "negative", "positive", "treatment"]
    >>> wells = pl.DataFrame({"Metadata_Plate": "P", "Metadata_Role": roles, "x": [9, 11, 0, 4]})
    >>> percent_inhibition(wells, features=["x"])["x"].to_list()
    [10.0, -10.0, 100.0, 60.0]
    """
    for role in ("negative", "positive"):
        require_controls(wells, role=role, at_least=1, why="place wells between the controls")
    wells = wells.with_columns(finite(features))

    def scaled(name: str) -> pl.Expr:
        value = pl.col(name)
        none, full = (
            value.filter(is_role(r)).mean().over(within) for r in ("negative", "positive")
        )
        differ = (full - none).abs() > FLOAT_NOISE * none.abs()
        return pl.when(differ).then(100 * (none - value) / (none - full)).alias(name)

    return wells.with_columns(scaled(name) for name in features)


def count_adjusted(
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = CONTROLS,
    within: str = "Metadata_Plate",
) -> pl.DataFrame:
    """Take out of features what follows from the number of cells.

    A straight line in log2 of the count is fitted to the reference, by default the negative
    controls: what crowding does to untreated cells. It is extrapolated to wells with fewer cells
    than any control has; a readout that changes only after this correction deserves a look.

    Args:
        wells: Annotated wells with `Metadata_Object_Count`.
        features: Columns to replace.
        reference: Which wells the line is fitted to: three at least on every plate.
        within: Columns whose groups have a line each.

    Returns:
        The table with `features` as at the reference's mean log count, in float64. Null without
        cells, and where the reference is too small or its counts do not vary.

    Source:
        `profiler.profile.regress_out`, on the logarithm.
    """
    log_count = pl.when(pl.col(COUNT) > 0).then(pl.col(COUNT).cast(pl.Float64).log(2))
    counted = wells.with_columns(log_count.alias(f"log {COUNT}"))
    adjusted = regress_out(
        counted,
        features=features,
        reference=reference,
        within=within,
        covariates=[f"log {COUNT}"],
    )
    return adjusted.table.select(wells.columns)
