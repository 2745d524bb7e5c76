"""Scores against scikit-learn and scipy, in a space where every distance is known."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from profiler.classify.trust import outliers
from profiler.classify.trust.outliers import NoSpread, learn_known, place, whitening


@pytest.fixture
def known(draw_clouds):
    cells = draw_clouds(0, counts=(200, 100, 60))
    return learn_known(cells.vectors, cells.labels)


@pytest.fixture
def places(draw_clouds, known):
    return place(draw_clouds(1, counts=(30, 30, 30)).vectors, known)


def test_axes_are_those_that_tell_classes_apart(draw_clouds):
    cells = draw_clouds(0, counts=(200, 100, 60))
    learned = learn_known(cells.vectors, cells.labels)
    assert learned.axes.shape == (6, 2)
    # But for shrinkage and clipping, the space is that of scikit-learn on the vectors.
    direct = LinearDiscriminantAnalysis(solver="eigen").fit(cells.vectors, cells.labels)
    expected, found = direct.transform(cells.vectors), place(cells.vectors, learned)
    assert np.corrcoef(cdist(found, found).ravel(), cdist(expected, expected).ravel())[0, 1] > 0.98


def test_mahalanobis_agrees_with_scikit_learn(known, places, draw_clouds):
    labels = draw_clouds(0, counts=(200, 100, 60)).labels
    shared = LedoitWolf(assume_centered=True).fit(known.places - known.means[labels])
    each = [shared.mahalanobis(places - mean) for mean in known.means]
    np.testing.assert_allclose(outliers.mahalanobis(places, known), np.min(each, axis=0))
    gaps = known.places - known.places.mean(axis=0)
    whole = LedoitWolf(assume_centered=True).fit(gaps)
    np.testing.assert_allclose(
        outliers.relative_mahalanobis(places, known),
        np.min(each, axis=0) - whole.mahalanobis(places - known.overall),
    )


def test_nearest_agrees_with_scikit_learn(known, places):
    model = NearestNeighbors(n_neighbors=10).fit(known.places)
    expected = model.kneighbors(places)[0].mean(axis=1)
    np.testing.assert_allclose(outliers.nearest(places, known), expected)
    everyone = outliers.nearest(places, known, neighbours=9999)
    np.testing.assert_allclose(everyone, cdist(places, known.places).mean(axis=1))


def test_angle_is_of_the_direction_alone(known):
    middle, toward = known.middle, known.means[0] - known.middle
    asked = middle + np.array([0.1, 1, 7])[:, None] * toward
    np.testing.assert_allclose(outliers.angle(asked, known), 0, atol=1e-12)
    assert outliers.angle((middle - toward)[None], known)[0] > 0.05


def test_energy_is_minus_the_log_sum():
    logits = np.random.default_rng(0).normal(0, 5, (20, 4))
    np.testing.assert_allclose(outliers.energy(logits), -logsumexp(logits, axis=1))


@pytest.mark.parametrize("score", ["mahalanobis", "relative_mahalanobis", "angle", "nearest"])
def test_a_class_that_was_left_out_is_told(draw_clouds, score):
    cells = draw_clouds(0, counts=(150, 150, 150, 150), apart=8.0)
    is_known = cells.labels < 3
    half = np.arange(600) % 2 == 0
    train = half & is_known
    learned = learn_known(cells.vectors[train], cells.labels[train], around=cells.vectors)
    scores = getattr(outliers, score)(place(cells.vectors[~half], learned), learned)
    assert roc_auc_score(~is_known[~half], scores) > 0.85


def test_scale_and_shift_of_a_dimension_change_nothing(draw_clouds, known, places):
    cells, fresh = draw_clouds(0, counts=(200, 100, 60)), draw_clouds(1, counts=(30, 30, 30))
    factor = np.array([1e3, 1, 1e-3, 1, 1, 7])
    other = learn_known(cells.vectors * factor + 5, cells.labels)
    again = outliers.mahalanobis(place(fresh.vectors * factor + 5, other), other)
    np.testing.assert_allclose(again, outliers.mahalanobis(places, known), rtol=1e-6)


def test_constant_and_doubled_dimensions_are_borne(draw_clouds):
    cells = draw_clouds(0, counts=(50, 50))
    more = np.column_stack([cells.vectors, np.full(100, 3.0), cells.vectors[:, 0]])
    learned = learn_known(more, cells.labels)
    assert np.isfinite(outliers.mahalanobis(place(more, learned), learned)).all()


def test_a_class_of_one_cell_is_a_place_but_no_axis(draw_clouds):
    cells = draw_clouds(0, counts=(50, 50, 1))
    learned = learn_known(cells.vectors, cells.labels)
    assert learned.axes.shape == (6, 1)
    assert learned.means.shape == (3, 1)
    assert outliers.mahalanobis(learned.places, learned)[-1] == pytest.approx(0, abs=1e-9)


def test_bad_input(draw_clouds, known):
    cells = draw_clouds(0, counts=(20, 20))
    with pytest.raises(ValueError, match="Found 1 classes of at least two cells; expected two"):
        learn_known(cells.vectors[:20], cells.labels[:20])
    cells.vectors[7, 2] = np.nan
    with pytest.raises(ValueError, match="Found 1 cells with undefined numbers .* row 7"):
        learn_known(cells.vectors, cells.labels)
    with pytest.raises(ValueError, match="undefined numbers"):
        place(cells.vectors, known)


def test_classes_of_two_cells_do_not_say_how_they_vary(draw_clouds):
    cells, around = (draw_clouds(0, counts=counts, dimensions=40) for counts in ((2, 2), (90, 90)))
    with pytest.raises(NoSpread, match="Found 4 known cells .* directions without any; expected"):
        learn_known(cells.vectors, cells.labels, around=around.vectors)
    three = draw_clouds(0, counts=(3, 3), dimensions=40)
    learn_known(three.vectors, three.labels, around=around.vectors)


@pytest.mark.parametrize("size", [1, 3])
def test_equal_cells_have_no_spread(size):
    with pytest.raises(NoSpread, match="Found 5 known cells .* not all equal"):
        whitening(np.zeros((5, size)))
