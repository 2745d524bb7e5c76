"""Spread of the controls: by hand, on heavy tails, wherever controls lie, and at the edges."""

import numpy as np
import pytest

from profiler.profile.scaling.control_spread import compressed, control_spread, furthest

RANDOM = np.random.default_rng(4)


def test_far_values_are_brought_near_and_near_ones_stay():
    near = compressed(np.array([[0.1, -1.0, 1e4, np.nan]]))[0]
    np.testing.assert_allclose(near, [0.1, -0.9934, 41.47, 0], rtol=1e-3)


def test_the_spread_is_by_hand():
    nan = np.nan
    controls = np.array([[9.0, 0.1, nan, 8.0], [2.0, 0.2, 2.0, nan], [6.0, nan, nan, 2.0]])
    # Medians are 6, .15, 2 and 5; from these they are off by 3, -4 and 0 in the first, and so on.
    by_hand = [
        np.sqrt(25 * (np.arcsinh(0.6) ** 2 + np.arcsinh(0.8) ** 2) / 3),
        1.0,
        1.0,
        5 * np.arcsinh(0.6),
    ]
    np.testing.assert_allclose(control_spread(controls), by_hand)


def test_controls_that_lie_far_from_0_do_not_spread_for_that():
    """As they do where a plate is normalised to all its wells, or a batch is corrected."""
    np.testing.assert_array_equal(control_spread(np.full((20, 1), 10.0)), [1])
    controls = 3 * RANDOM.standard_t(3, size=(50, 4))
    away = controls + np.array([0.0, 10.0, -200.0, 1e4])
    np.testing.assert_allclose(control_spread(away), control_spread(controls))


def test_each_plate_has_its_own_median():
    controls = 3 * RANDOM.standard_t(3, size=(40, 2))
    plate = np.repeat(["P", "Q"], [15, 25])
    of_each = [control_spread(controls[plate == name]) for name in ("P", "Q")]
    pooled = np.sqrt((15 * of_each[0] ** 2 + 25 * of_each[1] ** 2) / 40)
    assert min(np.ravel(of_each)) > 1
    np.testing.assert_allclose(control_spread(controls, plate=plate), pooled)
    moved = controls + np.where(plate == "P", 30.0, -8.0)[:, None]
    np.testing.assert_allclose(control_spread(moved, plate=plate), pooled)
    assert control_spread(moved).min() > 1.5 * pooled.max()
    controls[plate == "P", 1] = np.nan
    np.testing.assert_allclose(control_spread(controls, plate=plate)[1], of_each[1][1])


def test_controls_are_left_as_they_are():
    controls = np.array([[1.0], [3.0]])
    control_spread(controls)
    assert controls.tolist() == [[1.0], [3.0]]


def test_normal_controls_spread_by_one_and_heavy_tails_more():
    normal, heavy = RANDOM.normal(size=(5_000, 1)), RANDOM.standard_cauchy(size=(5_000, 1)) ** 3
    spread = control_spread(np.hstack([normal, heavy]))
    assert spread[0] == pytest.approx(1, abs=0.03)
    assert spread[1] > 5


def test_without_controls_no_spread_is_known():
    np.testing.assert_array_equal(control_spread(np.zeros((0, 3))), np.ones(3))
    nobody = np.array([], dtype=str)
    np.testing.assert_array_equal(control_spread(np.zeros((0, 3)), plate=nobody), np.ones(3))
    np.testing.assert_array_equal(control_spread(np.full((4, 1), np.nan)), [1])


def test_what_is_far_where_controls_are_near_comes_first():
    moved = np.array([90.0, -16.0, np.nan, 15.0])
    assert furthest(moved, np.ones(4), most=4).tolist() == [0, 1, 3, 2]
    assert furthest(moved, np.array([5.0, 1, 1, 1]), most=2).tolist() == [1, 3]


def test_what_has_no_value_comes_after_what_did_not_move():
    nothing = np.array([np.nan, 0.0, -0.0, np.nan, 0.1])
    assert furthest(nothing, np.ones(5), most=5).tolist() == [4, 1, 2, 0, 3]
