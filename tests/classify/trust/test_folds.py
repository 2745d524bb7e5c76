"""Parts of whole movies: every cell once, classes even, another way with every seed."""

import numpy as np
import pytest

from profiler.classify.trust.folds import group_folds
from profiler.embed.training.examples import check_apart

GROUPS = np.repeat([f"movie{i:02d}" for i in range(12)], 10)
LABELS = np.random.default_rng(0).integers(0, 3, 120)


def test_parts_are_whole_groups_and_every_cell_once():
    parts = list(group_folds(LABELS, GROUPS, parts=4, seed=0))
    np.testing.assert_array_equal(np.sort(np.concatenate([p for _, p in parts])), np.arange(120))
    for seen, apart in parts:
        np.testing.assert_array_equal(np.union1d(seen, apart), np.arange(120))
        check_apart(GROUPS[seen], GROUPS[apart])
        assert len(apart) == 30


def test_classes_are_in_about_the_same_shares():
    by_group = np.repeat(np.arange(12) % 3, 10)  # four movies of each of three classes
    for _, apart in group_folds(by_group, GROUPS, parts=4, seed=0):
        np.testing.assert_array_equal(np.bincount(by_group[apart]), [10, 10, 10])


def test_a_seed_gives_the_same_parts_and_another_seed_others():
    sizes = np.repeat(GROUPS, np.repeat(np.arange(1, 13), 10))  # of different sizes, as in practice
    labels = np.random.default_rng(1).integers(0, 3, len(sizes))

    def first(seed):
        return set(sizes[next(group_folds(labels, sizes, parts=4, seed=seed))[1]])

    assert first(0) == first(0)
    assert len({frozenset(first(seed)) for seed in range(4)}) > 1


def test_more_parts_than_groups_are_refused():
    with pytest.raises(ValueError, match="Found 12 movies or plates; expected at least 20"):
        next(group_folds(LABELS, GROUPS, parts=20, seed=0))
