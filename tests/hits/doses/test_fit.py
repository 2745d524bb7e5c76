"""Logistic curves: against scipy.optimize.curve_fit, exactly, by invariance."""

import numpy as np
import pytest
from scipy import optimize

from profiler.hits.doses.fit import fit
from profiler.hits.doses.logistic import levels_of

DOSES = np.linspace(0.0, 2.4, 9)
DOSE = np.concatenate([np.full(8, -np.inf), np.repeat(DOSES, 2)])


def curve(dose, start, change, log_ec50, slope):
    return start + change / (1 + 10.0 ** np.clip(slope * (log_ec50 - dose), -300, 300))


def simulated(count: int, *, noise: float, seed: int = 0):
    random = np.random.default_rng(seed)
    truth = np.stack(
        [
            random.normal(5, 2, count),
            random.choice([-3.0, 3.0], count),
            random.uniform(0.5, 1.9, count),
            random.uniform(0.8, 2.5, count),
        ]
    )
    responses = np.stack([curve(DOSE, *each) for each in truth.T])
    return truth, responses + noise * random.normal(size=responses.shape)


def test_noiseless_curves_are_found_exactly():
    truth, responses = simulated(50, noise=0.0)
    found = fit(DOSE, responses)
    for name, expected in zip(("start", "change", "log_ec50", "slope"), truth, strict=True):
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-5)
    assert found.converged.all()


def test_agrees_with_curve_fit():
    truth, responses = simulated(30, noise=0.15)
    found = fit(DOSE, responses)
    dose = np.where(np.isfinite(DOSE), DOSE, -50.0)
    for i, response in enumerate(responses):
        best, covariance = optimize.curve_fit(curve, dose, response, p0=truth[:, i], maxfev=5000)
        assert found.rss[i] <= ((response - curve(dose, *best)) ** 2).sum() * (1 + 1e-6)
        assert found.log_ec50[i] == pytest.approx(best[2], abs=1e-3)
        assert found.se[i] == pytest.approx(np.sqrt(covariance[2, 2]), rel=0.01)


@pytest.mark.parametrize("slope", [0.8, 12.0])
def test_noisy_and_steep_curves_are_no_worse_than_scipys(slope):
    # Whole Gauss-Newton steps zigzag where noise is high, and stop short of the slope's bound.
    dose = np.concatenate([np.full(64, -np.inf), np.repeat(np.linspace(-2, 2, 9), 2)])
    random = np.random.default_rng(0)
    log_ec50 = random.uniform(-1.5, 1.5, 40)
    responses = np.stack([curve(dose, 0, 6, each, slope) for each in log_ec50])
    responses += random.normal(size=responses.shape)
    found = fit(dose, responses)
    assert found.converged.all()
    finite = np.where(np.isfinite(dose), dose, -50.0)
    bounds = [-np.inf, -np.inf, -3, 0.2], [np.inf, np.inf, 3, 10]
    for i, response in enumerate(responses):
        if found.slope[i] < 9.99:
            start, which = [0, 6, log_ec50[i], min(slope, 9)], slice(None)
        else:  # scipy creeps along the bound: let it go along there only
            start, which = [0, 6, log_ec50[i]], slice(3)

        def bounded(dose, *free, which=which):
            return curve(dose, *(*free, 10.0)[:4])

        limits = [end[which] for end in bounds]
        best, _ = optimize.curve_fit(bounded, finite, response, p0=start, bounds=limits)
        assert found.rss[i] <= ((response - bounded(finite, *best)) ** 2).sum() * (1 + 1e-6)


def test_the_bias_of_the_ec50_is_small():
    truth, responses = simulated(300, noise=0.15)
    error = fit(DOSE, responses).log_ec50 - truth[2]
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(300)
    assert error.std() < 0.1


def test_units_of_dose_and_response_do_not_matter():
    _, responses = simulated(10, noise=0.15)
    first, moved = fit(DOSE, responses), fit(DOSE + 3, 1e-5 * responses - 7)
    np.testing.assert_allclose(moved.log_ec50, first.log_ec50 + 3, atol=1e-4)
    np.testing.assert_allclose(moved.change, 1e-5 * first.change, rtol=1e-3)


def test_the_order_of_wells_and_the_company_do_not_matter():
    _, responses = simulated(10, noise=0.15)
    order = np.random.default_rng(0).permutation(len(DOSE))
    np.testing.assert_allclose(
        fit(DOSE[order], responses[:, order]).log_ec50, fit(DOSE, responses).log_ec50, atol=1e-6
    )
    np.testing.assert_allclose(
        fit(DOSE, responses[3:4]).log_ec50, fit(DOSE, responses).log_ec50[3:4], atol=1e-12
    )


def test_every_noise_has_an_end():
    responses = np.random.default_rng(0).normal(size=(500, len(DOSE)))
    found = fit(DOSE, responses)
    assert found.converged.all()
    total = ((responses - responses.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    assert (found.rss <= total).all()


def test_constant_responses_have_no_change():
    found = fit(DOSE, np.full((1, len(DOSE)), 3.0))
    assert (found.change[0], found.start[0]) == pytest.approx((0.0, 3.0))


def test_replicates_are_reduced_to_means_and_the_rest():
    dose = np.array([1.0, -np.inf, 1.0, 2.0])
    levels, means, within = levels_of(dose, np.array([[1.0, 5.0, 3.0, 7.0]]))
    assert levels.dose.tolist() == [-np.inf, 1.0, 2.0]
    assert means.tolist() == [[5.0, 2.0, 7.0]]
    assert within.tolist() == [2.0]
