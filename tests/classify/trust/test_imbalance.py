"""Offsets turn one class mix into another; weights agree with scikit-learn."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight

from profiler.classify.trust.imbalance import adjusted, balanced_weights, prior_offsets

LABELS = np.repeat([0, 1, 2], [90, 9, 1])


def test_offsets_are_logarithms_of_shares():
    np.testing.assert_allclose(prior_offsets(LABELS, classes=3), np.log([0.9, 0.09, 0.01]))
    np.testing.assert_allclose(prior_offsets(LABELS, classes=3, strength=0.0), 0)


def test_a_class_without_cells_has_a_finite_offset():
    offsets = prior_offsets(LABELS, classes=4)
    np.testing.assert_allclose(offsets, np.log(np.array([90, 9, 1, 0.5]) / 100.5))


def test_adjusting_is_bayes_rule_for_equal_classes():
    random = np.random.default_rng(0)
    likelihood = np.log(random.dirichlet(np.ones(3), size=50))
    posterior = log_softmax(likelihood + np.log([0.9, 0.09, 0.01]), axis=1)
    equal = log_softmax(adjusted(posterior, prior_offsets(LABELS, classes=3)), axis=1)
    np.testing.assert_allclose(equal, log_softmax(likelihood, axis=1))


def test_adjusting_helps_rare_classes():
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], [1900, 100])
    x = random.normal(2.0 * labels, 1)
    shares = np.log([0.95, 0.05])
    logits = np.stack([-0.5 * x**2, -0.5 * (x - 2) ** 2], axis=1) + shares
    even = adjusted(logits, prior_offsets(labels, classes=2))
    before, after = (balanced_accuracy_score(labels, each.argmax(1)) for each in (logits, even))
    assert after > before + 0.1
    assert after == pytest.approx(0.841, abs=0.03)  # the normal distribution up to 1


def test_weights_agree_with_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(balanced_weights(LABELS, classes=3), expected)


def test_weights_by_effective_numbers():
    weights = balanced_weights(LABELS, classes=4, beta=0.9)
    effective = (1 - 0.9 ** np.array([90, 9, 1])) / 0.1
    np.testing.assert_allclose(weights[:3] / weights[0], effective[0] / effective)
    assert weights[3] == 0
    assert weights[LABELS].mean() == pytest.approx(1)
    np.testing.assert_allclose(balanced_weights(LABELS, classes=3, beta=0.0), 1)


def test_a_beta_beyond_one_is_refused():
    with pytest.raises(ValueError, match=r"beta of 1\.5; expected 0"):
        balanced_weights(LABELS, classes=3, beta=1.5)
