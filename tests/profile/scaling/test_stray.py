"""How far controls stray: by hand, on heavy tails, and at the edges."""

import numpy as np
import pytest

from profiler.profile.scaling.stray import compressed, furthest, straying

RANDOM = np.random.default_rng(4)


def test_far_values_are_brought_near_and_near_ones_stay():
    near = compressed(np.array([[0.1, -1.0, 1e4, np.nan]]))[0]
    np.testing.assert_allclose(near, [0.1, -0.9934, 41.47, 0], rtol=1e-3)


def test_straying_is_by_hand():
    controls = np.array([[3.0, 0.1, np.nan], [-4.0, 0.2, 2.0], [0.0, np.nan, np.nan]])
    far = 5 * np.arcsinh(np.array([3.0, -4.0]) / 5)
    by_hand = [np.sqrt((far**2).sum() / 3), 1.0, 5 * np.arcsinh(2 / 5)]
    np.testing.assert_allclose(straying(controls), by_hand)


def test_normal_controls_do_not_stray_and_heavy_tails_do():
    normal, heavy = RANDOM.normal(size=(5_000, 1)), RANDOM.standard_cauchy(size=(5_000, 1)) ** 3
    stray = straying(np.hstack([normal, heavy]))
    assert stray[0] == pytest.approx(1, abs=0.03)
    assert stray[1] > 5


def test_without_controls_nothing_is_known_to_stray():
    np.testing.assert_array_equal(straying(np.zeros((0, 3))), np.ones(3))
    np.testing.assert_array_equal(straying(np.full((4, 1), np.nan)), [1])


def test_what_is_far_where_controls_keep_still_comes_first():
    moved = np.array([90.0, -16.0, np.nan, 15.0])
    still = np.ones(4)
    assert furthest(moved, still, most=4).tolist() == [0, 1, 3, 2]
    assert furthest(moved, np.array([5.0, 1, 1, 1]), most=2).tolist() == [1, 3]
