"""The level of every row, column and plate: where a readout drifts, and how far."""

from collections.abc import Sequence

import polars as pl

from plates.well import well_name, well_position
from profiler.hits.quality.drift import is_edge, position_effects, run_drift
from profiler.profile.controls import is_role
from profiler.profile.features import finite
from profiler.profile.groups import ALL
from profiler.profile.scaling.normalise import MAD_TO_SD

PLATE, WELL = "Metadata_Plate", "Metadata_Well"
LEAST_WELLS = 3  # of a role at the edge, and away from it
AXES = ("row", "column", "run")
KEY = [PLATE, "readout"]
LEVELS = pl.Schema(
    {
        PLATE: pl.String,
        "readout": pl.String,
        "axis": pl.String,
        "position": pl.String,
        "n_wells": pl.Int64,
        "effect": pl.Float64,
        "share": pl.Float64,
        "p_value": pl.Float64,
        "trend": pl.Float64,
    }
)


def position_reference(wells: pl.DataFrame) -> str:
    """Choose the wells that show what position does.

    Args:
        wells: Annotated wells.

    Returns:
        "negative" if every plate with negative controls has three of them at its edge and three
        away from it, as these are alike but for their position; else "treatment", which shows
        position only where most compounds do nothing and doses do not run along rows or columns.
    """
    # A plate without controls shows nothing by them, and decides nothing for the others.
    has_any = wells.filter(is_role("negative").any().over(PLATE))
    if has_any.is_empty():
        return "treatment"
    for _, plate in has_any.group_by(PLATE):
        controls = plate.filter(is_role("negative"))[WELL]
        on_edge = is_edge(controls, of=plate[WELL])
        if min(on_edge.sum(), (~on_edge).sum()) < LEAST_WELLS:
            return "treatment"
    return "negative"


def position_levels(
    wells: pl.DataFrame,
    *,
    readouts: Sequence[str],
    reference: pl.Expr = ALL,
    order: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Compare every row and column with its plate, and every plate with the others.

    Args:
        wells: One row per well, with `Metadata_Plate` and `Metadata_Well`.
        readouts: Columns to look at.
        reference: Which wells to look at, as for `position_effects`.
        order: Plates as they were run; by name if not given.

    Returns:
        One row per plate, readout, `axis` ("row", "column" or "run") and `position` (of wells,
        as "C" and "07"; of the plate in the run, from "1"), in this order:

        - n_wells with a finite value; effect: their median less the plate's, in the
          plate's 1.4826 MADs; of a run the plate's median less that of all plates' medians,
          in the median plate's; null where these are 0
        - share, p_value, trend of the whole axis: from `position_effects` and `run_drift`
    """
    plates = sorted(wells[PLATE].unique()) if order is None else list(order)
    wells = wells.filter(pl.col(PLATE).is_in(plates))
    long = _long(wells.filter(reference), list(readouts))
    tables = [_lines(long, axis) for axis in AXES[:2]]
    levels = pl.concat([*tables, _run(long, plates)], how="diagonal")
    tests = _tests(wells, list(readouts), plates, reference=reference)
    levels = levels.join(tests, on=[*KEY, "axis"], how="left")
    at = pl.col("readout").cast(pl.Enum(readouts)), pl.col("axis").cast(pl.Enum(AXES))
    levels = levels.sort(PLATE, *at, "number")
    return levels.select(pl.col(name).cast(kind) for name, kind in LEVELS.items())


def _long(wells: pl.DataFrame, readouts: list[str]) -> pl.DataFrame:
    """One row per well and readout with a finite value; its place, and its plate's level."""
    names = wells[WELL].unique().sort().to_list()
    at = [well_position(name) for name in names]
    places = pl.DataFrame(
        {
            WELL: pl.Series(names, dtype=pl.String),
            "row": pl.Series([place.row for place in at], dtype=pl.Int64),
            "column": pl.Series([place.column for place in at], dtype=pl.Int64),
        }
    )
    long = wells.select(PLATE, WELL, finite(readouts)).unpivot(
        on=readouts, index=[PLATE, WELL], variable_name="readout", value_name="value"
    )
    long = long.drop_nulls("value").cast({"value": pl.Float64}).join(places, on=WELL)
    middle = pl.col("value").median().over(KEY)
    away = (pl.col("value") - middle).abs()
    return long.with_columns(middle=middle, spread=MAD_TO_SD * away.median().over(KEY))


def _lines(long: pl.DataFrame, axis: str) -> pl.DataFrame:
    """Level of every row or column."""
    effect = (pl.col("value").median() - pl.col("middle").first()) / pl.col("spread").first()
    lines = long.group_by(*KEY, pl.col(axis).alias("number")).agg(n_wells=pl.len(), effect=effect)
    names = [_line_name(axis, number) for number in lines["number"]]
    position = pl.Series(names, dtype=pl.String)
    return lines.with_columns(finite(["effect"]), axis=pl.lit(axis), position=position)


def _line_name(axis: str, number: int) -> str:
    return well_name(row=number, column=0)[:-2] if axis == "row" else f"{number + 1:02d}"


def _run(long: pl.DataFrame, plates: list[str]) -> pl.DataFrame:
    """Level of every plate."""
    medians = long.group_by(KEY).agg(
        pl.len().alias("n_wells"), pl.col("middle").first(), pl.col("spread").first()
    )
    away = pl.col("middle") - pl.col("middle").median().over("readout")
    number = pl.Series("number", range(len(plates)), dtype=pl.Int64)
    medians = medians.join(
        pl.DataFrame([pl.Series(PLATE, plates, dtype=pl.String), number]), on=PLATE
    )
    return medians.select(
        *KEY,
        "n_wells",
        "number",
        pl.lit("run").alias("axis"),
        (pl.col("number") + 1).cast(pl.String).alias("position"),
        (away / pl.col("spread").median().over("readout")).alias("effect"),
    ).with_columns(finite(["effect"]))


def _tests(
    wells: pl.DataFrame, readouts: list[str], plates: list[str], *, reference: pl.Expr
) -> pl.DataFrame:
    """What the tests say of every axis, in rows."""
    effects = position_effects(wells, readouts=readouts, reference=reference)
    lines = [
        effects.select(
            *KEY,
            pl.lit(axis).alias("axis"),
            pl.col(f"{axis}_share").alias("share"),
            pl.col(f"{axis}_p").alias("p_value"),
            pl.col(f"{axis}_trend").alias("trend"),
        )
        for axis in AXES[:2]
    ]
    drift = run_drift(wells, readouts=readouts, order=plates, reference=reference)
    names = {"plate_share": "share", "plate_p": "p_value", "run_trend": "trend"}
    run = drift.select("readout", *names).rename(names)
    run = effects.select(KEY).join(run, on="readout").with_columns(axis=pl.lit("run"))
    return pl.concat([*lines, run], how="diagonal")
