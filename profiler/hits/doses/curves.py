"""Dose-response: how strong a compound is, for every readout, with its uncertainty."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool, Float
from scipy import stats

from profiler.hits.doses.design import COMPOUND, UNIT, Curve, Design, curves_by_design
from profiler.hits.doses.fit import Fit, PerCurve, fit
from profiler.hits.doses.interval import confidence_interval
from profiler.hits.doses.logistic import Dose, Responses
from profiler.profile.scaling.normalise import FLOAT_NOISE

LEAST_DOSES = 4  # as many as the curve has parameters
ALPHA = 0.05  # of the F test against a constant
WEAK = 0.3  # least |Spearman| of dose and response

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
        - status: `ok`; `no_response` (p_value above 0.05, or |spearman| below 0.3 with and
          without the anchors); `too_few_doses` (below four, or below five wells in
          all); `outside_range` (the EC50 is extrapolated); `not_converged`; `infinite`
          (a response is). Curve and EC50 are null but in ok, outside_range, not_converged.

        On pure noise, 2 to 3% of curves are not `no_response`: the F test is
        conservative, as slope and EC50 are bounded (tests/hits/doses/test_curves.py).

    Raises:
        BadLayout: One compound under two names or units; see `check_compounds`.
    """
    alike = curves_by_design(wells, readouts=readouts, anchored=anchored)
    tables = [CURVES.to_frame(), *(_fit_alike(curves) for curves in alike)]
    return pl.concat(tables).sort(COMPOUND, "readout")


def _fit_alike(curves: list[Curve]) -> pl.DataFrame:
    design = curves[0].design
    doses = design.dose[design.is_treated]
    n_doses = len(np.unique(doses[np.isfinite(doses)]))
    enough = n_doses >= LEAST_DOSES and len(design.dose) > LEAST_DOSES
    responses = np.stack([curve.responses for curve in curves])
    columns = {
        COMPOUND: [curve.compound for curve in curves],
        UNIT: [curve.unit for curve in curves],
        "readout": [curve.readout for curve in curves],
        "n_wells": [len(doses)] * len(curves),
        "n_doses": [n_doses] * len(curves),
        "n_anchors": [len(design.dose) - len(doses)] * len(curves),
        "status": ["too_few_doses"] * len(curves),
    }
    frame = pl.DataFrame(columns | (_columns(design, responses) if enough else {}))
    absent = [pl.lit(None).alias(name) for name in CURVES if name not in frame.columns]
    typed = [pl.col(name).cast(kind) for name, kind in CURVES.items()]
    return frame.with_columns(absent).select(typed).with_columns(pl.col(NUMBERS).fill_nan(None))


def _columns(design: Design, responses: Responses) -> dict[str, np.ndarray]:
    """Status, tests and curve of every row; NaN where the status leaves none."""
    is_finite = np.all(np.isfinite(responses), axis=1)
    dose, responses = design.dose, np.where(is_finite[:, None], responses, 0.0)
    curves, total = fit(dose, responses), _total(responses)
    p_value = _f_test(total, curves.rss, len(dose))
    rho = _spearman(dose[design.is_treated], responses[:, design.is_treated])
    # Where all doses saturate, only the controls show that the compound acts.
    is_ordered = np.maximum(np.abs(rho), np.abs(_spearman(dose, responses))) >= WEAK
    responds = (p_value <= ALPHA) & is_ordered
    status = np.where(is_finite, _status(design, curves, responds=responds), "infinite")
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
    ratio = np.divide(gain, floor, out=np.full_like(total, np.nan), where=total > 0)
    return stats.f.sf(ratio, 3, n - 4)


def _spearman(dose: Dose, responses: Responses) -> PerCurve:
    """Rank correlation of every row with the dose; NaN for constant responses."""
    ranks = stats.rankdata(responses, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    rank = stats.rankdata(dose)
    rank -= rank.mean()
    size = np.linalg.norm(ranks, axis=1) * np.linalg.norm(rank)
    return np.divide(ranks @ rank, size, out=np.full_like(size, np.nan), where=size > 0)


def _status(design: Design, curves: Fit, *, responds: Bool[np.ndarray, " readout"]) -> np.ndarray:
    tested = design.tested
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
