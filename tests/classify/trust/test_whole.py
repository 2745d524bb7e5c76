"""Distance among all axes: by hand, and a phenotype that differs in what known classes do not."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from profiler.classify.trust.outliers import learn_known, mahalanobis, place
from profiler.classify.trust.whole import FEW, SOME, Places, distance, learn_whole, odd_scores


def drawn(seed, labels, at):
    random = np.random.default_rng(seed)
    points = random.normal(size=(len(labels), 6))
    points[np.arange(len(labels)), np.asarray(at)[labels]] += 6
    return points


CODES = np.repeat([0, 1], 100)  # two known classes


def test_a_new_phenotype_beside_two_known_is_found_where_the_classes_axes_miss_it():
    vectors = drawn(0, CODES, [0, 1])
    cells = drawn(1, np.repeat([0, 1, 0], 100), [0, 1])
    cells[200:, 2] += 6  # like the first class but for what neither varies in
    is_new = np.repeat([False, False, True], 100)
    whole, known = learn_whole(vectors, CODES, around=cells), learn_known(vectors, CODES)
    assert roc_auc_score(is_new, distance(cells, whole)) > 0.95
    assert roc_auc_score(is_new, mahalanobis(place(cells, known), known)) < 0.8


def test_distance_is_mahalanobis_of_the_nearest_class_mean():
    vectors = drawn(2, CODES, [0, 1])
    whole = learn_whole(vectors, CODES, axes=6)
    points = PCA(whiten=True).fit_transform(StandardScaler().fit_transform(vectors))
    means = np.stack([points[:100].mean(axis=0), points[100:].mean(axis=0)])
    shrunk = LedoitWolf(assume_centered=True).fit(points - means[CODES])
    expected = [shrunk.mahalanobis(points - mean) for mean in means]
    np.testing.assert_allclose(distance(vectors, whole), np.min(expected, axis=0), rtol=1e-6)


def test_scale_and_offset_do_not_matter():
    vectors = drawn(3, CODES, [0, 1])
    other = vectors * [1, 2, 3, 4, 5, 6] + 100
    one, two = (distance(x, learn_whole(x, CODES)) for x in (vectors, other))
    np.testing.assert_allclose(one, two, rtol=1e-6)


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (FEW, {"whole"}),
        (SOME, {"whole", "mahalanobis", "angle", "energy"}),
        (SOME + 1, {"mahalanobis", "angle", "energy"}),
    ],
)
def test_scores_go_by_how_many_classes_are_known(classes, names):
    vectors = drawn(4, CODES, [0, 1])
    places = Places(learn_known(vectors, CODES), learn_whole(vectors, CODES))
    logits = np.zeros((len(vectors), 2))
    assert set(odd_scores(vectors, logits, places, classes=classes)) == names
