"""Whether a well's mean novelty is higher than known wells', whatever the count of cells in each.

The mean of a few cells strays further than that of many, so means alone must not be compared. Here
a well's mean varies by what wells differ by and by what its cells differ by, over their count. The
first is hard to learn from few wells: a p-value is the larger of two, with it a standard error
lower, which favours wells of few cells less, and higher, which favours those of many less.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

LEAST_WELLS = 10  # known wells; fewer give no test worth the name
LEAST_VARIANCE = 1e-12  # of a mean of scores from 0 to 1: equal scores must not divide by zero

PerWell = Float[np.ndarray, " well"]


class KnownWells(NamedTuple):
    """How the mean scores of known wells vary.

    Attributes:
        cells: Known cells of each.
        means: Of their scores.
        within: Variance of cells within a well; 0 where each has one cell, and what it varies by
            counts as between.
        between: Variance of wells beside that, a standard error lower (0 at least) and higher.
    """

    cells: Int[np.ndarray, " well"]
    means: PerWell
    within: float
    between: tuple[float, float]


def known_wells(
    scores: Float[np.ndarray, " cell"], wells: Shaped[np.ndarray, " cell"]
) -> KnownWells | None:
    """Learn how the means of known wells vary; None for fewer than ten.

    Args:
        scores: Of known cells.
        wells: Name of each one's well.

    Source:
        Analysis of variance of unequal groups by the method of moments (Searle, Casella &
        McCulloch, Variance Components, 1992, chapter 3); the level of what is made of it is shown
        by simulation in tests/classify/trust/test_well_means.py.
    """
    codes = np.unique(wells, return_inverse=True)[1]
    cells = np.bincount(codes)
    count, total = len(cells), len(scores)
    if count < LEAST_WELLS:
        return None
    means = np.bincount(codes, weights=scores) / cells
    free = total - count
    within = float(((scores - means[codes]) ** 2).sum() / free) if free else 0.0
    square = float((cells * (means - scores.mean()) ** 2).sum() / (count - 1))
    size = (total - (cells**2).sum() / total) / (count - 1)
    between = (square - within) / size
    error = np.sqrt(2 * square**2 / (count - 1) + (2 * within**2 / free if free else 0)) / size
    return KnownWells(cells, means, within, (max(0.0, between - error), max(0.0, between + error)))


def well_p_value(mean: float, cells: int, known: KnownWells) -> float:
    """The share of known wells, and the well itself, whose mean is as high for their counts.

    Args:
        mean: Of the scores of the well's cells.
        cells: How many it has.
        known: From `known_wells`.

    Returns:
        (1 + b) / (1 + n); where all wells have as many cells, b is how many means are as high.
    """
    means, counts = np.append(known.means, mean), np.append(known.cells, cells)
    return max(
        float(_as_high(means, between + known.within / counts + LEAST_VARIANCE))
        for between in known.between
    )


def _as_high(means: PerWell, variances: PerWell) -> np.floating:
    """Share of wells that are as far above the others' weighted mean as the last one is."""
    weights = 1 / variances
    rest = weights.sum() - weights
    others = ((weights * means).sum() - weights * means) / rest
    far = (means - others) / np.sqrt(variances + 1 / rest)
    return (far >= far[-1] - 1e-9 * max(1.0, abs(far[-1]))).mean()
