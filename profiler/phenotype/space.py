"""Profiles as points: compressed, so that no feature outshouts the rest, on principal axes."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from profiler.profile.features import feature_matrix
from profiler.profile.scaling.control_spread import compressed

MOST_AXES = 50
FLOAT_NOISE = 1e-9  # relative; a smaller spread is none
NEAR = 20  # neighbours of a control
ROUNDS = 3  # of stretching and looking who is near then
LEAST_SHRINKAGE = 1 / 11  # as much as a ridge of a tenth of the mean variance
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


def whitened(axes: Axes, usual: Points) -> Axes:
    """Stretch axes until neighbours differ alike in all directions, nearly.

    Most of what rows differ in, they differ in anyway, and that hides what few of them have of
    their own. Neighbours show what is usual, and nothing of what sets groups apart, be these
    treated or among the controls.

    Args:
        axes: From `fit_axes`.
        usual: Controls as points on these axes. Few of them hardly tell which directions are
            wide, and hardly stretch them; fewer than two tell nothing, and axes stay as they are.

    Source:
        Art, Gnanadesikan & Kettenring 1982, Utilitas Mathematica 21A:75, with nearest neighbours
        for closest pairs; turned as little as can be (Kessy et al. 2018, arXiv:1512.00809).
    """
    from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to import

    n_rows, n_axes = usual.shape
    if n_rows < 2 or not n_axes:
        return axes
    stretch, search = np.eye(n_axes), NearestNeighbors(n_neighbors=min(NEAR, n_rows - 1))
    for _ in range(ROUNDS):
        near = search.fit(usual @ stretch).kneighbors(return_distance=False)
        apart = (usual[:, None] - usual[near]).reshape(-1, n_axes)
        # Twenty pairs of each row, but they say no more than the rows do, less one for the mean.
        covariance = shrunk(apart.T @ apart / len(apart), n_rows=n_rows - 1)
        variance, directions = np.linalg.eigh(covariance)
        if variance[-1] <= 0:
            return axes
        stretch = (directions / np.sqrt(variance)) @ directions.T
    return Axes(axes.centre, axes.matrix @ stretch)


def shrunk(
    covariance: Float[np.ndarray, "axis axis"], *, n_rows: int
) -> Float[np.ndarray, "axis axis"]:
    """Shrink a covariance towards one that is alike in all directions.

    By as much of its unevenness as is chance, which is all of it where rows are few; and by 9% at
    least, which keeps directions narrow in which rows hardly differ: those are mostly noise.

    Args:
        covariance: Mean square of rows, or of their differences.
        n_rows: How many independent ones.

    Source:
        The oracle approximating shrinkage of Chen, Wiesel, Eldar & Hero 2010, IEEE Transactions
        on Signal Processing 58:5016, as scikit-learn's `oas`, which the tests hold it against.
    """
    n_axes = len(covariance)
    mean, square = np.trace(covariance) / n_axes, (covariance**2).mean()
    uneven = (n_rows + 1) * (square - mean**2 / n_axes)
    by_chance = (square + mean**2) / uneven if uneven > 0 else 1.0
    share = np.clip(by_chance, LEAST_SHRINKAGE, 1.0)
    return (1 - share) * covariance + share * mean * np.eye(n_axes)


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
