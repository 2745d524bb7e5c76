"""Dose-response: how strong a compound is, for every readout, with its uncertainty."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float
from scipy import stats

from profiler.hits.fit import Fit, PerCurve, fit
from profiler.hits.interval import confidence_interval
from profiler.hits.logistic import Dose, Responses
from profiler.profile.compounds import check_compounds
from profiler.profile.controls import is_role
from profiler.profile.normalise import FLOAT_NOISE

LEAST_DOSES = 4  # as many as the curve has parameters
ALPHA = 0.05  # of the F test against a constant
WEAK = 0.3  # least |Spearman| of dose and response

COMPOUND, DOSE, UNIT = "Metadata_Compound", "Metadata_Concentration", "Metadata_Unit"
NUMBERS = ["ec50", "ec50_low", "ec50_high", "bottom", "top", "slope", "r2", "p_value", "spearman"]
CURVES = pl.Schema(
    {
        COMPOUND: pl.String,
        "readout": pl.String,
        "status": pl.String,
        **dict.fromkeys(NUMBERS, pl.Float64),
        UNIT: pl.String,
        **dict.fromkeys(("n_wells", "n_doses", "n_anchors"), pl.Int64),
    }
)


class _Series(NamedTuple):
    """The treated wells of one compound, and their plates' negative controls."""

    compound: str
    unit: str | None
    dose: Dose
    is_treated: Bool[np.ndarray, " well"]
    responses: Responses  # NaN where missing


def fit_curves(
    wells: pl.DataFrame, *, readouts: Sequence[str], anchored: bool = True
) -> pl.DataFrame:
    """Fit a four-parameter logistic curve to every compound and readout.

    A compound's wells are pooled over plates, so readouts of several plates must
    be on one scale. Only wells whose role is treatment enter as doses.

    Args:
        wells: Annotated wells: `Metadata_Compound`, `Metadata_Concentration` (0 or
            more), `Metadata_Role`, perhaps `Metadata_Unit`, and the readouts.
        readouts: Columns to fit.
        anchored: Whether the negative controls of the compound's plates stand in
            for dose 0.

    Returns:
        One row per compound and readout (`CURVES`), of the curve
        `bottom + (top - bottom) / (1 + 10 ** ((log10(ec50) - log10(dose)) * slope))`
        with bottom below top, so that slope is negative where the response falls.

        - ec50_low, ec50_high: 95% profile-likelihood interval, null where open
        - p_value: F test of the curve against a constant; r2: variance explained
        - spearman: of dose and response, over the treated wells
        - status: `ok`; `no_response` (p_value above 0.05 or |spearman| below 0.3);
          `too_few_doses` (fewer than four, or fewer than five wells in all);
          `outside_range` (the EC50 is extrapolated); `not_converged`; `infinite`
          (a response is). The curve is null but in the first and the last but two.

        On pure noise, 1 to 2% of curves are not `no_response`: the F test is
        conservative, as slope and EC50 are bounded (tests/hits/test_dose.py).

    Raises:
        BadLayout: One compound under two names or units; see `check_compounds`.
    """
    treated = wells.filter(is_role("treatment")).drop_nulls(
        [name for name in (COMPOUND, DOSE) if name in wells.columns]
    )
    if not {COMPOUND, DOSE} <= set(wells.columns) or treated.is_empty() or not readouts:
        return CURVES.to_frame()
    check_compounds(treated)
    controls = wells.filter(is_role("negative")) if anchored else wells.clear()
    frames = [_frame(series, readouts) for series in _all_series(treated, controls, list(readouts))]
    return pl.concat(frames).sort(COMPOUND, "readout")


def _all_series(
    treated: pl.DataFrame, controls: pl.DataFrame, readouts: list[str]
) -> Iterator[_Series]:
    for (compound,), group in treated.group_by(COMPOUND, maintain_order=True):
        anchors = controls.join(group, on="Metadata_Plate", how="semi")
        values = [frame.select(readouts).cast(pl.Float64) for frame in (group, anchors)]
        concentration = group[DOSE].cast(pl.Float64).to_numpy()
        with np.errstate(divide="ignore"):
            dose = np.log10(np.append(concentration, np.zeros(anchors.height)))
        units = group[UNIT].drop_nulls() if UNIT in group.columns else []
        yield _Series(
            str(compound),
            units[0] if len(units) else None,
            dose,
            np.arange(len(dose)) < group.height,
            pl.concat(values).to_numpy().reshape(-1, len(readouts)).T.astype(float),
        )


def _frame(series: _Series, readouts: Sequence[str]) -> pl.DataFrame:
    """Fit together the readouts that are missing in the same wells: mostly all."""
    missing = np.isnan(series.responses)
    patterns, which = np.unique(missing, axis=0, return_inverse=True)
    frames = []
    for index, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.ravel() == index).tolist()
        part = series._replace(
            dose=series.dose[~pattern],
            is_treated=series.is_treated[~pattern],
            responses=series.responses[rows][:, ~pattern],
        )
        frames.append(_fit_series(part, [readouts[row] for row in rows]))
    return pl.concat(frames)


def _fit_series(series: _Series, readouts: list[str]) -> pl.DataFrame:
    doses = series.dose[series.is_treated]
    n_doses = len(np.unique(doses[np.isfinite(doses)]))
    enough = n_doses >= LEAST_DOSES and len(series.dose) > LEAST_DOSES
    columns = _columns(series) if enough else {"status": ["too_few_doses"] * len(readouts)}
    facts = {
        COMPOUND: series.compound,
        UNIT: series.unit,
        "n_wells": len(doses),
        "n_doses": n_doses,
        "n_anchors": len(series.dose) - len(doses),
    }
    frame = pl.DataFrame({"readout": readouts, **columns}).with_columns(
        pl.lit(value).alias(name) for name, value in facts.items()
    )
    absent = [pl.lit(None).alias(name) for name in CURVES if name not in frame.columns]
    typed = [pl.col(name).cast(kind) for name, kind in CURVES.items()]
    return frame.with_columns(absent).select(typed).with_columns(pl.col(NUMBERS).fill_nan(None))


def _columns(series: _Series) -> dict[str, np.ndarray]:
    """Status, tests and curve of every readout; NaN where the status leaves none."""
    is_finite = np.all(np.isfinite(series.responses), axis=1)
    dose, responses = series.dose, np.where(is_finite[:, None], series.responses, 0.0)
    curves, total = fit(dose, responses), _total(responses)
    p_value = _f_test(total, curves.rss, len(dose))
    rho = _spearman(dose[series.is_treated], responses[:, series.is_treated])
    responds = (p_value <= ALPHA) & (np.abs(rho) >= WEAK)
    status = np.where(is_finite, _status(series, curves, responds=responds), "infinite")
    has_curve = np.isin(status, ["ok", "outside_range", "not_converged"])
    low, high = _interval(dose, responses, curves, has_curve)
    r2 = 1 - np.divide(curves.rss, total, out=np.full_like(total, np.nan), where=total > 0)
    tests = {"r2": r2, "p_value": p_value, "spearman": rho}
    ec50s = {"ec50": curves.log_ec50, "ec50_low": low, "ec50_high": high}
    curve = _conventional(curves) | {name: 10**value for name, value in ec50s.items()}
    return {
        "status": status,
        **{name: np.where(is_finite, value, np.nan) for name, value in tests.items()},
        **{name: np.where(has_curve, value, np.nan) for name, value in curve.items()},
    }


def _total(responses: Responses) -> PerCurve:
    """Sum of squares about the mean; 0 where the responses differ by no more than float noise."""
    mean = responses.mean(axis=1, keepdims=True)
    varies = np.ptp(responses, axis=1) > FLOAT_NOISE * np.abs(mean[:, 0])
    return np.where(varies, ((responses - mean) ** 2).sum(axis=1), 0.0)


def _f_test(total: PerCurve, rss: PerCurve, n: int) -> PerCurve:
    """p-value of the curve's three extra parameters; NaN for constant responses."""
    gain = np.maximum(total - rss, 0.0) / 3
    floor = np.maximum(rss, 1e-24 * total) / (n - 4)
    ratio = np.divide(gain, floor, out=np.full_like(total, np.nan), where=floor > 0)
    return stats.f.sf(ratio, 3, n - 4)


def _spearman(dose: Dose, responses: Responses) -> PerCurve:
    """Rank correlation of every row with the dose; NaN for constant responses."""
    ranks = stats.rankdata(responses, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    rank = stats.rankdata(dose)
    rank -= rank.mean()
    size = np.linalg.norm(ranks, axis=1) * np.linalg.norm(rank)
    return np.divide(ranks @ rank, size, out=np.full_like(size, np.nan), where=size > 0)


def _status(series: _Series, curves: Fit, *, responds: Bool[np.ndarray, " readout"]) -> np.ndarray:
    tested = series.dose[series.is_treated & np.isfinite(series.dose)]
    inside = (curves.log_ec50 >= tested.min()) & (curves.log_ec50 <= tested.max())
    return np.select(
        [~responds, ~curves.converged, ~inside],
        ["no_response", "not_converged", "outside_range"],
        default="ok",
    )


def _interval(
    dose: Dose, responses: Responses, curves: Fit, wanted: Bool[np.ndarray, " readout"]
) -> tuple[PerCurve, PerCurve]:
    low, high = np.full((2, len(responses)), np.nan)
    if wanted.any():
        some = Fit(*(values[wanted] for values in curves))
        low[wanted], high[wanted] = confidence_interval(dose, responses[wanted], some)
    return low, high


def _conventional(curves: Fit) -> dict[str, Float[np.ndarray, " readout"]]:
    """Bottom below top, and a slope with the sign of the change."""
    ends = curves.start, curves.start + curves.change
    slope = np.where(curves.change < 0, -curves.slope, curves.slope)
    return {"bottom": np.minimum(*ends), "top": np.maximum(*ends), "slope": slope}
