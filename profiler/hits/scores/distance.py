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
WELL = ("Metadata_Plate", "Metadata_Well")

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


class _Basis(NamedTuple):
    """What distances are computed from.

    Attributes:
        values: Of the features that no control lacks.
        plate: Of each well, as a number.
        is_control: Which wells centre and covariance rest on.
        n_left_out: Features that some such control lacks.
    """

    values: Matrix
    plate: Int64[np.ndarray, " well"]
    is_control: Bool[np.ndarray, " well"]
    n_left_out: int


def mahalanobis(profiles: pl.DataFrame, *, features: Sequence[str] | None = None) -> pl.Series:
    """Give the Mahalanobis distance of every well to the negative controls of its plate.

    The centre is the mean of the plate's controls; the covariance is of all plates' controls
    about their own plate's, shrunk since there are more features than controls. Controls are
    scored by the others: a tenth at a time is left out of centre and covariance.

    Args:
        profiles: Wells with features on one scale, `Metadata_Plate` and `Metadata_Role`.
            Controls are dealt out by `Metadata_Well`, or if there is none as they come.
        features: Columns that make a profile; all of a phenotype if not given. Controls that
            lack over half of them are left out first, then those that are undefined in a
            control (`n_left_out`), or vary in none.

    Returns:
        One value per row, 1 for a typical control if features were independent: the distance
        over the root of the number of features. Null for wells that lack one of the
        features used, and on plates with fewer than three such controls.

    Source:
        Mahalanobis 1936, Proc Nat Inst Sci India 2:49; shrinkage of Ledoit & Wolf 2004, J
        Multivariate Analysis 88:365, against sklearn.covariance in
        tests/hits/scores/test_distance.py.
    """
    order = profiles.select(pl.arg_sort_by(n for n in WELL if n in profiles.columns)).to_series()
    values, plate, is_control, _ = _basis(profiles[order], features)
    distance = np.full(len(values), np.nan)
    if is_control.any() and values.shape[1]:
        distance[~is_control] = _distances(values, plate, is_control, ~is_control)
        fold = _folds(plate, is_control)
        for each in np.unique(fold[is_control]):
            left_out = is_control & (fold == each)
            distance[left_out] = _distances(values, plate, is_control & ~left_out, left_out)
    in_order = np.empty_like(distance)
    in_order[order.to_numpy()] = distance
    return pl.Series("mahalanobis", in_order, dtype=pl.Float64, nan_to_null=True)


def n_left_out(profiles: pl.DataFrame) -> int:
    """Count the features that `mahalanobis` leaves out, as some negative control lacks them."""
    return _basis(profiles, None).n_left_out


def _basis(profiles: pl.DataFrame, features: Sequence[str] | None) -> _Basis:
    names = phenotype_features(feature_columns(profiles)) if features is None else list(features)
    values = feature_matrix(profiles, names)
    is_control = profiles.select(is_role("negative")).to_series().to_numpy().astype(bool)
    is_control &= _has_most(values, is_control)
    plate = (profiles["Metadata_Plate"].rank("dense").fill_null(0)).to_numpy().astype(np.int64)
    enough = np.bincount(plate[is_control], minlength=int(plate.max(initial=0)) + 1)
    is_control &= enough[plate] >= LEAST_CONTROLS
    is_used = np.isfinite(values[is_control]).all(axis=0)
    return _Basis(values[:, is_used], plate, is_control, int((~is_used).sum()))


def _has_most(values: Matrix, is_control: Bool[np.ndarray, " well"]) -> Bool[np.ndarray, " well"]:
    """Wells with at least half of the features that any control has; one gap costs a feature."""
    is_finite = np.isfinite(values)
    known = is_finite[is_control].any(axis=0)
    n = is_finite[:, known].sum(axis=1)
    return (n > 0) & (2 * n >= known.sum())


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
