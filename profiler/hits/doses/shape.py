"""What a dose series shows beside its logistic curve: trend, area, onset, turning, toxicity."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool

from profiler.hits.doses.design import COMPOUND, UNIT, Curve, Design, curves_by_design
from profiler.hits.doses.logistic import Levels, Responses, levels_of
from profiler.hits.doses.monotone import (
    Means,
    PerCurve,
    Shape,
    about_mean,
    chance,
    fit_falling,
    fit_shape,
    p_value,
)
from profiler.profile.scaling.normalise import FLOAT_NOISE

LEAST_DOSES = 3
ALPHA = 0.05
TURNING_ALPHA = 0.01
TURNS_BACK = 0.25  # least share of the way up that a biphasic curve comes down again
BENCHMARK = 1.349  # sds of the controls: puts a tenth more of them beyond the first percentile
DIRECTIONS = {1: "up", -1: "down"}
NUMBERS = (
    *("trend_p", "trend_r2", "area_under_curve", "benchmark_concentration"),
    *("turning_p", "turning_dose", "toxic_from"),
)
SHAPES = pl.Schema(
    {
        COMPOUND: pl.String,
        "readout": pl.String,
        "shape": pl.String,
        "direction": pl.String,
        **dict.fromkeys(NUMBERS, pl.Float64),
        "benchmark_outside_range": pl.Boolean,
        "is_biphasic": pl.Boolean,
        "is_toxic_only": pl.Boolean,
        UNIT: pl.String,
        "n_wells": pl.Int64,
        "n_doses": pl.Int64,
    }
)


def describe_curves(
    wells: pl.DataFrame,
    *,
    readouts: Sequence[str],
    benchmark: float = BENCHMARK,
    toxic_below: float = 0.5,
    seed: int = 0,
) -> pl.DataFrame:
    """Describe the dose series of every compound and readout without assuming a formula.

    The negative controls of the compound's plates stand in for dose 0 throughout.

    Args:
        wells: As for `fit_curves`; with `viability` (from `score_wells`) toxicity is told.
        readouts: Columns to describe.
        benchmark: Sds of the negative controls' wells that count as a change.
        toxic_below: Viability below which a dose is toxic.
        seed: Decides the simulation behind the p-values, and nothing else does.

    Returns:
        One row per compound and readout (`SHAPES`), sorted.

        - shape: `trend`, `no_trend` (trend_p above 0.05), `too_few_doses` (below three, or
          no more wells than doses) or `infinite` (a response is). Null but for a trend:
          direction, area_under_curve, benchmark_concentration, benchmark_outside_range
        - trend_p: of the best curve that only rises or falls against a constant;
          trend_r2: variance it explains; direction: `up` or `down`
        - area_under_curve: mean change from dose 0 over the log range of the doses tested,
          under the straight lines between the doses' fitted means
        - benchmark_concentration: dose at which that curve has changed by `benchmark` sds; null if
          it never has, and with benchmark_outside_range if it has at the lowest dose tested
        - turning_p: of the best curve that turns once against the best that does not;
          turning_dose: its extreme; is_biphasic: turning_p is at most 0.01 and the
          curve comes back by a quarter at least
        - toxic_from: lowest dose from which the falling curve of viability lies below
          `toxic_below`; is_toxic_only: the benchmark is no lower, so that the
          effect is seen only where cells die

        Of noise 5% have a trend and 1% turn, over many plates; on one plate all curves share
        its controls, and what these are off by.

    Raises:
        BadLayout: As for `fit_curves`.

    Source:
        Benchmark dose: Crump 1984, Fundamental and Applied Toxicology 4:854; 1.349 as in
        ToxCast's tcpl. The rest: `profiler.hits.doses.monotone`; tests/hits/doses/test_shape.py.
    """
    has_viability = "viability" in wells.columns
    toxic = _toxic_from(wells, toxic_below=toxic_below) if has_viability else {}
    tables = [
        _of_design(curves, benchmark=benchmark, toxic=toxic, seed=seed)
        for curves in curves_by_design(wells, readouts=list(readouts), anchored=True)
    ]
    return pl.concat([SHAPES.to_frame(), *tables]).sort(COMPOUND, "readout")


def _of_design(
    curves: list[Curve], *, benchmark: float, toxic: dict[str, float], seed: int
) -> pl.DataFrame:
    design = curves[0].design
    responses = np.stack([curve.responses for curve in curves])
    n_doses = len(np.unique(design.tested))
    n_levels = len(np.unique(design.dose))
    enough = n_doses >= LEAST_DOSES and len(design.dose) > n_levels
    columns = {
        COMPOUND: [curve.compound for curve in curves],
        "readout": [curve.readout for curve in curves],
        UNIT: [curve.unit for curve in curves],
        "shape": ["too_few_doses"] * len(curves),
        "n_wells": [int(design.is_treated.sum())] * len(curves),
        "n_doses": [n_doses] * len(curves),
        "toxic_from": [toxic.get(curve.compound) for curve in curves],
    }
    if enough:
        columns |= _columns(design, responses, benchmark=benchmark, seed=seed)
    frame = pl.DataFrame(columns, strict=False)
    absent = [name for name in ("onset", *SHAPES) if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None).alias(name) for name in absent)
    sign = pl.col("direction").cast(pl.Int64)
    words = sign.replace_strict(DIRECTIONS, default=None, return_dtype=pl.String)
    is_toxic = (pl.col("onset").cast(pl.Float64).fill_nan(None) >= pl.col("toxic_from")).fill_null(
        value=False
    )
    has_trend = pl.col("shape") == "trend"
    frame = frame.with_columns(
        words,
        is_toxic_only=pl.when(has_trend).then(is_toxic),
        benchmark_outside_range=pl.when(has_trend).then("benchmark_outside_range"),
    )
    typed = [pl.col(name).cast(kind) for name, kind in SHAPES.items()]
    return frame.select(typed).with_columns(pl.col(NUMBERS).fill_nan(None))


def _columns(
    design: Design, responses: Responses, *, benchmark: float, seed: int
) -> dict[str, np.ndarray]:
    """What is told of every curve; NaN where there is nothing to tell."""
    is_finite = np.isfinite(np.abs(responses).sum(axis=1))
    responses = np.where(is_finite[:, None], responses, 0.0)
    levels, means, within = levels_of(design.dose, responses)
    shape, null = fit_shape(levels, means), chance(levels, seed=seed)
    total = np.where(_varies(responses), within + about_mean(levels, means), np.nan)
    trend_r2 = shape.explained / total
    left = np.where(total > shape.explained, total - shape.explained, np.nan)
    trend_p = np.where(is_finite, p_value(trend_r2, null.monotone), np.nan)
    turning_p = np.where(is_finite, p_value(shape.turning / left, null.turning), np.nan)
    has_trend = (trend_p <= ALPHA) & (shape.direction != 0)
    area, onset, crossing = _beyond(design, responses, levels, shape, benchmark=benchmark)
    is_outside = np.isfinite(onset) & np.isnan(crossing)
    turns = (turning_p <= TURNING_ALPHA) & (_way_back(means, shape) >= TURNS_BACK)
    told = {"area_under_curve": area, "benchmark_concentration": crossing, "onset": onset}
    kind = np.where(has_trend, "trend", "no_trend")
    return {
        "shape": np.where(is_finite, kind, "infinite"),
        "direction": np.where(has_trend, shape.direction, 0),
        "trend_p": trend_p,
        "trend_r2": np.where(is_finite, trend_r2, np.nan),
        "turning_p": turning_p,
        "turning_dose": np.where(turns, 10 ** levels.dose[shape.turn], np.nan),
        "benchmark_outside_range": is_outside,
        "is_biphasic": turns,
        **{name: np.where(has_trend, value, np.nan) for name, value in told.items()},
    }


def _beyond(
    design: Design, responses: Responses, levels: Levels, shape: Shape, *, benchmark: float
) -> tuple[PerCurve, PerCurve, PerCurve]:
    """Area under the change from dose 0; first dose beyond the benchmark; where it is passed."""
    area, onset, crossing = np.full((3, len(responses)), np.nan)
    controls = responses[:, ~design.is_treated]
    tested = np.isfinite(levels.dose)
    dose = levels.dose[tested]
    if controls.shape[1] < 2:
        return area, onset, crossing
    base = shape.fitted[:, ~tested].mean(axis=1, keepdims=True)
    change = (shape.fitted[:, tested] - base) * shape.direction[:, None]
    area = np.trapezoid(change, dose, axis=1) / np.ptp(dose) * shape.direction
    limit = benchmark * controls.std(axis=1, ddof=1, keepdims=True)
    is_beyond = (change >= limit) & (limit > 0)
    first = is_beyond.argmax(axis=1)[:, None]
    before = np.maximum(first - 1, 0)
    high, low = (np.take_along_axis(change, at, axis=1) for at in (first, before))
    step = np.divide(limit - low, high - low, out=np.ones_like(limit), where=high > low)
    at = dose[before] + step * (dose[first] - dose[before])
    reached = np.flatnonzero(is_beyond.any(axis=1))
    onset[reached] = 10 ** dose[first[reached, 0]]
    within = reached[first[reached, 0] > 0]  # at the lowest dose it may have been passed long ago
    crossing[within] = 10 ** at[within, 0]
    return area, onset, crossing


def _way_back(means: Means, shape: Shape) -> PerCurve:
    """Of the way to a curve's extreme, how much of it the curve goes back after it."""
    extreme = np.take_along_axis(means, shape.turn[:, None], axis=1)[:, 0]
    out, back = extreme - means[:, 0], extreme - means[:, -1]
    share = np.divide(back, out, out=np.zeros_like(out), where=out != 0)
    return np.where(shape.turning > 0, share, 0.0)


def _varies(responses: Responses) -> Bool[np.ndarray, " curve"]:
    return np.ptp(responses, axis=1) > FLOAT_NOISE * np.abs(responses.mean(axis=1))


def _toxic_from(wells: pl.DataFrame, *, toxic_below: float) -> dict[str, float]:
    """The lowest toxic dose of every compound that has one."""
    found = {}
    for curves in curves_by_design(wells, readouts=["viability"], anchored=True):
        responses = np.stack([curve.responses for curve in curves])
        levels, means, _ = levels_of(curves[0].design.dose, np.nan_to_num(responses))
        is_toxic = (fit_falling(levels, means) < toxic_below) & np.isfinite(levels.dose)
        for curve, toxic in zip(curves, is_toxic, strict=True):
            if toxic.any():
                found[curve.compound] = float(10 ** levels.dose[toxic.argmax()])
    return found
