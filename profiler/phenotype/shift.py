"""Whether a well deviates from its plate's controls by more than those differ among themselves.

Cells of a well are not independent: they share their seeding, staining and position. So wells are
what is counted, and the controls' spread from well to well is the yardstick.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import t as student

from profiler.phenotype.counts import PerWell

LEAST_FREEDOM = 2  # degrees; three controls on one plate

PerPart: TypeAlias = Float[np.ndarray, "well part"]


def shares_apart(counts: Int[np.ndarray, "well part"]) -> tuple[PerPart, PerPart]:
    """Bring shares of cells to a scale on which counting noise is alike for all shares.

    Args:
        counts: Cells of each well and subpopulation.

    Returns:
        Anscombe's arcsine of every share, and its variance from counting alone; NaN for
        a well without cells.

    Source:
        Anscombe 1948, Biometrika 35:246: asin(sqrt((x + 3/8) / (n + 3/4))), 1 / (4 n + 2).
    """
    total = counts.sum(axis=1, keepdims=True).astype(float)
    total[total == 0] = np.nan
    angle = np.arcsin(np.sqrt((counts + 0.375) / (total + 0.75)))
    return angle, np.broadcast_to(1 / (4 * total + 2), angle.shape)


def deviation_p_values(
    values: PerPart,
    *,
    noise: PerPart,
    plate: Int[np.ndarray, " well"],
    is_control: Bool[np.ndarray, " well"],
) -> PerPart:
    """Test each well against the control wells of its plate.

    Args:
        values: One number per well and subpopulation; NaN is none.
        noise: The part of each number's variance that is known, from counting; 0 for none.
        plate: Number of each well's plate.
        is_control: The negative controls; one is tested against the others.

    Returns:
        Two-sided p-values of a new well's t statistic. The variance between controls is
        pooled over plates, at least their mean counting noise; a well that is noisier than
        the plate's controls, as it has fewer cells, has the difference added. NaN without
        two degrees of freedom, or where the plate has no control.

    Source:
        Student's t prediction interval, against scipy in tests/phenotype/test_shift.py;
        for controls, externally studentised residuals (Cook & Weisberg 1982, section 2.2).
    """
    result = np.full(values.shape, np.nan)
    for part in range(values.shape[1]):
        result[:, part] = _of_part(values[:, part], noise[:, part], plate, is_control)
    return result


def _of_part(
    values: PerWell,
    noise: PerWell,
    plate: Int[np.ndarray, " well"],
    is_control: Bool[np.ndarray, " well"],
) -> PerWell:
    known = np.isfinite(values)
    of_control = is_control & known
    n = np.bincount(plate[of_control], minlength=plate.max(initial=0) + 1)[plate]
    weight = np.where(of_control, 1.0, 0.0)
    centre = _mean(np.where(known, values, 0.0), weight, plate)
    usual_noise = _mean(np.where(known, noise, 0.0), weight, plate)
    gap = values - centre
    squares = float((gap[of_control] ** 2).sum())
    freedom = int(of_control.sum()) - len(np.unique(plate[of_control]))
    floor = float(noise[of_control].mean()) if of_control.any() else np.nan
    # A control is held against the others: its own part is taken out of centre and spread.
    left = n - of_control
    own = np.where(of_control, gap**2 * n / np.maximum(left, 1), 0.0)
    gap = np.where(of_control, gap * n / np.maximum(left, 1), gap)
    free = freedom - of_control.astype(int)
    spread = np.maximum((squares - own) / np.maximum(free, 1), floor)
    added = np.maximum(noise - usual_noise, 0.0)
    has_test = known & (left > 0) & (free >= LEAST_FREEDOM) & (spread > 0)
    result = np.full(len(values), np.nan)
    variance = (spread * (1 + 1 / np.maximum(left, 1)) + added)[has_test]
    result[has_test] = 2 * student.sf(np.abs(gap[has_test]) / np.sqrt(variance), free[has_test])
    return result


def _mean(values: PerWell, weight: PerWell, plate: Int[np.ndarray, " well"]) -> PerWell:
    """Weighted mean of each well's plate; NaN where the weights are 0."""
    total = np.bincount(plate, weight)
    with np.errstate(invalid="ignore"):
        return (np.bincount(plate, weight * values) / total)[plate]
