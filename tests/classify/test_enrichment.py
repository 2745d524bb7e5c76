"""Enrichment: scipy's beta-binomial, planted parameters, Monte Carlo, and wells without cells."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import beta, betabinom, binom

from profiler.classify.enrichment import Prior, enrichment, fit_prior, share_interval


def test_planted_parameters_come_back():
    totals = np.full(600, 80)
    counts = betabinom.rvs(totals, 3.0, 12.0, random_state=np.random.default_rng(0))
    prior = fit_prior(counts, totals)
    assert prior.mean == pytest.approx(0.2, abs=0.01)
    assert prior.a + prior.b == pytest.approx(15, rel=0.15)


def test_no_other_parameters_are_likelier():
    random = np.random.default_rng(1)
    totals = random.integers(20, 90, 30)
    counts = betabinom.rvs(totals, 2.0, 30.0, random_state=random)
    prior = fit_prior(counts, totals)

    def unlikely(log):
        return -betabinom.logpmf(counts, totals, *np.exp(log)).sum()

    best = minimize(unlikely, np.log([1.0, 10.0]), method="Nelder-Mead")
    assert unlikely(np.log(prior)) <= best.fun + 1e-3


def test_wells_that_differ_by_counting_alone_are_a_binomial():
    totals = np.full(50, 100)
    counts = np.full(50, 10)  # even less than that
    prior = fit_prior(counts, totals)
    assert prior.mean == pytest.approx(0.1, abs=1e-3)
    expected = binom.pmf(np.arange(20), 100, 0.1)
    found = betabinom.pmf(np.arange(20), 100, *prior)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("count", [0, 40])
def test_a_class_that_none_or_all_have_counts_half_a_cell(count):
    prior = fit_prior(np.full(4, count), np.full(4, 40))
    assert prior.mean == pytest.approx(0.5 / 161 if count == 0 else 160.5 / 161)


def test_two_wells_are_too_few():
    assert fit_prior(np.array([1, 2, 0]), np.array([10, 10, 0])) is None


@pytest.mark.parametrize(("count", "total"), [(3, 30), (9, 30), (20, 30), (0, 12)])
def test_score_is_the_odds_of_scipys_integral(count, total):
    prior = Prior(2.0, 15.0)
    own = beta(prior.a + count, prior.b + total - count)
    above, _ = quad(lambda x: beta.pdf(x, prior.a, prior.b) * own.sf(x), 0, 1)
    found = enrichment(np.array([count]), np.array([total]), prior)[0]
    assert found == pytest.approx(np.log2(above / (1 - above)), abs=0.01)


def test_score_is_the_odds_of_drawn_shares():
    prior, random = Prior(4.0, 20.0), np.random.default_rng(2)
    own = random.beta(prior.a + 12, prior.b + 28, 200_000)
    above = (own > random.beta(prior.a, prior.b, 200_000)).mean()
    found = enrichment(np.array([12]), np.array([40]), prior)[0]
    assert found == pytest.approx(np.log2(above / (1 - above)), abs=0.1)


def test_score_rises_with_the_count_and_is_nothing_without_cells():
    prior = Prior(1.0, 9.0)
    scores = enrichment(np.array([0, 1, 5, 20, 40]), np.full(5, 40), prior)
    assert (np.diff(scores) > 0).all()
    assert np.isfinite(enrichment(np.array([3000]), np.array([3000]), prior)).all()
    assert enrichment(np.array([0]), np.array([0]), prior)[0] == pytest.approx(0, abs=1e-3)


def test_interval_covers_as_often_as_it_says():
    counts = binom.rvs(50, 0.3, size=4000, random_state=np.random.default_rng(3))
    low, high = share_interval(counts, np.full(4000, 50))
    assert ((low <= 0.3) & (high >= 0.3)).mean() == pytest.approx(0.95, abs=0.015)
