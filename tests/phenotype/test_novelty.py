"""Novelty: by hand, against full conformal prediction done slowly, calibrated, at the edges."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import kstest

from profiler.phenotype import novelty
from profiler.phenotype.novelty import LEAST_KNOWN, strangeness

RANDOM = np.random.default_rng(5)


def slow_p_value(known: np.ndarray, query: np.ndarray) -> float:
    """Full conformal prediction from its definition: the query joins, everyone is scored."""
    bag = np.vstack([known, query])
    gap = cdist(bag, bag)
    np.fill_diagonal(gap, np.inf)
    score = np.sort(gap, axis=1)[:, :3].mean(axis=1)
    return (score >= score[-1] * (1 - 1e-9)).mean()


def test_agrees_with_the_definition():
    known, queries = RANDOM.normal(size=(25, 3)), RANDOM.normal(size=(15, 3)) * 2
    is_known = np.repeat([True, False], [25, 15])
    found = strangeness(np.vstack([known, queries]), is_known=is_known)
    expected = [slow_p_value(known, query[None]) for query in queries]
    np.testing.assert_allclose(found.p_value[25:], expected)
    own = [slow_p_value(np.delete(known, i, 0), known[[i]]) for i in range(25)]
    np.testing.assert_allclose(found.p_value[:25], own)


def test_distance_is_in_units_of_the_known_wells_own():
    points = np.append(np.arange(12.0), 111.0)[:, None]
    found = strangeness(points, is_known=np.arange(13) < 12)
    assert found.distance[5] == 1.0  # two at 1 and one at 2: 4/3, as most have
    assert found.distance[12] == pytest.approx(101 / (4 / 3))
    assert found.p_value[12] == pytest.approx(1 / 13)


def test_p_values_of_known_like_wells_are_uniform():
    p_values = []
    for _ in range(60):
        points = RANDOM.normal(size=(40, 4))
        is_known = np.arange(40) < 39
        p_values.append(strangeness(points, is_known=is_known).p_value[39])
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_strange_wells_are_found_and_known_ones_have_no_q_value():
    points = np.vstack([RANDOM.normal(size=(60, 5)), RANDOM.normal(size=(4, 5)) + 20])
    is_known = np.arange(64) < 40
    table = novelty(points, is_known=is_known, log_count=RANDOM.normal(size=64))
    assert (table["Novelty_q_value"][60:] < 0.2).all()
    assert (table["Novelty"][60:] > 3).all()
    assert table["Novelty_q_value"].is_null().to_list() == [*is_known]
    assert (table["Novelty_p_value_by_count"][60:] > 0.02).all()


def test_the_baseline_sees_what_the_count_tells():
    count = np.append(RANDOM.normal(size=30), -9.0)
    table = novelty(np.zeros((31, 2)), is_known=np.arange(31) < 30, log_count=count)
    assert table["Novelty_p_value_by_count"][30] == pytest.approx(1 / 31)
    assert table["Novelty_p_value"].to_list() == [1.0] * 31
    assert table["Novelty"].null_count() == 31  # the known ones do not differ: no unit


def test_missing_counts_are_null_not_zero():
    count = np.append(RANDOM.normal(size=30), np.nan)
    table = novelty(RANDOM.normal(size=(31, 2)), is_known=np.arange(31) < 30, log_count=count)
    assert table["Novelty_p_value_by_count"].null_count() == 1


def test_too_few_known_wells_give_no_test():
    table = novelty(RANDOM.normal(size=(20, 2)), is_known=np.arange(20) < LEAST_KNOWN - 1)
    assert table["Novelty"].null_count() == table["Novelty_p_value"].null_count() == 20


def test_order_does_not_matter():
    points, order = RANDOM.normal(size=(50, 3)), RANDOM.permutation(50)
    is_known = np.arange(50) < 30
    found = strangeness(points, is_known=is_known)
    shuffled = strangeness(points[order], is_known=is_known[order])
    np.testing.assert_allclose(shuffled.p_value, found.p_value[order])
