"""How far the controls themselves spread in a feature: far from them is no news there.

Some features are nearly alike in most cells and enormous in a few, as Hu moments of cells that are
hardly askew are: a robust standard deviation says little of them.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int, Shaped

from profiler.profile.correction.compress import LIMIT

Values: TypeAlias = Float[np.ndarray, "*row feature"]
PerFeature: TypeAlias = Float[np.ndarray, " feature"]


def compressed(values: Values) -> Values:
    """Bring far values near: `5 asinh(z / 5)`, and 0 where there is no value.

    Args:
        values: Robust standard deviations from the controls.
    """
    return np.nan_to_num(_asinh(values), nan=0.0)


def control_spread(
    controls: Float[np.ndarray, "control feature"],
    *,
    plate: Shaped[np.ndarray, " control"] | None = None,
) -> PerFeature:
    """Spread of the controls about their plate's median, compressed: a root mean square.

    Where they lie does not count: it is not 0 where profiles are normalised to all wells, or
    where batches were corrected.

    Args:
        controls: In robust standard deviations; NaN where there is no value.
        plate: Of each control; by default all are of one.

    Returns:
        1 at least, also where there are no controls.

    >>> usual, rare = [-1.0, -0.5, 0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0, 1e6]
    >>> control_spread(np.array([usual, rare]).T).round(1).tolist()
    [1.0, 28.8]
    """
    centred = controls.copy()
    for rows in _of_plates(len(controls), plate):
        centred[rows] -= medians(controls[rows])
    known = np.isfinite(controls).sum(axis=0)
    squares = (compressed(centred) ** 2).sum(axis=0)
    return np.sqrt(np.maximum(squares / np.maximum(known, 1), 1.0))


def medians(values: Float[np.ndarray, "row feature"]) -> PerFeature:
    """Median of every feature's values; 0 where it has none."""
    known, result = np.isfinite(values).any(axis=0), np.zeros(values.shape[1])
    result[known] = np.nanmedian(values[:, known], axis=0)
    return result


def furthest(values: PerFeature, spread: PerFeature, *, most: int) -> Int[np.ndarray, " found"]:
    """Which features are furthest out relative to the spread of the controls, the first one first.

    Args:
        values: Robust standard deviations from the controls; those without a value come last.
        spread: From `control_spread`.
        most: How many are asked for.
    """
    return np.argsort(-np.abs(_asinh(values)) / spread, kind="stable")[:most]  # NaN sorts last


def _asinh(values: Values) -> Values:
    return LIMIT * np.arcsinh(values / LIMIT)


def _of_plates(n_rows: int, plate: np.ndarray | None) -> list[np.ndarray]:
    if plate is None:
        return [np.arange(n_rows)]
    return [np.flatnonzero(plate == name) for name in np.unique(plate)]
