"""Reliability against scikit-learn's curve and by hand; which objects are right."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from profiler.segment.confidence.reliability import calibration_error, is_right, reliability


def drawn(n: int = 5_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 1, n)
    return confidence, rng.random(n) < confidence


def test_the_table_is_scikit_learns_curve():
    confidence, right = drawn()
    share, mean = calibration_curve(right, confidence, n_bins=10)
    table = reliability(confidence, right)
    np.testing.assert_allclose(table["right"], share)
    np.testing.assert_allclose(table["confidence"], mean)
    assert table["objects"].sum() == len(right)


def test_what_is_drawn_as_stated_has_no_error_and_its_opposite_much():
    confidence, right = drawn()
    assert calibration_error(confidence, right) < 0.02
    assert calibration_error(confidence, ~right) > 0.5


def test_the_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.15, 1.0])
    right = np.array([True, True, True, False, True, True])
    # bin .9 to 1: five objects, stated .96, right .8; bin .1 to .2: one, stated .15, right 1
    assert calibration_error(confidence, right) == pytest.approx((5 * 0.16 + 0.85) / 6)
    assert reliability(confidence, right).select("low", "objects").rows() == [(0.1, 1), (0.9, 5)]


def test_an_object_is_right_if_it_shares_more_than_half():
    truth, found = np.zeros((2, 10, 30), np.int32)
    truth[:, :10], truth[:, 20:] = 7, 3
    found[:, :8], found[:, 10:13], found[:5, 20:] = 9, 1, 2  # .8, nothing, exactly .5
    assert is_right(truth, found).tolist() == [False, False, True]  # by ascending id


def test_without_truth_nothing_is_right_and_without_objects_nothing_is_asked():
    found = np.eye(4, dtype=np.int32)
    assert is_right(0 * found, found).tolist() == [False]
    assert is_right(found, 0 * found).tolist() == []
