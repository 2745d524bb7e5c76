"""What a batch is made of: by counting."""

import numpy as np
import pytest

from plates.errors import BadLabels
from profiler.embed.sets.examples import Deal, Sets, check_sets, deal, replicate_labels

SIZES = np.array([5, 3, 1, 4, 6, 2, 2, 2])
STARTS = np.concatenate([[0], np.cumsum(SIZES)])
CELLS = np.repeat(np.arange(8), SIZES)[:, None].astype(np.float32)  # a cell says its well
SETS = Sets(CELLS, STARTS, np.array([0, 1, 2, 0, 1, 2, 3, 3]), np.array([0, 0, 0, 1, 1, 1, 2, 2]))


def test_a_set_is_cells_of_one_well():
    batch = deal(SETS, Deal(plates=2, labels=3, wells=2, cells=4), seed=0, step=0)
    assert batch.cells.shape[1:] == (4, 1)
    wells = batch.cells[:, :, 0]
    assert (wells == wells[:, :1]).all()
    np.testing.assert_array_equal(SETS.labels[wells[:, 0].astype(int)], batch.labels)
    np.testing.assert_array_equal(SETS.plates[wells[:, 0].astype(int)], batch.plates)


def test_replicates_are_other_wells_where_there_are_any():
    for step in range(20):
        batch = deal(SETS, Deal(plates=2, labels=3, wells=2, cells=2), seed=1, step=step)
        first, second = batch.cells[0::2, 0, 0], batch.cells[1::2, 0, 0]
        is_shared = set(batch.plates.tolist()) == {0, 1}  # each label is on both
        assert not is_shared or (first != second).all()


def test_plates_that_share_labels_come_together():
    seen = {tuple(np.unique(deal(SETS, Deal(plates=2), seed=2, step=i).plates)) for i in range(30)}
    assert (0, 1) in seen
    assert all(0 in pair or 1 in pair for pair in seen)


def test_seed_and_step_decide_alone():
    first, again, other = (deal(SETS, Deal(cells=8), seed=3, step=i) for i in (4, 4, 5))
    np.testing.assert_array_equal(first.cells, again.cells)
    assert not np.array_equal(first.cells, other.cells)


def test_some_wells_keep_their_cells():
    some = SETS.at(SETS.plates == 1)
    assert some.starts.tolist() == [0, 4, 10, 12]
    assert some.cells[:, 0].tolist() == [3] * 4 + [4] * 6 + [5] * 2
    assert SETS.at(np.zeros(8, bool)).starts.tolist() == [0]


def test_controls_are_one_label_whatever_they_are_called():
    names = [("DMSO", 0.0), ("DMSO", None), ("taxol", 1.0), ("taxol", 2.0), ("taxol", 1.0)]
    found = replicate_labels(names, is_control=np.array([True, True, False, False, False]))
    assert found[0] == found[1] == 0
    assert found[2] == found[4] != found[3]
    assert (found[2:] > 0).all()


@pytest.mark.parametrize("labels", [[0] * 8, list(range(8))])
def test_without_replicates_nothing_is_learnt(labels):
    with pytest.raises(BadLabels, match="an aggregator is taught by replicates"):
        check_sets(SETS._replace(labels=np.array(labels)), features=1)


@pytest.mark.parametrize(
    ("change", "features", "message"),
    [
        ({"labels": SETS.labels[:7]}, 1, "7 labels, 8 plates, and 9 bounds"),
        ({"plates": SETS.plates[:6]}, 1, "8 labels, 6 plates, and 9 bounds"),
        ({"starts": STARTS - 1}, 1, "bounds that rise from 0 to the number of cells"),
        ({"cells": CELLS[:-1]}, 1, "9 bounds of wells in 24 cells"),
        ({"starts": np.where(STARTS == 8, 5, STARTS)}, 1, "a cell or more in every well"),
        ({}, 2, "Found 1 numbers for each cell.*expected 2 finite ones"),
        ({"cells": np.where(CELLS == 2, np.nan, CELLS)}, 1, "1 of 25 cells with one that is NaN"),
    ],
)
def test_parts_that_do_not_belong_together(change, features, message):
    check_sets(SETS, features=1)
    with pytest.raises(BadLabels, match=message):
        check_sets(SETS._replace(**change), features=features)
