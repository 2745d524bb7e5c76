"""Temperatures that were planted are found; errors agree with scikit-learn and with hands."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from profiler.classify.trust.calibration import (
    at_temperature,
    calibration,
    fit_temperature,
    reliability,
)


def honest(seed, cells=20_000, classes=4):
    """Logits whose probabilities are true, and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (cells, classes))
    chance = softmax(logits, axis=1).cumsum(axis=1)
    return logits, (chance < random.random((cells, 1))).sum(axis=1).clip(max=classes - 1)


@pytest.mark.parametrize("planted", [0.3, 1.0, 4.0])
def test_a_planted_temperature_is_found(planted):
    logits, labels = honest(0)
    found = fit_temperature(logits * planted, labels)
    assert found.is_decided
    assert found.value == pytest.approx(planted, rel=0.03)


def test_the_derivative_of_the_likelihood_is_zero_there():
    logits, labels = honest(1, cells=300)
    logits = logits * 2.5
    rows = np.arange(len(labels))

    def slope(inverse):  # of the log-likelihood by 1 / temperature
        chance = softmax(logits * inverse, axis=1)
        return (logits[rows, labels] - (chance * logits).sum(axis=1)).mean()

    assert fit_temperature(logits, labels).value == pytest.approx(
        1 / brentq(slope, 0.01, 10), rel=1e-3
    )


def test_temperature_keeps_the_first_class_and_lowers_the_error():
    logits, labels = honest(2)
    sure = logits * 3
    after = at_temperature(sure, fit_temperature(sure, labels))
    before = softmax(sure, axis=1)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    np.testing.assert_allclose(after.sum(axis=1), 1)
    assert calibration(after, labels).error < 0.02 < 0.1 < calibration(before, labels).error
    assert calibration(after, labels).nll < calibration(before, labels).nll


def test_cells_that_decide_no_temperature():
    logits = np.array([[5.0, 0], [0, 5]])
    assert fit_temperature(logits, np.array([0, 1])) == (1.0, False)
    assert fit_temperature(logits, np.array([1, 0])) == (100.0, False)


def test_errors_agree_with_scikit_learn():
    logits, labels = honest(3, cells=500)
    chance = softmax(logits, axis=1)
    found = calibration(chance, labels, bins=10)
    assert found.nll == pytest.approx(log_loss(labels, chance))
    assert found.brier == pytest.approx(brier_score_loss(labels, chance, scale_by_half=False))
    right = chance.argmax(axis=1) == labels
    share, sure = calibration_curve(right, chance.max(axis=1), n_bins=10)
    table = reliability(chance, labels, bins=10).drop_nulls()
    np.testing.assert_allclose(table["Accuracy"], share)
    np.testing.assert_allclose(table["Confidence"], sure)
    error = (np.abs(share - sure) * table["Cells"].to_numpy()).sum() / 500
    assert found.error == pytest.approx(error)


def test_expected_calibration_error_by_hand():
    chance = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    labels = np.array([0, 1, 1, 0])
    # Two bins of (.5, .75], (.75, 1]: |.65 - .5| and |.9 - .5|, two cells each.
    table = reliability(chance, labels, bins=4)
    assert table["Cells"].to_list() == [0, 0, 2, 2]
    assert table["Accuracy"].to_list() == [None, None, 0.5, 0.5]
    assert table["Confidence"].to_list() == [None, None, pytest.approx(0.65), pytest.approx(0.9)]
    assert calibration(chance, labels, bins=4).error == pytest.approx((0.15 + 0.4) / 2)


def test_no_chance_for_the_truth_is_infinitely_unlikely():
    assert calibration(np.array([[1.0, 0.0]]), np.array([1])).nll == np.inf
    assert log_softmax(np.array([0.0]))[0] == 0  # and a certain truth costs nothing
    assert calibration(np.array([[1.0, 0.0]]), np.array([0])).nll == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 2], "labels from 0 to 2; expected 0 to 1"), ([], "no labelled cells")],
)
def test_labels_without_a_column_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(np.zeros((len(labels), 2)), np.array(labels, int))
