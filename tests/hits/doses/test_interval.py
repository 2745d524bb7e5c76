"""The interval of the EC50: its coverage, a slow profile by scipy, and its open ends."""

import numpy as np
import pytest
from scipy import optimize, stats

from profiler.hits.doses.fit import fit
from profiler.hits.doses.interval import confidence_interval

DOSES = np.linspace(0.0, 2.4, 9)


def curve(dose, start, change, log_ec50, slope):
    return start + change / (1 + 10.0 ** np.clip(slope * (log_ec50 - dose), -300, 300))


def simulated(count: int, *, noise: float, anchors: int = 8, replicates: int = 2, seed: int = 0):
    random = np.random.default_rng(seed)
    dose = np.concatenate([np.full(anchors, -np.inf), np.repeat(DOSES, replicates)])
    ec50 = random.uniform(0.5, 1.9, count)
    responses = np.stack([curve(dose, 0.0, 1.0, each, 1.3) for each in ec50])
    return dose, ec50, responses + noise * random.normal(size=responses.shape)


@pytest.mark.parametrize(
    "setting",
    [
        {"noise": 0.05},
        {"noise": 0.2},
        {"noise": 0.002},
        {"noise": 0.05, "anchors": 0, "replicates": 1},
    ],
    ids=str,
)
def test_95_percent_intervals_hold_the_truth_in_95_percent(setting):
    dose, ec50, responses = simulated(300, **setting)
    low, high = confidence_interval(dose, responses, fit(dose, responses))
    holds = (np.nan_to_num(low, nan=-9) <= ec50) & (ec50 <= np.nan_to_num(high, nan=9))
    assert 0.90 <= holds.mean() <= 0.98


def test_agrees_with_a_profile_by_scipy():
    dose, _, responses = simulated(3, noise=0.1)
    found = fit(dose, responses)
    low, high = confidence_interval(dose, responses, found)
    x = np.where(np.isfinite(dose), dose, -50.0)
    allowed = 1 + stats.f.ppf(0.95, 1, len(dose) - 4) / (len(dose) - 4)
    for i, response in enumerate(responses):

        def excess(log_ec50, response=response, best=found.rss[i]):
            def residual(p):
                return curve(x, p[0], p[1], log_ec50, np.exp(p[2])) - response

            bounds = ([-9, -9, np.log(0.2)], [9, 9, np.log(10)])
            return (
                2 * optimize.least_squares(residual, [0, 1, 0.3], bounds=bounds).cost / best
                - allowed
            )

        centre = found.log_ec50[i]
        assert low[i] == pytest.approx(optimize.brentq(excess, centre - 0.8, centre), abs=0.003)
        assert high[i] == pytest.approx(optimize.brentq(excess, centre, centre + 0.8), abs=0.003)


def test_a_plateau_that_was_not_reached_leaves_the_interval_open():
    dose = np.repeat(DOSES, 3)
    response = curve(dose, 0.0, 1.0, 3.0, 1.0) + 0.05 * np.random.default_rng(0).normal(size=27)
    low, high = confidence_interval(dose, response[None], fit(dose, response[None]))
    assert 1.5 < low[0] < 3.0
    assert np.isnan(high[0])


def test_without_noise_the_interval_closes():
    dose, ec50, responses = simulated(2, noise=0.0)
    low, high = confidence_interval(dose, responses, fit(dose, responses))
    np.testing.assert_allclose(low, ec50, atol=1e-3)
    np.testing.assert_allclose(high, ec50, atol=1e-3)


def test_more_confidence_is_wider():
    dose, _, responses = simulated(5, noise=0.1)
    found = fit(dose, responses)
    narrow = confidence_interval(dose, responses, found, level=0.5)
    wide = confidence_interval(dose, responses, found, level=0.95)
    assert ((wide[1] - wide[0]) > 2 * (narrow[1] - narrow[0])).all()
