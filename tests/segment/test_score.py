"""Scores: by hand, against an assignment, at the edges."""

import inspect
import tracemalloc

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from profiler.cli import labels
from profiler.recipe import Segment
from profiler.segment.score import (
    SPECK_PX,
    THRESHOLDS,
    best_overlaps,
    drop_specks,
    match,
    overlaps,
    score,
    where_known,
)


def boxes(*places: tuple[int, int, int, int]) -> np.ndarray:
    labels = np.zeros((20, 20), np.int32)
    for number, (top, bottom, left, right) in enumerate(places, 1):
        labels[top:bottom, left:right] = number
    return labels


TRUTH = boxes((0, 5, 0, 5), (10, 20, 10, 20))


def test_overlaps_by_hand():
    found = boxes((0, 5, 0, 4), (10, 20, 10, 15), (10, 20, 15, 20))
    np.testing.assert_allclose(overlaps(TRUTH, found), [[0.8, 0, 0], [0, 0.5, 0.5]])


def test_a_hit_a_miss_and_a_split_by_hand():
    found = boxes((0, 5, 0, 4), (10, 20, 10, 15), (10, 20, 15, 20))
    counts = match(overlaps(TRUTH, found), threshold=0.7)
    assert counts == (1, 2, 1)
    assert counts.f1 == pytest.approx(2 / 5)
    assert counts.average_precision == pytest.approx(1 / 4)


def test_counting_is_the_optimal_assignment():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, (30, 30)).repeat(3, 0).repeat(3, 1)
    found = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, 7, truth.shape))
    iou = overlaps(truth, found)
    for threshold in THRESHOLDS:
        rows, columns = linear_sum_assignment(-(iou >= threshold).astype(float))
        best = int((iou[rows, columns] >= threshold).sum())
        assert match(iou, threshold=threshold).true_positive == best


def test_identical_images_score_one_and_ids_do_not_matter():
    renamed = np.where(TRUTH == 1, 9, TRUTH)
    for scores in (score([(TRUTH, TRUTH)]), score([(TRUTH, renamed)])):
        np.testing.assert_array_equal(scores.average_precision, 1)
        np.testing.assert_array_equal(scores.f1, 1)


def test_empty_truth_and_empty_result_agree_perfectly():
    empty = np.zeros((5, 5), int)
    assert score([(empty, empty)]).f1[0] == 1.0
    assert score([(TRUTH, empty[:1, :1].repeat(20, 0).repeat(20, 1))]).f1[0] == 0.0


@pytest.mark.parametrize("most", [0, 1, 40])
def test_the_best_overlaps_are_those_of_the_table_of_all_pairs(most):
    rng = np.random.default_rng(0)
    for _ in range(5):
        truth, found = rng.integers(0, most + 1, (2, 12, 9)) * rng.integers(1, 1000)
        truth[:2] = -1  # no object
        table = overlaps(truth, found)
        for axis, best in zip((1, 0), best_overlaps(truth, found), strict=True):
            np.testing.assert_array_equal(best, table.max(axis, initial=0.0))


def test_thousands_of_objects_need_no_table_of_all_pairs():
    many = np.kron(np.arange(6400).reshape(80, 80), np.ones((3, 3), int))
    known = np.ones(many.shape, bool)
    known[::6] = False
    tracemalloc.start()
    seen = where_known(many, known, truth=np.where(known, many, 0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(seen, np.where(known, many, 0))
    assert peak < 1e8  # the table would take 3e8 bytes


def test_thresholds_below_a_half_are_refused():
    with pytest.raises(ValueError, match="below 0.5 matches are not unique"):
        match(overlaps(TRUTH, TRUTH), threshold=0.4)


def test_specks_go_and_others_keep_their_ids():
    assert set(np.unique(drop_specks(TRUTH, below=26))) == {0, 2}


def test_objects_mostly_where_nobody_has_looked_go_and_others_are_cut():
    known = np.ones((20, 20), bool)
    known[:13] = False  # all of the first, three of ten rows of the second
    seen = where_known(TRUTH, known)
    assert set(np.unique(seen)) == {0, 2}
    assert (seen > 0).sum() == 70
    known[13:16] = False
    assert not where_known(TRUTH, known).any()


def test_the_smaller_part_of_an_object_is_kept_where_the_truth_has_it():
    known = np.ones((20, 20), bool)
    known[:16] = False
    truth = np.where(known, TRUTH, 0)
    np.testing.assert_array_equal(where_known(TRUTH, known, truth=truth), truth)
    assert not where_known(TRUTH, known, truth=0 * truth).any()
    beside = np.roll(truth, -7, axis=1)  # shares too little with what was found
    assert not where_known(TRUTH, known, truth=beside).any()


def test_one_size_of_specks_is_the_default_of_the_recipe_and_the_commands():
    defaults = [
        Segment().min_nucleus_area_px,
        inspect.signature(labels.segment).parameters["min_area"].default,
        inspect.signature(labels.evaluate).parameters["specks"].default,
    ]
    assert defaults == [SPECK_PX] * 3
