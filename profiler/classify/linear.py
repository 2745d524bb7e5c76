"""Multinomial logistic regression: scikit-learn's, as one matrix and one constant per class."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax

from profiler.classify.trust.shapes import Classes, Logits, PerClass, Vectors

MOST_ROUNDS = 1000  # of the optimiser; thousands of correlated features need some hundred


class Linear(NamedTuple):
    """From vectors to logits.

    Attributes:
        weights: [feature, class].
        bias: Of each class; minus infinity for one that had no examples.
    """

    weights: Float[np.ndarray, "feature class"]
    bias: PerClass

    def logits(self, vectors: Vectors) -> Logits:
        """Say how strongly cells look like each class."""
        return vectors @ self.weights + self.bias


class Learner:
    """The same cells learned with one strength after another, each from where the last ended."""

    def __init__(self, vectors: Vectors, labels: Classes, *, classes: int):
        from sklearn.linear_model import LogisticRegression  # takes a second to import

        self._model = LogisticRegression(max_iter=MOST_ROUNDS, warm_start=True)
        self._cells, self._classes = (vectors, labels), classes

    def at(self, strength: float) -> Linear:
        """Learn with a strength, scikit-learn's C: the larger, the more labels are trusted."""
        labels = self._cells[1]
        if len(np.unique(labels)) < 2:
            return _only(labels, width=self._cells[0].shape[1], classes=self._classes)
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            # Not settled is not wrong: cells apart decide whether the strength is any good.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.set_params(C=strength).fit(*self._cells)
        return _linear(self._model, classes=self._classes)


def fit_linear(vectors: Vectors, labels: Classes, *, classes: int, strength: float) -> Linear:
    """Learn from all cells at once.

    Args:
        vectors: One row per cell.
        labels: Their classes; those that occur are told apart.
        classes: How many there are.
        strength: scikit-learn's C.

    Source:
        scikit-learn's LogisticRegression, of which decision_function and predict_proba are
        reproduced in tests/classify/test_linear.py.
    """
    return Learner(vectors, labels, classes=classes).at(strength)


def log_loss(logits: Logits, labels: Classes) -> float:
    """Mean negative log-likelihood of the true class, in nats."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def _linear(model, *, classes: int) -> Linear:
    coefficients, constants = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two classes scikit-learn keeps the difference
        coefficients = np.stack([-coefficients[0], coefficients[0]]) / 2
        constants = np.array([-constants[0], constants[0]]) / 2
    weights = np.zeros((coefficients.shape[1], classes))
    bias = np.full(classes, -np.inf)
    weights[:, model.classes_] = coefficients.T
    bias[model.classes_] = constants
    return Linear(weights, bias)


def _only(labels: Classes, *, width: int, classes: int) -> Linear:
    bias = np.full(classes, -np.inf)
    bias[labels[:1]] = 0.0
    return Linear(np.zeros((width, classes)), bias)
