"""Profiles as points: compressed, so that no feature outshouts the rest, on principal axes."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from profiler.profile.correction.compress import LIMIT
from profiler.profile.features import feature_matrix

MOST_AXES = 50
FLOAT_NOISE = 1e-9  # relative; a smaller spread is none
SHARE = 0.99  # of the variance, that the axes hold at least unless there are MOST_AXES

Values: TypeAlias = Float[np.ndarray, "row feature"]
Points: TypeAlias = Float[np.ndarray, "row axis"]


class Axes(NamedTuple):
    """Where the compressed features are projected: `(values - centre) @ matrix`."""

    centre: Float[np.ndarray, " feature"]
    matrix: Float[np.ndarray, "feature axis"]

    def __call__(self, values: Values) -> Points:
        """Project rows; a value that is not there counts as 0, no effect."""
        return (compressed(values) - self.centre) @ self.matrix


class Space(NamedTuple):
    """The wells that have a profile, as points.

    Attributes:
        points: Euclidean coordinates on principal axes, perhaps none of them.
        rows: Where these wells are in the table.
    """

    points: Points
    rows: Int[np.ndarray, " row"]


def compressed(values: Values) -> Values:
    """Bring far values near: `5 asinh(z / 5)`, and 0 where there is no value.

    Args:
        values: Robust standard deviations from the controls.
    """
    return np.nan_to_num(LIMIT * np.arcsinh(values / LIMIT), nan=0.0)


def has_profile(values: Values) -> Bool[np.ndarray, " row"]:
    """Tell the rows that have at least half of the features that any row has, and one."""
    known = np.isfinite(values)
    n_used = int(known.any(axis=0).sum())
    return (2 * known.sum(axis=1) >= n_used) & (n_used > 0)


def fit_axes(values: Values, *, weights: Float[np.ndarray, " feature"] | None = None) -> Axes:
    """Find the principal axes of the compressed values.

    Args:
        values: At least one row.
        weights: What a feature's square counts for; 1 by default.

    Returns:
        As many axes as hold 99% of the variance, 50 at most; none where nothing varies.
    """
    shape = compressed(values)
    centre = shape.mean(axis=0) if len(shape) else np.zeros(shape.shape[1])
    root = np.ones(shape.shape[1]) if weights is None else np.sqrt(weights)
    spread, axes = _principal((shape - centre) * root)
    if not len(spread) or spread[0] <= FLOAT_NOISE * np.abs(shape).max():
        return Axes(centre, np.zeros((shape.shape[1], 0)))
    held = np.cumsum(spread**2) / (spread**2).sum()
    n_axes = min(int(np.searchsorted(held, SHARE)) + 1, len(held), MOST_AXES)
    axes = axes[:n_axes]
    largest = np.abs(axes).argmax(axis=1)  # an axis has no sign of its own: make this positive
    return Axes(centre, root[:, None] * axes.T * np.sign(axes[np.arange(n_axes), largest]))


def _principal(centred: Values) -> tuple[Float[np.ndarray, " axis"], Float[np.ndarray, "axis f"]]:
    """Singular values and axes, the largest first; by the covariance where rows are many."""
    if centred.shape[0] <= centred.shape[1]:
        _, spread, axes = np.linalg.svd(centred, full_matrices=False)
        return spread, axes
    squares, axes = np.linalg.eigh(centred.T @ centred)
    return np.sqrt(np.maximum(squares[::-1], 0.0)), axes.T[::-1]


def profile_space(wells: pl.DataFrame, *, features: Sequence[str]) -> Space:
    """Place the wells that have a profile on their principal axes.

    Args:
        wells: Profiles, normalised to the controls so that 0 is no effect.
        features: The columns that make a profile.
    """
    values = feature_matrix(wells, features)
    rows = np.flatnonzero(has_profile(values))
    if not len(rows):
        return Space(np.zeros((0, 0)), rows)
    return Space(fit_axes(values[rows])(values[rows]), rows)
