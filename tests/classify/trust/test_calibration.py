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


def test_groups_bring_it_a_standard_error_nearer_to_one():
    """The error against the spread over fresh draws; every group has a temperature of its own."""
    found, told = [], []
    for seed in range(200):
        logits, labels = honest(seed, cells=600)
        groups = np.repeat(np.arange(12), 50)
        own = np.exp(np.random.default_rng(seed + 1000).normal(np.log(2), 0.3, 12))[groups]
        sure = logits * own[:, None]
        plain = np.log(fit_temperature(sure, labels).value)
        found.append(plain)
        told.append(plain - np.log(fit_temperature(sure, labels, groups=groups).value))
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.15)
    assert min(told) > 0


def test_with_groups_an_overconfident_classifier_is_scaled_and_an_honest_one_left():
    logits, labels = honest(4)
    groups = np.arange(20_000) % 40
    sure = fit_temperature(logits * 3, labels, groups=groups)
    assert sure.value == pytest.approx(3, rel=0.04)
    unsure = fit_temperature(logits / 3, labels, groups=groups)
    assert unsure.value == pytest.approx(1 / 3, rel=0.04)
    for seed in range(20):
        logits, labels = honest(seed, cells=300)
        plain = fit_temperature(logits, labels).value
        kept = fit_temperature(logits, labels, groups=np.arange(300) % 10).value
        assert abs(np.log(kept)) <= abs(np.log(plain))
        assert kept == pytest.approx(1, abs=0.15)


def test_thirty_labels_do_not_decide_much():
    plain, kept = [], []
    for seed in range(100):
        logits, labels = honest(seed, cells=30)
        plain.append(fit_temperature(logits, labels).value)
        kept.append(fit_temperature(logits, labels, groups=np.arange(30) % 5).value)
    assert np.abs(np.log(kept)).mean() < 0.6 * np.abs(np.log(plain)).mean()
    assert max(kept) < 2
    assert min(kept) > 0.5


def test_one_group_decides_no_temperature_and_a_class_without_examples_has_none():
    logits, labels = honest(5, cells=200)
    assert fit_temperature(2 * logits, labels, groups=np.zeros(200)).value == 1
    groups = np.arange(200) % 8
    never = np.column_stack([2 * logits, np.full(200, -np.inf)])
    expected = fit_temperature(2 * logits, labels, groups=groups).value
    assert fit_temperature(never, labels, groups=groups).value == pytest.approx(expected, rel=1e-4)


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
