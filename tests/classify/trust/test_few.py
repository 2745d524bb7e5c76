"""Movies stay on one side, draws are nested, curves are read right."""

from itertools import product

import numpy as np
import pytest

from profiler.classify.trust.few import (
    SharedGroups,
    Split,
    check_groups,
    k_shot,
    label_curve,
    labels_needed,
    split_by_group,
)

MOVIES = np.repeat([f"movie{i:02d}" for i in range(20)], 6)
LABELS = np.tile([0, 0, 0, 1, 1, 2], 20)


@pytest.mark.parametrize("seed", range(5))
def test_split_keeps_movies_whole_and_classes_balanced(seed):
    split = split_by_group(LABELS, MOVIES, parts=4, seed=seed)
    check_groups(MOVIES, split)
    assert sorted([*split.train, *split.test]) == list(range(120))
    assert len(split.test) == 30
    assert np.bincount(LABELS[split.test]).tolist() == [15, 10, 5]


def test_seeds_decide_the_split():
    one, again, other = (split_by_group(LABELS, MOVIES, seed=seed).test for seed in (0, 0, 1))
    assert one.tolist() == again.tolist() != other.tolist()


def test_classes_rarer_than_parts_are_borne():
    labels = LABELS.copy()
    labels[0] = 3
    check_groups(MOVIES, split_by_group(labels, MOVIES))


def test_a_shared_movie_is_refused_by_name():
    split = Split(np.arange(0, 61), np.arange(55, 120))
    with pytest.raises(
        SharedGroups, match=r"2 movies or plates .* movie09, movie10\. .*split_by_group"
    ):
        check_groups(MOVIES, split)
    every = Split(np.arange(120), np.arange(120))
    with pytest.raises(SharedGroups, match="movie04 and 15 more"):
        check_groups(MOVIES, every)


def test_too_few_movies_are_refused():
    with pytest.raises(SharedGroups, match="Found 3 movies or plates; expected at least 4"):
        split_by_group(LABELS[:18], MOVIES[:18])


def test_draws_are_fair_nested_and_of_the_training_side():
    rows = np.arange(60)
    few, more = (k_shot(LABELS, rows, shots=k, seed=3) for k in (2, 5))
    assert np.bincount(LABELS[few]).tolist() == [2, 2, 2]
    assert np.bincount(LABELS[more]).tolist() == [5, 5, 5]
    assert set(few) < set(more) < set(rows)
    assert few.tolist() != k_shot(LABELS, rows, shots=2, seed=4).tolist()


def test_a_class_with_fewer_gives_all_it_has():
    assert k_shot(LABELS, np.arange(60), shots=99).tolist() == list(range(60))
    assert np.bincount(LABELS[k_shot(LABELS, np.arange(60), shots=15)]).tolist() == [15, 15, 10]


def test_curve_of_separable_classes(draw_clouds, classify):
    cells = draw_clouds(0, counts=(80, 60, 40), apart=2.5)
    movies = np.arange(180) % 12
    split = split_by_group(cells.labels, movies, seed=0)
    table = label_curve(
        cells.vectors,
        cells.labels,
        movies,
        split,
        classify=classify,
        draws=product((1, 10, 35), (0, 1)),
    )
    assert table["Shots"].to_list() == [1, 1, 10, 10, 35, 35, None]
    assert table["Seed"].to_list() == [0, 1, 0, 1, 0, 1, None]
    per_class = np.bincount(cells.labels[split.train])
    assert table["Labels"].to_list() == [
        3,
        3,
        30,
        30,
        *[np.minimum(per_class, 35).sum()] * 2,
        per_class.sum(),
    ]
    assert table["Short"].to_list() == [0, 0, 0, 0, *[(per_class < 35).sum()] * 2, 0]
    assert table["F1_macro"][-1] > 0.8
    assert table["F1_macro"][:2].mean() < table["F1_macro"][2:4].mean()


def test_curve_scores_a_class_that_was_never_found():
    labels = np.array([0, 1, 0, 0, 1])
    first = lambda vectors, labels, others: np.tile([1.0, 0.0], (len(others), 1))  # noqa: E731
    split = Split(np.array([0, 1]), np.array([2, 3, 4]))
    table = label_curve(
        np.zeros((5, 1)), labels, np.array([0, 0, 1, 1, 1]), split, classify=first, draws=()
    )
    with pytest.raises(SharedGroups, match="1 movies or plates"):
        label_curve(np.zeros((5, 1)), labels, np.zeros(5), split, classify=first, draws=())
    # Class 0: precision 2/3, recall 1, F1 .8; class 1: 0.
    assert table["Accuracy"][0] == pytest.approx(2 / 3)
    assert table["F1_macro"][0] == pytest.approx(0.4)
    assert table["F1_weighted"][0] == pytest.approx(0.8 * 2 / 3)


@pytest.mark.parametrize(
    ("scores", "needed"),
    [
        ([0.5, 0.7, 0.9], 30.0),
        ([0.8, 0.8, 0.9], 10.0),
        ([0.5, 0.9, 0.8], 17.5),
        ([0.9, 0.7, 0.9], 30.0),  # it fell below again
    ],
)
def test_labels_needed_by_hand(scores, needed):
    assert labels_needed([10, 20, 40], scores, goal=0.8) == pytest.approx(needed)


def test_a_goal_that_is_not_reached_needs_an_unknown_number():
    assert np.isnan(labels_needed([10, 20], [0.5, 0.7], goal=0.8))
