"""The linear part is scikit-learn's, whatever the number of classes."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as reference_loss

from profiler.classify.linear import fit_linear, log_loss


def cells(classes, *, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, 90)
    return np.eye(classes, 5)[labels] * 2 + random.normal(size=(90, 5)), labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_probabilities_are_scikit_learns(classes, strength):
    vectors, labels = cells(classes)
    model = LogisticRegression(C=strength, max_iter=1000).fit(vectors, labels)
    ours = fit_linear(vectors, labels, classes=classes, strength=strength)
    found = softmax(ours.logits(vectors), axis=1)
    np.testing.assert_allclose(found, model.predict_proba(vectors), atol=1e-6)
    assert log_loss(ours.logits(vectors), labels) == pytest.approx(reference_loss(labels, found))


def test_a_class_without_cells_is_never_found():
    vectors, labels = cells(2)
    ours = fit_linear(vectors, labels * 2, classes=4, strength=1.0)
    found = softmax(ours.logits(vectors), axis=1)
    assert (found[:, [1, 3]] == 0).all()
    two = fit_linear(vectors, labels, classes=2, strength=1.0)
    np.testing.assert_allclose(found[:, [0, 2]], softmax(two.logits(vectors), axis=1))


def test_one_class_alone_is_certain():
    ours = fit_linear(np.ones((3, 2)), np.array([1, 1, 1]), classes=2, strength=1.0)
    assert softmax(ours.logits(np.zeros((1, 2))), axis=1).tolist() == [[0, 1]]
