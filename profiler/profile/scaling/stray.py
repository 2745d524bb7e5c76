"""How far controls themselves stray in a feature: far from them is no news there.

Some features are nearly alike in most cells and enormous in a few, as Hu moments of cells that are
hardly askew are: a robust standard deviation says little of them.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from profiler.profile.correction.compress import LIMIT

Values: TypeAlias = Float[np.ndarray, "*row feature"]
PerFeature: TypeAlias = Float[np.ndarray, " feature"]


def compressed(values: Values) -> Values:
    """Bring far values near: `5 asinh(z / 5)`, and 0 where there is no value.

    Args:
        values: Robust standard deviations from the controls.
    """
    return np.nan_to_num(LIMIT * np.arcsinh(values / LIMIT), nan=0.0)


def straying(controls: Float[np.ndarray, "control feature"]) -> PerFeature:
    """How far controls stray from their own median, compressed: a root mean square, 1 at least.

    Args:
        controls: In their robust standard deviations; NaN where there is no value.

    >>> usual, rare = [-1.0, -0.5, 0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0, 1e6]
    >>> straying(np.array([usual, rare]).T).round(1).tolist()
    [1.0, 28.8]
    """
    known = np.isfinite(controls).sum(axis=0)
    squares = (compressed(controls) ** 2).sum(axis=0)
    return np.sqrt(np.maximum(squares / np.maximum(known, 1), 1.0))


def furthest(values: PerFeature, stray: PerFeature, *, most: int) -> Int[np.ndarray, " found"]:
    """Which features are furthest out for how far their controls stray, the first one first.

    Args:
        values: Robust standard deviations from the controls; one without a value comes last.
        stray: From `straying`.
        most: How many are asked for.
    """
    return np.argsort(-np.abs(compressed(values)) / stray, kind="stable")[:most]
