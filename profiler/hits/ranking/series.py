"""Dose series: whether neighbouring doses agree that a compound does something.

One dose alone must be far out to count, the more so the fewer controls there are. A real
effect shows at its neighbours too, and several moderate effects in a row are rarer under
chance than one large one.
"""

from functools import lru_cache

import numpy as np
import polars as pl
from scipy import optimize, stats

RUNS = (2, 3)  # neighbouring doses that must agree
NODES = 64  # of the quadratures below; more change no threshold by 1%
MEDIAN_VARIANCE = np.pi / 2  # of the median of normal values, times their number


@lru_cache(maxsize=1024)
def run_threshold(threshold: float, *, run: int, doses: int, controls: int, sides: int) -> float:
    """Find how far a run of neighbouring doses must be out, all of them.

    Chance must reach it as rarely as one normal value reaches `threshold`. All doses share
    the controls' centre and scale, so both errors are integrated out: the scale's as in
    Student's t, the centre's as that of a median.

    Args:
        threshold: In robust sds, above 0.
        run: Number of neighbouring doses.
        doses: In the series; infinity is returned for fewer than `run`.
        controls: Negative control wells on the plate, from 2.
        sides: 2 if an effect of either sign counts, else 1.

    >>> round(run_threshold(3.0, run=2, doses=8, controls=10**6, sides=2), 2)
    2.2
    """
    places = doses - run + 1
    if places < 1 or controls < 2:
        return float("inf")
    share = (np.arange(NODES) + 0.5) / NODES
    scale = np.sqrt(stats.chi2.ppf(share, controls - 1) / (controls - 1))
    centre = stats.norm.ppf(share) * np.sqrt(MEDIAN_VARIANCE / controls)

    def surplus(limit: float) -> float:
        tail = stats.norm.sf(limit * scale[:, None] - centre[None])
        return sides * (places * float((tail**run).mean()) - float(stats.norm.sf(threshold)))

    return float(optimize.root_scalar(surplus, bracket=(0.0, 1e6), method="brentq").root)


def agreeing_doses(effects: pl.DataFrame, *, run: int, is_two_sided: bool) -> pl.DataFrame:
    """Find the best run of neighbouring doses of each series.

    Args:
        effects: One row per `series` and `dose`, with its `effect`.
        run: Number of neighbouring doses.
        is_two_sided: Whether an effect of either sign counts.

    Returns:
        One row per series: `strength`, the least effect in that run, all of one sign;
        null for series shorter than a run.
    """
    ordered = effects.sort("series", "dose")
    up = pl.col("effect").rolling_min(run).over("series")
    down = (-pl.col("effect")).rolling_min(run).over("series")
    strength = pl.max_horizontal(up, down) if is_two_sided else up
    return ordered.with_columns(strength=strength).group_by("series").agg(pl.col("strength").max())
