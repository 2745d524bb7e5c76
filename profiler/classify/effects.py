"""Whether wells of a compound differ from their plates' controls in how many cells a class has.

Cells of a well are not independent, so wells are what is counted: the controls' spread from well to
well is the yardstick, and the fewer the controls, the less is believed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import t as student

from profiler.phenotype.shift import LEAST_FREEDOM, shares_apart

FREE = 5  # degrees from which a variance that counting alone explains is taken as known

PerWell = Float[np.ndarray, " well"]
Plates = Int[np.ndarray, " well"]
Controls = Bool[np.ndarray, " well"]


class Yardstick(NamedTuple):
    """What control wells say of wells in general.

    Attributes:
        centre: Mean of the controls of each well's plate; NaN without.
        controls: How many these are.
        noise: Mean variance that counting alone gives them.
        spread: Variance between controls of a plate, pooled, at least what counting gives.
        freedom: Degrees of freedom of `spread`; infinite, or more than the controls', where what
            counting gives is above what they show; see `_freedom`.
    """

    centre: PerWell
    controls: PerWell
    noise: PerWell
    spread: float
    freedom: float


def yardstick(values: PerWell, noise: PerWell, *, plate: Plates, is_control: Controls) -> Yardstick:
    """Learn from the control wells of all plates.

    Args:
        values: One number per well; NaN is none.
        noise: The part of its variance that is known, from counting.
        plate: Number of each well's plate, from 0.
        is_control: The negative controls.
    """
    used = is_control & np.isfinite(values)
    size = int(plate.max(initial=0)) + 1
    count = np.bincount(plate[used], minlength=size)
    with np.errstate(invalid="ignore"):
        centre = np.bincount(plate[used], values[used], size) / count
        usual = np.bincount(plate[used], noise[used], size) / count
    freedom = int(used.sum() - (count > 0).sum())
    squares = float(((values - centre[plate])[used] ** 2).sum())
    floor = float(noise[used].mean()) if used.any() else np.nan
    shown = squares / freedom if freedom else np.nan
    spread = max(shown, floor) if freedom else np.nan
    by = (spread, _freedom(freedom, shown, floor))
    return Yardstick(centre[plate], count[plate].astype(float), usual[plate], *by)


def _freedom(freedom: int, shown: float, floor: float) -> float:
    """How far a spread may be relied on: one that counting gives is known, not estimated.

    Where wells differ by more than counting all the same, and few controls happen not to show it,
    a normal test is too bold: below five degrees these only grow by the factor that is lacking.

    Source:
        Simulated: of 200,000 nulls with 1 to 5 times the counting variance, .051 at most had a
        p-value up to .05, with 2, 5, 10 and 20 degrees; tests/classify/test_effects.py has some.
    """
    if not shown < floor:
        return float(freedom)
    if freedom >= FREE or shown <= 0:
        return float("inf") if freedom >= LEAST_FREEDOM else float(freedom)
    return freedom * floor / shown


def treatment_p_value(
    values: PerWell,
    noise: PerWell,
    *,
    rows: Int[np.ndarray, " row"],
    plate: Plates,
    by: Yardstick,
) -> float:
    """Test the mean gap of some wells to their plates' controls.

    Args:
        values: One number per well; NaN is none.
        noise: The part of its variance that is known, from counting.
        rows: The wells of a treatment, none a control.
        plate: Number of each well's plate.
        by: From `yardstick` on the same wells.

    Returns:
        Two-sided p-value of a t statistic; NaN without two degrees of freedom or without a well
        that has cells and controls. With one well that of
        `phenotype.shift.deviation_p_values`, but for `Yardstick.freedom`; with several, the
        controls of a plate count once, however many wells are held against them.
    """
    own = rows[np.isfinite(values[rows]) & (by.controls[rows] > 0)]
    if not len(own) or by.freedom < LEAST_FREEDOM or not by.spread > 0:
        return float("nan")
    shares = np.bincount(plate[own]) / len(own)
    controls = np.ones(len(shares))
    controls[plate[own]] = by.controls[own]
    added = np.maximum(noise[own] - by.noise[own], 0.0).sum() / len(own) ** 2
    variance = by.spread * (1 / len(own) + (shares**2 / controls).sum()) + added
    gap = float((values[own] - by.centre[own]).mean())
    return float(2 * student.sf(abs(gap) / np.sqrt(variance), by.freedom))


def on_test_scale(counts: np.ndarray, totals: np.ndarray) -> tuple[PerWell, PerWell]:
    """Bring the shares of one class to the scale of the test; see `phenotype.shift.shares_apart`.

    Args:
        counts: Cells of the class in each well.
        totals: All cells of each.

    Returns:
        A number per well, NaN without cells, and the variance that counting gives it.
    """
    angle, noise = shares_apart(np.stack([counts, totals - counts], axis=1))
    return angle[:, 0], noise[:, 0]
