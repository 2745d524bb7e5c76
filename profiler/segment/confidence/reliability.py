"""Whether a stated probability is the share that is right. Host side, NumPy."""

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from profiler.segment.score import best_overlaps

BINS = 10


def is_right(truth: np.ndarray, found: np.ndarray) -> Bool[np.ndarray, " object"]:
    """Whether each found object shares more than half of its union with a true one.

    Args:
        truth: Label image, [height, width], 0 background, ids in any order.
        found: Label image of the same shape.

    Returns:
        One for each id of `found`, ascending.
    """
    return best_overlaps(truth, found)[1] > 0.5


def reliability(
    confidence: Float[np.ndarray, " object"], right: Bool[np.ndarray, " object"]
) -> pl.DataFrame:
    """Compare what was stated with what came true, in bins of equal width.

    Args:
        confidence: Stated probability of being right, 0 to 1.
        right: Whether it was.

    Returns:
        One row per bin that holds an object: `low`, `high` (its ends), `objects`, `confidence`
        (mean stated), `right` (share that was).
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    table = pl.DataFrame({"place": place, "confidence": confidence, "right": right})
    rows = table.group_by("place").agg(
        pl.len().alias("objects"), pl.col("confidence").mean(), pl.col("right").mean()
    )
    ends = (pl.col("place") / BINS).alias("low"), ((pl.col("place") + 1) / BINS).alias("high")
    return rows.sort("place").select(*ends, "objects", "confidence", "right")


def calibration_error(
    confidence: Float[np.ndarray, " object"], right: Bool[np.ndarray, " object"]
) -> float:
    """Expected calibration error: mean distance of stated and true shares, bins by their objects.

    Source:
        Naeini, Cooper & Hauskrecht 2015 (AAAI), with ten bins of equal width.
    """
    table = reliability(confidence, right)
    gap = (table["confidence"] - table["right"]).abs().to_numpy()
    return float(np.average(gap, weights=table["objects"].to_numpy()))
