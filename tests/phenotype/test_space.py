"""Profiles as points: against scikit-learn's PCA, and at the edges."""

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import PCA

from profiler.phenotype.space import (
    MOST_AXES,
    Axes,
    fit_axes,
    has_profile,
    profile_space,
    whitened,
)
from profiler.profile.scaling.stray import compressed

RANDOM = np.random.default_rng(1)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (300, 80)])
def test_axes_are_principal_components(shape):
    values = RANDOM.normal(size=shape) * np.linspace(1, 9, shape[1])
    axes = fit_axes(values)
    theirs = PCA(axes.matrix.shape[1]).fit_transform(compressed(values))
    np.testing.assert_allclose(np.abs(axes(values)), np.abs(theirs), atol=1e-8)


def test_axes_hold_99_percent_of_the_variance_or_are_fifty():
    values = RANDOM.normal(size=(400, 10)) * [100, 50, 1e-3, *[1e-4] * 7]
    assert fit_axes(values).matrix.shape[1] == 2
    assert fit_axes(RANDOM.normal(size=(200, 120))).matrix.shape[1] == MOST_AXES


def test_a_profile_has_half_of_the_features_that_any_row_has():
    nan = np.nan
    values = np.array([[1, 2, nan, nan, nan], [1, 2, 3, 4, nan], [1, nan, nan, nan, nan]])
    assert has_profile(values).tolist() == [True, True, False]
    assert not has_profile(np.full((3, 2), nan)).any()
    assert not has_profile(np.zeros((3, 0))).any()


def test_nothing_varies_nothing_is_an_axis():
    wells = pl.DataFrame({"x": [3.0, 3.0, 3.0], "y": [0.1, 0.1, 0.1]})
    assert profile_space(wells, features=["x", "y"]).points.shape == (3, 0)
    assert profile_space(wells.head(1), features=["x", "y"]).points.shape == (1, 0)
    empty = pl.DataFrame({"x": [None, None]}, schema={"x": pl.Float64})
    assert profile_space(empty, features=["x"]).points.shape == (0, 0)


def plain(n: int) -> Axes:
    return Axes(np.zeros(n), np.eye(n))


def spreads(points: np.ndarray) -> np.ndarray:
    return np.sqrt(np.linalg.eigvalsh(np.cov(points, rowvar=False)))


def test_one_cloud_becomes_rounder_whichever_way_it_is_turned():
    cloud = RANDOM.normal(size=(1_500, 20)) * [12.0, 6.0, *[3.0] * 18]
    turn = np.linalg.qr(RANDOM.normal(size=(20, 20)))[0]
    for points in (cloud, cloud @ turn):
        assert spreads(points)[-1] > 3.8 * np.median(spreads(points))
        found = spreads(points @ whitened(plain(20), points).matrix)
        assert found[-1] < 2.5 * np.median(found)


def test_groups_come_further_apart_for_what_rows_differ_in_anyway():
    """Whitening by all the variance would draw them together, as it is partly theirs."""
    is_rare = np.arange(1_500) < 100
    points = RANDOM.normal(size=(1_500, 20)) * [8.0, *[1.0] * 19]
    points[is_rare, 1] += 9.0

    def apart(points: np.ndarray) -> float:
        gap = points[is_rare].mean(axis=0) - points[~is_rare].mean(axis=0)
        return float(np.linalg.norm(gap) / spreads(points[~is_rare]).max())

    assert apart(points) < 1.3
    assert apart(points @ whitened(plain(20), points).matrix) > 2.2


@pytest.mark.parametrize("usual", [np.zeros((0, 2)), np.ones((1, 2)), np.ones((30, 2))])
def test_axes_stay_where_nothing_is_known_of_what_is_usual(usual):
    np.testing.assert_array_equal(whitened(plain(2), usual).matrix, np.eye(2))


def test_two_controls_are_enough_and_no_axes_none():
    assert np.isfinite(whitened(plain(2), np.array([[0.0, 0.0], [1.0, 2.0]])).matrix).all()
    assert whitened(Axes(np.zeros(3), np.zeros((3, 0))), np.zeros((9, 0))).matrix.shape == (3, 0)
