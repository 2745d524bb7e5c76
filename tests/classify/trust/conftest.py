"""Classes that are clouds of points: everything about them is known."""

from typing import NamedTuple

import numpy as np
import pytest


class Clouds(NamedTuple):
    vectors: np.ndarray
    labels: np.ndarray


def draw(seed, *, counts, spread=1.0, dimensions=6, apart=6.0):
    """Class i lies `apart` from the origin along axis i."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    means = apart * np.eye(len(counts), dimensions)
    return Clouds(means[labels] + random.normal(0, spread, (len(labels), dimensions)), labels)


@pytest.fixture
def draw_clouds():
    return draw


@pytest.fixture
def classify():
    """Probabilities by logistic regression."""
    from sklearn.linear_model import LogisticRegression

    def learn_and_judge(vectors, labels, others):
        return LogisticRegression(max_iter=500).fit(vectors, labels).predict_proba(others)

    return learn_and_judge
