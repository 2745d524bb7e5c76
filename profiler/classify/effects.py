"""Whether wells of a compound differ from their plates' controls in how many cells a class has.

Cells of a well are not independent, so wells are what is counted, by the yardstick that
`phenotype.shift` has for one.
"""

import numpy as np
from jaxtyping import Int

from profiler.phenotype.shift import (
    LEAST_FREEDOM,
    Angles,
    Plates,
    Yardstick,
    less_half,
    p_value,
    shares_apart,
    spread,
)


def treatment_p_value(
    angles: Angles, *, rows: Int[np.ndarray, " row"], plate: Plates, by: Yardstick
) -> float:
    """Test the mean gap of some wells to their plates' controls.

    Args:
        angles: One number per well; NaN is none.
        rows: The wells of a treatment, none a control.
        plate: Number of each well's plate.
        by: From `phenotype.shift.yardstick` on the same wells.

    Returns:
        Two-sided p-value of a t statistic; NaN without two degrees of freedom or without a well
        that has cells and controls. With one well that of `phenotype.shift.deviation_p_values`;
        with several, the controls of a plate count once, however many wells are held against
        them.
    """
    own = rows[np.isfinite(angles.values[rows]) & (by.controls[rows] > 0)]
    if not len(own) or by.freedom < LEAST_FREEDOM:
        return float("nan")
    held = np.bincount(plate[own])[plate[own]] / len(own) ** 2 / by.controls[own]
    weight = 1 / len(own) + held.sum()
    noise = angles.noise[own].sum() / len(own) ** 2 + (held * by.noise[own]).sum()
    gap = (angles.values[own] - by.centre[own]).mean()
    gap = less_half(gap, angles.half[own].mean() / len(own))
    return float(p_value(gap, by=spread(by), weight=weight, noise=noise))


def on_test_scale(counts: np.ndarray, totals: np.ndarray) -> Angles:
    """Bring the shares of one class to the scale of the test; see `phenotype.shift.shares_apart`.

    Args:
        counts: Cells of the class in each well.
        totals: All cells of each.
    """
    angles = shares_apart(np.stack([counts, totals - counts], axis=1))
    return Angles(*(each[:, 0] for each in angles))
