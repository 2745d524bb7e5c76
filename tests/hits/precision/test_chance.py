"""Average precision by chance: every choice by brute force, draws, seeds."""

from itertools import combinations

import numpy as np
import pytest

from profiler.hits.precision import chance
from profiler.hits.precision.chance import (
    expected_precision,
    null_of_mean,
    null_precision,
    p_values,
)


def brute_force(n_matches: int, n_others: int) -> list[float]:
    ranks = combinations(range(1, n_matches + n_others + 1), n_matches)
    return sorted(np.mean([(i + 1) / rank for i, rank in enumerate(some)]) for some in ranks)


@pytest.mark.parametrize("counts", [(1, 1), (1, 5), (3, 4), (4, 1), (2, 9)])
def test_every_choice_of_ranks(counts):
    null = null_precision(*counts)
    assert null.is_exact
    np.testing.assert_allclose(null.values, brute_force(*counts), atol=1e-15)
    assert expected_precision(*counts) == pytest.approx(np.mean(null.values))


def test_exact_p_values_by_hand():
    # One match among three others: 1, 1/2, 1/3 or 1/4, each with chance 1/4.
    null = null_precision(1, 3)
    assert null.p_value(np.array([1.0, 0.5, 1 / 3, 0.25])).tolist() == [0.25, 0.5, 0.75, 1.0]


def test_draws_agree_with_every_choice(monkeypatch):
    exact = null_precision(3, 12, seed=101)
    monkeypatch.setattr(chance, "MOST_STEPS", 100)
    null_precision.cache_clear()
    drawn = null_precision(3, 12, seed=101)
    null_precision.cache_clear()
    assert not drawn.is_exact
    at = np.array([0.2, 0.4, 0.6])
    error = 4 * np.sqrt(exact.p_value(at) / chance.DRAWS)
    assert (np.abs(drawn.p_value(at) - exact.p_value(at)) < error).all()
    assert drawn.p_value(np.array([2.0]))[0] == 1 / (chance.DRAWS + 1)


def test_the_seed_alone_decides():
    counts = (20, 40)
    first = null_precision(*counts, seed=7).values
    null_precision.cache_clear()
    null_precision(5, 60, seed=7)  # what else was asked for does not matter
    np.testing.assert_array_equal(null_precision(*counts, seed=7).values, first)
    assert not np.array_equal(null_precision(*counts, seed=8).values, first)


def test_mean_of_equal_counts_has_the_null_of_one():
    assert null_of_mean(((2, 5, 4),), seed=0) == null_precision(2, 5, seed=0)


def test_mean_of_different_counts():
    null = null_of_mean(((1, 3, 1), (2, 5, 3)), seed=0)
    expected = (expected_precision(1, 3) + 3 * expected_precision(2, 5)) / 4
    assert np.mean(null.values) == pytest.approx(expected, abs=0.005)


def test_wells_without_precision_have_no_p_value():
    p = p_values(np.array([np.nan, 1.0]), np.array([0, 1]), np.array([3, 1]), seed=0)
    np.testing.assert_array_equal(p, [np.nan, 0.5])
