"""The exchange test: every set by brute force, calibration, what is drawn."""

from itertools import product

import numpy as np
import pytest

from profiler.hits.precision import exchange
from profiler.hits.precision.exchange import Verdict, exchange_tests, lay_out
from profiler.hits.precision.retrieval import precision_of, unit_profiles


def profiles(n: int, *, features: int = 5, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, features))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def pools(*sizes: tuple[int, int]) -> tuple[list, list]:
    """(own, others) wells in each pool -> their rows."""
    own, others, at = [], [], 0
    for n_own, n_others in sizes:
        own.append(np.arange(at, at + n_own))
        others.append(np.arange(at + n_own, at + n_own + n_others))
        at += n_own + n_others
    return own, others


def verdict(unit, own, others, *, apart=None, seed=0) -> Verdict:
    apart = np.arange(len(unit)) if apart is None else apart
    test = lay_out(own, others, apart=apart, random=np.random.default_rng(seed))
    return next(exchange_tests(unit, [test]))


def mean_precision(unit, chosen, rest) -> float:
    """By the kernel for whole tables: wells of each pool that are chosen, and the rest."""
    found = []
    for pool, wells in enumerate(chosen):
        for well in wells:
            relation = np.zeros((1, len(unit)), dtype=np.int8)
            relation[0, np.concatenate(chosen)] = 1
            relation[0, rest[pool]] = -1
            relation[0, well] = 0
            likeness = np.round(unit[[well]] @ unit.T, 9)
            found.append(precision_of(likeness, relation)[0][0])
    return float(np.nanmean(found))


@pytest.mark.parametrize("sizes", [[(1, 3), (1, 4)], [(2, 3)], [(2, 2), (1, 3)], [(1, 2), (1, 0)]])
def test_every_set_by_brute_force(sizes):
    from itertools import combinations

    unit = profiles(sum(map(sum, sizes)))
    own, others = pools(*sizes)
    everyone = [np.concatenate(pair) for pair in zip(own, others, strict=True)]
    choices = product(
        *(combinations(wells, len(mine)) for wells, mine in zip(everyone, own, strict=True))
    )
    means = [
        mean_precision(
            unit, list(map(np.array, some)), list(map(np.setdiff1d, everyone, some))
        )
        for some in choices
    ]  # fmt: skip
    expected = np.mean(np.array(means) >= mean_precision(unit, own, others) - 1e-12)
    found = verdict(unit, own, others)
    assert found == Verdict(pytest.approx(expected), len(means), True)


def test_draws_agree_with_every_set(monkeypatch):
    unit = profiles(40)
    own, others = pools((1, 12), (1, 12), (1, 13))
    exact = verdict(unit, own, others)
    assert exact.is_exact
    monkeypatch.setattr(exchange, "FEW_SETS", 0)
    monkeypatch.setattr(exchange, "ENOUGH", 10**6)
    drawn = verdict(unit, own, others)
    assert drawn.n_sets == exchange.MOST_SETS
    assert drawn.p_value == pytest.approx(exact.p_value, abs=5e-3)


def test_draws_take_every_set_equally_often():
    pool, offsets = np.array([0, 0, 1]), np.array([0, 3, 5])
    random = np.random.default_rng(0)
    sets = exchange._draw(random.random((60_000, 3)), pool, offsets)
    found, counts = np.unique(sets, axis=0, return_counts=True)
    assert len(found) == 3 * 2 * 2
    assert (found[:, 0] != found[:, 1]).all()
    assert counts == pytest.approx(5000, abs=350)


@pytest.mark.parametrize("spectrum", [0.0, 1.0])
def test_compounds_without_effect_have_uniform_p_values(spectrum):
    # Features that hang together make wells alike by chance; the test must know.
    random = np.random.default_rng(1)
    scale = (1 + np.arange(30)) ** -spectrum
    p_values = []
    for seed in range(600):
        own, others = pools(*[(1, 10)] * 4)
        values = random.normal(size=(44, 30)) * scale
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        p_values.append(verdict(unit, own, others, seed=seed).p_value)
    for level in (0.02, 0.1, 0.5):
        error = 3.5 * np.sqrt(level * (1 - level) / 600)
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=error)


def test_alike_replicates_have_the_smallest_p_value():
    unit = profiles(52, features=60)
    own, others = pools(*[(1, 12)] * 4)
    unit[np.concatenate(own)] = unit[0]
    found = verdict(unit, own, others)
    assert found.n_sets == exchange.MOST_SETS
    assert found.p_value == pytest.approx(13**-4, abs=6e-5)  # the compound's own set alone


def test_wells_that_must_be_apart_do_not_match():
    unit = profiles(20)
    own, others = pools((2, 8), (2, 8))
    unit[own[0]], unit[own[1]] = unit[0], unit[9]  # alike within plates only
    alike = verdict(unit, own, others)
    plate = np.repeat([0, 1], 10)
    apart = verdict(unit, own, others, apart=plate)
    assert alike.p_value < 0.05 < apart.p_value


def test_without_matches_or_others_there_is_no_p_value():
    unit = profiles(9)
    assert np.isnan(verdict(unit, *pools((1, 8))).p_value)
    assert np.isnan(verdict(unit, *pools((3, 0))).p_value)


def test_many_wells_are_thinned():
    own, others = pools((40, 900), (10, 900))
    test = lay_out(own, others, apart=np.arange(1850), random=np.random.default_rng(0))
    assert len(test.own) == exchange.MOST_SLOTS
    assert len(test.wells) <= exchange.MOST_WELLS
    assert set(test.wells[test.own]) <= {*own[0], *own[1]}


def test_tests_together_are_as_alone():
    unit = profiles(60)
    tests = [
        lay_out([np.array([i])] * 1 + [np.array([30 + i])], [np.arange(20, 29), np.arange(50, 59)],
                apart=np.arange(60), random=np.random.default_rng(i))
        for i in range(10)
    ]  # fmt: skip
    again = [test._replace(random=np.random.default_rng(i)) for i, test in enumerate(tests)]
    together = list(exchange_tests(unit, tests))
    assert together == [next(exchange_tests(unit, [test])) for test in again]


def test_profiles_of_wells_without_features():
    import polars as pl

    table = pl.DataFrame({"Cells_A": [1.0, None, 0.0], "Cells_B": [0.0, None, 0.0]})
    unit = unit_profiles(table, ["Cells_A", "Cells_B"])
    np.testing.assert_array_equal(unit, [[1, 0], [np.nan] * 2, [np.nan] * 2])
