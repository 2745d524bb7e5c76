"""Profiles as points: against scikit-learn's PCA, and at the edges."""

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import PCA

from profiler.phenotype.space import MOST_AXES, compressed, fit_axes, has_profile, profile_space

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


def test_far_values_are_brought_near_and_near_ones_stay():
    near = compressed(np.array([[0.1, -1.0, 1e4, np.nan]]))[0]
    np.testing.assert_allclose(near, [0.1, -0.9934, 41.47, 0], rtol=1e-3)


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
