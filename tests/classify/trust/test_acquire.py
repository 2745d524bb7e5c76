"""Each strategy takes what it says, and a seed alone decides the rest."""

import numpy as np
import pytest
from scipy import stats

from plates.errors import UnknownName
from profiler.classify.trust.acquire import STRATEGIES, Pool, choose, closeness, entropy, farthest

CHANCE = np.array([[0.98, 0.01, 0.01], [0.48, 0.48, 0.04], [0.4, 0.3, 0.3], [0.8, 0.1, 0.1]])
LINE = np.array([[0.0], [1.0], [4.0], [10.0]])


def pool(**given):
    return Pool(**({"vectors": LINE, "probabilities": CHANCE, "labelled": LINE[:0]} | given))


def test_entropy_agrees_with_scipy_and_knows_certainty():
    np.testing.assert_allclose(entropy(CHANCE), stats.entropy(CHANCE, axis=1))
    assert entropy(np.array([[1.0, 0.0]]))[0] == 0


def test_closeness_is_one_for_a_tie():
    np.testing.assert_allclose(closeness(np.array([[0.5, 0.5], [0.9, 0.1]])), [1, 0.2])
    with pytest.raises(ValueError, match="Found one class"):
        closeness(np.ones((3, 1)))


def test_farthest_by_hand():
    assert farthest(LINE, start=LINE[:1], count=3).tolist() == [3, 2, 1]
    assert farthest(LINE, start=np.array([[11.0]]), count=2).tolist() == [0, 2]


def test_without_labels_the_first_is_in_the_middle():
    # The mean is 3.75: first 4, then 10 (six away), then 0.
    assert farthest(LINE, start=LINE[:0], count=9).tolist() == [2, 3, 0, 1]
    assert farthest(LINE[:0], start=LINE[:0], count=2).tolist() == []


def test_farthest_covers_within_twice_the_best_radius():
    points = np.random.default_rng(0).random((200, 2))
    centres = points[farthest(points, start=points[:0], count=20)]
    away = np.linalg.norm(points[:, None] - centres, axis=-1).min(axis=1)
    among = np.linalg.norm(centres[:, None] - centres, axis=-1)
    # Gonzalez: the centres lie farther from one another than any point does from them.
    assert away.max() <= among[~np.eye(20, dtype=bool)].min()


@pytest.mark.parametrize(
    ("strategy", "first"), [("uncertainty", 2), ("margin", 1), ("diversity", 3), ("novelty", 0)]
)
def test_each_strategy_takes_what_it_says(strategy, first):
    given = pool(novelty=np.array([0.9, 0.1, 0.2, 0.3]), labelled=LINE[:1])
    assert choose(strategy, given, count=1).tolist() == [first]


def test_mixed_takes_diverse_ones_among_the_doubtful():
    random = np.random.default_rng(0)
    sure, torn = np.array([0.98, 0.02]), np.array([0.52, 0.48])
    chance = np.vstack([np.tile(sure, (100, 1)), np.tile(torn, (10, 1))])
    vectors = np.vstack([random.normal(0, 9, (100, 1)), np.repeat([[0.0], [1.0]], 5, axis=0)])
    found = choose("mixed", Pool(vectors, chance, vectors[:0]), count=2)
    assert sorted(vectors[found, 0]) == [0, 1]
    vectors[3], new = 50, np.zeros(110)
    new[3] = 1
    with_novelty = Pool(vectors, chance, np.array([[0.5]]), new)
    assert 3 in choose("mixed", with_novelty, count=2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_seed_alone_decides(strategy):
    random = np.random.default_rng(0)
    given = Pool(
        random.random((60, 3)),
        random.dirichlet(np.ones(4), 60),
        random.random((5, 3)),
        random.random(60),
    )
    one = choose(strategy, given, count=12, seed=3)
    assert one.tolist() == choose(strategy, given, count=12, seed=3).tolist()
    assert len(set(one)) == 12
    assert sorted(choose(strategy, given, count=99)) == list(range(60))


def test_seeds_differ_at_random_and_between_equals():
    equal = pool(probabilities=np.full((4, 3), 1 / 3))
    for strategy in ("random", "uncertainty"):
        assert len({choose(strategy, equal, count=1, seed=seed)[0] for seed in range(20)}) > 1


def test_bad_asks():
    with pytest.raises(UnknownName, match="Did you mean 'margin'"):
        choose("margins", pool(), count=1)
    with pytest.raises(ValueError, match="a pool without novelty"):
        choose("novelty", pool(), count=1)
