"""The confident joint by hand; flipped labels found; weights and losses by their formulas."""

import numpy as np
import pytest

from profiler.classify.trust.label_errors import (
    confident_joint,
    estimated_joint,
    find_label_errors,
    generalised_cross_entropy,
    out_of_fold,
    pruned_weights,
    soft_weights,
    thresholds,
)

# Thresholds: class 0 (.9 + .6 + .3) / 3 = .6, class 1 (.8 + .4) / 2 = .6.
CHANCE = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])
GIVEN = np.array([0, 0, 0, 1, 1])


def test_thresholds_by_hand():
    np.testing.assert_allclose(thresholds(CHANCE, GIVEN), [0.6, 0.6])
    three = np.column_stack([CHANCE, np.zeros(5)])
    assert thresholds(three, GIVEN)[2] == np.inf


def test_confident_joint_by_hand():
    assert confident_joint(CHANCE, GIVEN).tolist() == [[2, 1], [1, 1]]
    np.testing.assert_allclose(estimated_joint(CHANCE, GIVEN), [[0.4, 0.2], [0.2, 0.2]])


def test_cells_below_every_threshold_are_not_counted():
    chance = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3], [0.35, 0.3, 0.35]])
    labels = np.array([0, 1, 0, 2])
    # Thresholds .65, .8 and .35: the third cell reaches none, the last its own.
    assert confident_joint(chance, labels).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(estimated_joint(chance, labels), np.diag([0.5, 0.25, 0.25]))


def test_a_label_without_a_counted_cell_stays_on_the_diagonal():
    chance = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    np.testing.assert_allclose(
        estimated_joint(chance, np.array([0, 0])), [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    )


def test_suspects_are_ranked_by_what_speaks_for_their_label():
    found = find_label_errors(CHANCE, GIVEN)
    assert found.cells.tolist() == [2, 4]
    assert found.instead.tolist() == [1, 0]
    np.testing.assert_allclose(found.support, [0.3 / 0.6, 0.4 / 0.6])


def test_a_label_that_nothing_supports():
    chance = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = find_label_errors(chance, np.array([0, 1, 1]))
    assert found.cells.tolist() == [0]
    assert found.support.tolist() == [0]


def test_no_suspects_where_all_agree():
    found = find_label_errors(np.eye(3), np.arange(3))
    assert not len(found.cells)
    np.testing.assert_allclose(pruned_weights(found, np.arange(3)), 1)


def test_weights_stand_for_what_was_pruned():
    found = find_label_errors(CHANCE, GIVEN)
    # Of .6 that are truly 0, .4 carry the label; of .4 that are truly 1, .2 do.
    np.testing.assert_allclose(pruned_weights(found, GIVEN), [1.5, 1.5, 0, 2, 0])
    np.testing.assert_allclose(soft_weights(found, GIVEN), [1.5, 1.5, 1 / 2, 2, 2 / 3])


def test_flipped_labels_are_found_across_movies(draw_clouds, classify):
    cells = draw_clouds(0, counts=(150, 100, 50))
    random = np.random.default_rng(1)
    is_wrong = random.random(300) < 0.2
    given = np.where(is_wrong, (cells.labels + random.integers(1, 3, 300)) % 3, cells.labels)
    movies = random.integers(0, 12, 300)
    judged = out_of_fold(cells.vectors, given, movies, classify=classify)
    np.testing.assert_allclose(judged.sum(axis=1), 1)
    found = find_label_errors(judged, given)
    assert is_wrong[found.cells].mean() > 0.95
    assert is_wrong[found.cells].sum() > 0.8 * is_wrong.sum()
    assert (found.instead == cells.labels[found.cells]).mean() > 0.95
    assert found.joint.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.diag(found.joint).sum(), 0.8, atol=0.05)


def test_every_cell_is_judged_by_other_movies():
    seen = []

    def classify(vectors, labels, others):
        seen.append((set(vectors[:, 0]), set(others[:, 0])))
        return np.full((len(others), labels.max() + 1), 1 / (labels.max() + 1))

    movies = np.repeat(np.arange(6), 5)
    out_of_fold(
        movies[:, None].astype(float), np.tile([0, 1, 0, 1, 2], 6), movies, classify=classify
    )
    assert len(seen) == 5
    assert all(not train & apart for train, apart in seen)
    assert set.union(*(apart for _, apart in seen)) == set(range(6))


def test_a_class_that_only_the_own_part_has_gets_no_chance():
    labels = np.array([0, 1, 0, 1, 0, 2])

    def classify(vectors, labels, others):
        return np.full((len(others), labels.max() + 1), 1 / (labels.max() + 1))

    movies = np.array([0, 0, 1, 1, 2, 2])
    judged = out_of_fold(np.zeros((6, 1)), labels, movies, classify=classify)
    assert judged[5].tolist() == [0.5, 0.5, 0]


def test_one_movie_is_refused(classify):
    with pytest.raises(ValueError, match="expected at least two movies or plates"):
        out_of_fold(np.zeros((4, 1)), np.array([0, 1, 0, 1]), np.zeros(4), classify=classify)


def test_generalised_cross_entropy_lies_between_its_limits():
    own = CHANCE[np.arange(5), GIVEN]
    np.testing.assert_allclose(generalised_cross_entropy(CHANCE, GIVEN, q=1.0), 1 - own)
    np.testing.assert_allclose(
        generalised_cross_entropy(CHANCE, GIVEN, q=1e-9), -np.log(own), rtol=1e-6
    )
    assert generalised_cross_entropy(CHANCE, GIVEN)[0] == pytest.approx((1 - 0.9**0.7) / 0.7)
    with pytest.raises(ValueError, match="Found q = 0.0; expected above 0"):
        generalised_cross_entropy(CHANCE, GIVEN, q=0.0)
