"""Profiles as points: against scikit-learn's PCA, and at the edges."""

import numpy as np
import polars as pl
import pytest
from sklearn.cluster import KMeans
from sklearn.covariance import oas
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from profiler.phenotype.space import (
    MOST_AXES,
    Axes,
    fit_axes,
    has_profile,
    profile_space,
    shrunk,
    whitened,
)
from profiler.profile.scaling.control_spread import compressed

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


def test_no_axes_stay_none():
    assert whitened(Axes(np.zeros(3), np.zeros((3, 0))), np.zeros((9, 0))).matrix.shape == (3, 0)


def test_two_controls_stretch_no_direction_more_than_another():
    """They differ by 1 and 2: 2.5 along an axis, squared and on average."""
    found = whitened(plain(2), np.array([[0.0, 0.0], [1.0, 2.0]])).matrix
    np.testing.assert_allclose(found, np.eye(2) / np.sqrt(2.5), atol=1e-12)


@pytest.mark.parametrize(
    ("n_controls", "most"), [(2, 1.001), (5, 2.0), (30, 1.05), (100, 1.05), (1_000, 1.05)]
)
def test_controls_that_are_alike_in_all_directions_stretch_none(n_controls, most):
    """Without shrinkage one is stretched 22, 14, 7, 4 and 1.5 times as much as another."""
    for seed in range(3):
        usual = np.random.default_rng(seed).normal(size=(n_controls, 50))
        stretches = np.linalg.svd(whitened(plain(50), usual).matrix, compute_uv=False)
        assert stretches.max() < most * stretches.min()


@pytest.mark.parametrize("n_controls", [5, 10, 30, 60, 200])
def test_few_controls_do_not_hide_a_rare_group(n_controls):
    random = np.random.default_rng(n_controls)
    is_rare = np.arange(1_000) < 200
    points = random.normal(size=(1_000, 20)) + 5.0 * np.outer(is_rare, np.arange(20) == 0)
    stretched = points @ whitened(plain(20), random.normal(size=(n_controls, 20))).matrix

    def agreement(points: np.ndarray) -> float:
        found = KMeans(2, n_init=2, random_state=0).fit_predict(points)
        return float(adjusted_rand_score(is_rare, found))

    assert agreement(stretched) > agreement(points) - 0.02 > 0.9


@pytest.mark.parametrize("shape", [(4, 12), (30, 12), (60, 40)])
def test_shrinkage_is_that_of_scikit_learn(shape):
    rows = np.random.default_rng(5).normal(size=shape) * np.linspace(1, 3, shape[1])
    theirs, share = oas(rows, assume_centered=True)
    assert share > 1 / 11
    found = shrunk(rows.T @ rows / len(rows), n_rows=len(rows))
    np.testing.assert_allclose(found, theirs, atol=1e-12)


def test_a_well_known_covariance_keeps_a_ridge():
    covariance = np.diag([9.0, 1.0, 1.0, 1.0])
    ridge = (covariance + 0.1 * 3.0 * np.eye(4)) / 1.1
    np.testing.assert_allclose(shrunk(covariance, n_rows=3_000), ridge)
    np.testing.assert_array_equal(shrunk(np.zeros((4, 4)), n_rows=9), np.zeros((4, 4)))
