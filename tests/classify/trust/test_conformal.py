"""Thresholds worked by hand, and coverage as promised in simulation."""

import numpy as np
import pytest
from scipy.special import softmax

from profiler.classify.trust.conformal import (
    coverage_table,
    fit_conformal,
    needed,
    prediction_sets,
)


def two_classes(first):
    """Probabilities of the true class 0, of two."""
    first = np.asarray(first)
    return np.stack([first, 1 - first], axis=1)


def test_threshold_by_hand():
    # Scores .1 to .9 of nine cells: the 8th smallest of 10 x .8, the 9th of 10 x .9.
    chance, labels = two_classes(1 - np.arange(1, 10) / 10), np.zeros(9, int)
    for coverage, threshold in ((0.8, 0.8), (0.9, 0.9), (0.5, 0.5), (0.05, 0.1)):
        found = fit_conformal(chance, labels, coverage=coverage)
        assert found.thresholds[0] == pytest.approx(threshold)
        assert found.examples.tolist() == [9, 0]


@pytest.mark.parametrize(("coverage", "least"), [(0.9, 9), (0.8, 4), (0.95, 19), (0.5, 1)])
def test_too_few_examples_put_a_class_in_every_set(coverage, least):
    assert needed(coverage) == least
    for cells in (least - 1, least):
        labels = np.r_[np.zeros(cells, int), np.ones(40, int)]
        found = fit_conformal(
            two_classes(np.r_[np.full(cells, 0.9), np.full(40, 0.1)]), labels, coverage=coverage
        )
        is_rare = cells < least
        assert found.too_few.tolist() == ([0] if is_rare else [])
        assert prediction_sets(two_classes([0.0]), found)[0, 0] == is_rare


def test_sets_by_hand():
    learned = fit_conformal(two_classes([0.7] * 9), np.zeros(9, int), per_class=False)
    sets = prediction_sets(np.array([[0.95, 0.05], [0.7, 0.3], [0.5, 0.5]]), learned)
    assert sets.tolist() == [[True, False], [True, False], [False, False]]


def draw(random, counts):
    """Class 0 easy, class 1 hard: the mean of its logits is lower."""
    labels = np.repeat(np.arange(len(counts)), counts)
    logits = random.normal(0, 1, (len(labels), len(counts)))
    logits[np.arange(len(labels)), labels] += np.array([4.0, 0.5, 2.0])[labels]
    return softmax(logits, axis=1), labels


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_coverage_is_as_stated_in_simulation(coverage):
    random = np.random.default_rng(0)
    tables = []
    for _ in range(60):
        chance, labels = draw(random, (200, 40, 100))
        learned = [
            fit_conformal(chance, labels, coverage=coverage, per_class=each)
            for each in (True, False)
        ]
        fresh, truth = draw(random, (400, 80, 200))
        tables.append(
            [coverage_table(prediction_sets(fresh, x), truth)["Covered"] for x in learned]
        )
    per_class, marginal = np.mean(tables, axis=0)
    np.testing.assert_allclose(per_class, coverage, atol=0.025)
    assert marginal[0] == pytest.approx(coverage, abs=0.01)
    assert marginal[2] < coverage - 0.1  # the hard class pays for the easy one


def test_coverage_table_counts():
    sets = np.array([[True, False, False], [True, True, False], [False, False, False]])
    table = coverage_table(sets, np.array([0, 1, 1]))
    assert table.rows() == [
        (None, 3, pytest.approx(2 / 3), 1.0, pytest.approx(1 / 3), pytest.approx(1 / 3)),
        (0, 1, 1.0, 1.0, 1.0, 0.0),
        (1, 2, 0.5, 1.0, 0.0, 0.5),
        (2, 0, None, None, None, None),
    ]


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90.0])
def test_a_coverage_that_is_no_share_is_refused(coverage):
    with pytest.raises(ValueError, match="expected a share between 0 and 1"):
        fit_conformal(two_classes([0.5]), np.array([0]), coverage=coverage)
