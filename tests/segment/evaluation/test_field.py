"""Counts of right and wrong: by hand, against an optimal assignment, at the edges."""

import tracemalloc

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from profiler.segment.evaluation.field import count
from profiler.segment.score import THRESHOLDS, overlaps


def boxes(*places: tuple[int, int, int, int]) -> np.ndarray:
    labels = np.zeros((30, 30), np.int32)
    for number, (top, bottom, left, right) in enumerate(places, 1):
        labels[top:bottom, left:right] = number
    return labels


WHOLE = (0, 10, 0, 10)
LEFT, RIGHT = (0, 10, 0, 5), (0, 10, 5, 10)


def wrongs(truth, found) -> tuple[int, ...]:
    counts = count(truth, found)
    return tuple(int(part) for part in counts[4:])


def test_a_split_is_one_true_object_in_two_pieces():
    assert wrongs(boxes(WHOLE), boxes(LEFT, RIGHT)) == (1, 0, 0, 0)


def test_a_merge_is_two_true_objects_in_one():
    assert wrongs(boxes(LEFT, RIGHT), boxes(WHOLE)) == (0, 1, 0, 0)


def test_a_speck_beside_the_object_is_no_split():
    almost, speck = (0, 10, 0, 9), (0, 9, 9, 10)
    assert wrongs(boxes(WHOLE), boxes(almost, speck)) == (0, 0, 0, 0)
    assert wrongs(boxes(WHOLE), boxes(almost, (0, 10, 9, 10))) == (1, 0, 0, 0)


@pytest.mark.parametrize("pieces", [2, 9, 11, 25])
def test_however_many_pieces_a_split_and_a_merge_count(pieces):
    whole = np.zeros((20, 10 * pieces), np.int32)
    whole[5:15] = 1
    parts = np.where(whole, 1 + np.arange(10 * pieces) // 10, 0)
    assert wrongs(whole, parts)[:2] == (1, 0)
    assert wrongs(parts, whole)[:2] == (0, 1)
    assert wrongs(parts, np.ones_like(whole))[:2] == (0, 1)  # one label that fills the field


def test_memory_grows_with_the_pairs_that_touch_not_with_all():
    truth = np.arange(120 * 120).reshape(120, 120).repeat(3, 0).repeat(3, 1) + 1
    tracemalloc.start()
    counts = count(truth, truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.matched.tolist() == [120 * 120] * len(THRESHOLDS)
    assert peak < 100e6  # all pairs would be 1.7 GB


def test_missed_and_spurious_are_what_the_other_side_lacks():
    assert wrongs(boxes(WHOLE, (20, 30, 20, 30)), boxes(WHOLE, (0, 5, 20, 25))) == (0, 0, 1, 1)


def test_pairs_and_their_overlap_by_hand():
    counts = count(boxes(WHOLE), boxes((0, 10, 0, 8)))
    assert counts.overlap == pytest.approx(0.8)
    assert counts.matched.tolist() == [int(t <= 0.8) for t in THRESHOLDS]


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_an_optimal_assignment(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, (12, 12)).repeat(5, 0).repeat(5, 1)
    found = np.where(rng.random(truth.shape) < 0.85, truth, rng.integers(0, 9, truth.shape))
    iou, counts = overlaps(truth, found), count(truth, found)
    for threshold, matched in zip(THRESHOLDS, counts.matched, strict=True):
        cost = -(iou >= threshold).astype(float) - iou / (2 * min(iou.shape))
        pairs = iou[linear_sum_assignment(cost)]
        assert matched == (pairs >= threshold).sum()
    pairs = iou[linear_sum_assignment(-(iou >= 0.5).astype(float) - iou / (2 * min(iou.shape)))]
    assert counts.overlap == pytest.approx(pairs[pairs >= 0.5].sum())


def test_relabelling_and_flipping_change_nothing():
    truth, found = boxes(LEFT, RIGHT, (20, 30, 20, 30)), boxes(WHOLE, (20, 30, 20, 26))
    renamed = np.array([0, 7, 3, 900])[truth]
    for one, other in ((renamed, found), (truth[::-1], found[::-1]), (truth.T, found.T)):
        assert all(map(np.array_equal, count(one, other), count(truth, found)))


def test_empty_fields_have_nothing_right_or_wrong():
    empty = boxes()
    assert [int(np.sum(part)) for part in count(empty, empty)] == [0] * 8
    assert wrongs(boxes(WHOLE), empty) == (0, 0, 1, 0)
    assert wrongs(empty, boxes(WHOLE)) == (0, 0, 0, 1)
