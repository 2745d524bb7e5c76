"""Mahalanobis distance: how far a well is from its plate's controls, features taken together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int64

from profiler.profile.controls import is_role
from profiler.profile.features import feature_columns, feature_matrix, phenotype_features

LEAST_CONTROLS = 3  # on a plate: two to centre on when the third is scored
FOLDS = 10

Matrix = Float[np.ndarray, "well feature"]


class Shrunk(NamedTuple):
    """A covariance matrix drawn towards a multiple of the identity.

    Attributes:
        axes: Directions in which the controls vary, [axis, feature].
        variance: Along each of them, after shrinking.
        rest: Variance in every other direction.
        share: How far it is drawn, from 0 to 1.
    """

    axes: Float[np.ndarray, "axis feature"]
    variance: Float[np.ndarray, " axis"]
    rest: float
    share: float


def mahalanobis(profiles: pl.DataFrame, *, features: Sequence[str] | None = None) -> pl.Series:
    """Give the Mahalanobis distance of every well to the negative controls of its plate.

    The centre is the mean of the plate's controls; the covariance is of all plates' controls
    about their own plate's, shrunk since there are more features than controls. Controls are
    scored by the others: a tenth at a time is left out of centre and covariance.

    Args:
        profiles: Wells with features on one scale, `Metadata_Plate` and `Metadata_Role`.
        features: Columns that make a profile; all of a phenotype if not given. Those that
            are undefined in a control, or vary in none, are left out.

    Returns:
        One value per row, 1 for a typical control if features were independent: the distance
        over the root of the number of features. Null for wells that lack one of the
        features used, and on plates with fewer than three controls.

    Source:
        Mahalanobis 1936, Proc Nat Inst Sci India 2:49; shrinkage of Ledoit & Wolf 2004, J
        Multivariate Analysis 88:365, against sklearn.covariance in
        tests/hits/scores/test_distance.py.
    """
    names = phenotype_features(feature_columns(profiles)) if features is None else list(features)
    values = feature_matrix(profiles, names)
    is_control = profiles.select(is_role("negative")).to_series().to_numpy().astype(bool)
    is_control &= np.isfinite(values).any(axis=1)
    plate = (profiles["Metadata_Plate"].rank("dense").fill_null(0)).to_numpy().astype(np.int64)
    enough = np.bincount(plate[is_control], minlength=int(plate.max(initial=0)) + 1)
    is_control &= enough[plate] >= LEAST_CONTROLS
    values = values[:, np.isfinite(values[is_control]).all(axis=0)]
    distance = np.full(len(values), np.nan)
    if is_control.any() and values.shape[1]:
        distance[~is_control] = _distances(values, plate, is_control, ~is_control)
        fold = _folds(plate, is_control)
        for each in np.unique(fold[is_control]):
            left_out = is_control & (fold == each)
            distance[left_out] = _distances(values, plate, is_control & ~left_out, left_out)
    return pl.Series("mahalanobis", distance, dtype=pl.Float64, nan_to_null=True)


def shrunk_covariance(centred: Matrix) -> Shrunk:
    """Estimate a covariance from few wells.

    Args:
        centred: Wells about their mean, at least one of which is not all 0.
    """
    n, n_features = centred.shape
    axes, square = _axes(centred)
    variance = square / n
    mean = float(variance.sum() / n_features)
    scatter = float((variance**2).sum())
    apart = (scatter - n_features * mean**2) / n_features  # of the sample from the target
    noise = float(((centred**2).sum(axis=1) ** 2).sum() / n - scatter) / (n * n_features)
    share = min(max(noise, 0.0) / apart, 1.0) if apart > 0 else 1.0
    return Shrunk(axes, (1 - share) * variance + share * mean, share * mean, share)


def _axes(
    centred: Matrix,
) -> tuple[Float[np.ndarray, "axis feature"], Float[np.ndarray, " axis"]]:
    """Directions in which wells vary, and the sum of squares along each.

    Of the products of wells or of features, whichever are fewer: many times faster than the
    singular values of all.
    """
    n, n_features = centred.shape
    if n_features <= n:
        square, axes = np.linalg.eigh(centred.T @ centred)
        return axes.T, np.maximum(square, 0.0)
    square, wells = np.linalg.eigh(centred @ centred.T)
    varies = square > n * np.finfo(float).eps * square[-1]
    square = square[varies]
    return (wells[:, varies] / np.sqrt(square)).T @ centred, square


def _distances(
    values: Matrix,
    plate: Int64[np.ndarray, " well"],
    is_control: Bool[np.ndarray, " well"],
    wanted: Bool[np.ndarray, " well"],
) -> Float[np.ndarray, " wanted"]:
    centre = np.full((int(plate.max()) + 1, values.shape[1]), np.nan)
    for each in np.unique(plate[is_control]):
        centre[each] = values[is_control & (plate == each)].mean(axis=0)
    centred = values[is_control] - centre[plate[is_control]]
    if not (np.abs(centred) > 0).any():
        return np.full(int(wanted.sum()), np.nan)
    # Plate means fitted to the controls take up as many degrees of freedom as there are plates.
    freedom = len(centred) - len(np.unique(plate[is_control]))
    shrunk = shrunk_covariance(centred * np.sqrt(len(centred) / max(freedom, 1)))
    away = values[wanted] - centre[plate[wanted]]
    along = away @ shrunk.axes.T
    outside = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
    tiny = np.finfo(float).eps * shrunk.variance.max()
    weight = np.divide(
        1.0, shrunk.variance, out=np.zeros_like(shrunk.variance), where=shrunk.variance > tiny
    )
    square = (along**2 * weight).sum(axis=1)
    if shrunk.rest > tiny:
        square += outside / shrunk.rest
    return np.sqrt(square / values.shape[1])


def _folds(
    plate: Int64[np.ndarray, " well"], is_control: Bool[np.ndarray, " well"]
) -> Int64[np.ndarray, " well"]:
    """Deal each plate's controls out over the folds; never all of a plate's into one."""
    fold = np.zeros(len(plate), dtype=np.int64)
    for each in np.unique(plate[is_control]):
        rows = np.flatnonzero(is_control & (plate == each))
        fold[rows] = np.arange(len(rows)) % FOLDS
    return fold
