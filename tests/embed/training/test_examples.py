"""Splits by group, labels that nothing can be learnt from, batches by step and seed."""

import numpy as np
import pytest

from plates.errors import BadLabels
from profiler.embed.training.examples import check_apart, check_labels, draw, folds_by_group

RNG = np.random.default_rng(0)
GROUPS = np.repeat([f"movie{i:02d}" for i in range(12)], 10)
LABELS = RNG.integers(0, 3, 120).astype(np.int32)


def test_folds_are_whole_groups_and_every_cell_once():
    folds = folds_by_group(LABELS, GROUPS, folds=4)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(120))
    for rows in folds:
        check_apart(GROUPS[np.setdiff1d(np.arange(120), rows)], GROUPS[rows])
        assert len(rows) % 10 == 0


def test_more_folds_than_groups_are_refused():
    with pytest.raises(BadLabels, match="12 groups .* cannot be divided into 20 folds"):
        folds_by_group(LABELS, GROUPS, folds=20)


def test_a_group_on_both_sides_is_named():
    with pytest.raises(BadLabels, match=r"1 groups .* both learnt from and tested on: plate2"):
        check_apart(["plate1", "plate2"], ["plate2", "plate3"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1, 1], r"one class only \(b\)"),
        ([-1, -1], "No cell is labelled"),
        ([0, 0, 1, 2, 2], "1 classes have one labelled cell each: b"),
        ([0, 0, 3, 3], "Label 3 is no class: there are 3"),
    ],
)
def test_labels_that_nothing_can_be_learnt_from(labels, message):
    with pytest.raises(BadLabels, match=message):
        check_labels(np.array(labels), ("a", "b", "c"))


def test_unlabelled_cells_are_no_class():
    check_labels(np.array([0, 0, 1, 1, -1]), ("a", "b"))


def test_every_cell_is_seen_before_any_comes_again():
    steps = [draw(LABELS, step=step, seed=0, batch=16, balance=0.0) for step in range(15)]
    counts = np.bincount(np.concatenate(steps)[:120], minlength=120)
    np.testing.assert_array_equal(counts, 1)
    assert np.bincount(np.concatenate(steps), minlength=120).max() == 2


def test_a_step_draws_the_same_again():
    for balance in (0.0, 1.0):
        options = {"step": 7, "batch": 16, "balance": balance}
        one = draw(LABELS, seed=3, **options)
        np.testing.assert_array_equal(one, draw(LABELS, seed=3, **options))
        assert (one != draw(LABELS, seed=4, **options)).any()


def test_balance_draws_rare_classes_as_often():
    rare = np.array([0] * 190 + [1] * 10)
    drawn = rare[draw(rare, step=0, seed=0, batch=2000, balance=1.0)]
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    partly = rare[draw(rare, step=0, seed=0, batch=2000, balance=0.5)]
    assert 0.1 < partly.mean() < 0.3
