"""Tests of treatments: one well as `shift`, several by a classical t, uniform without effect."""

import numpy as np
import pytest
from scipy.stats import kstest, ttest_ind
from scipy.stats import t as student

from profiler.classify.effects import on_test_scale, treatment_p_value, yardstick
from profiler.phenotype.shift import deviation_p_values


def test_one_well_is_tested_as_subpopulations_are():
    random = np.random.default_rng(0)
    plate = np.repeat([0, 1], 10)
    is_control = np.tile([True] * 6 + [False] * 4, 2)
    totals = random.integers(20, 60, 20)
    values, noise = on_test_scale(random.binomial(totals, 0.2), totals)
    against = {"plate": plate, "is_control": is_control}
    expected = deviation_p_values(values[:, None], noise=noise[:, None], **against)[:, 0]
    by = yardstick(values, noise, **against)
    found = [
        treatment_p_value(values, noise, rows=np.array([row]), plate=plate, by=by)
        for row in np.flatnonzero(~is_control)
    ]
    np.testing.assert_allclose(found, expected[~is_control])


def test_several_wells_are_students_test_with_the_controls_spread():
    random = np.random.default_rng(1)
    values = random.normal(size=14)
    is_control = np.arange(14) < 10
    values[10:] = values[10:].mean() + np.array([0.5, -0.5, 0.5, -0.5])
    nothing, plate = np.zeros(14), np.zeros(14, int)
    by = yardstick(values, nothing, plate=plate, is_control=is_control)
    found = treatment_p_value(values, nothing, rows=np.arange(10, 14), plate=plate, by=by)
    own, spread = values[:10], values[:10].std(ddof=1)
    t = (values[10:].mean() - own.mean()) / (spread * np.sqrt(1 / 4 + 1 / 10))
    assert found == pytest.approx(2 * student.sf(abs(t), 9))
    assert found != pytest.approx(ttest_ind(values[10:], own).pvalue)  # spread of controls alone


def test_without_effect_p_values_are_uniform():
    random, found = np.random.default_rng(2), []
    plate = np.repeat([0, 1], 9)
    is_control = np.tile([True] * 6 + [False] * 3, 2)
    for _ in range(400):
        shares = random.beta(8, 32, 18)
        totals = random.integers(80, 120, 18)
        values, noise = on_test_scale(random.binomial(totals, shares), totals)
        by = yardstick(values, noise, plate=plate, is_control=is_control)
        rows = np.flatnonzero(~is_control)
        found.append(treatment_p_value(values, noise, rows=rows, plate=plate, by=by))
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("controls", [[], [0], [0, 1]])
def test_too_few_controls_give_no_test(controls):
    values, nothing, plate = np.arange(6.0), np.zeros(6), np.zeros(6, int)
    by = yardstick(values, nothing, plate=plate, is_control=np.isin(np.arange(6), controls))
    found = treatment_p_value(values, nothing, rows=np.array([4, 5]), plate=plate, by=by)
    assert np.isnan(found)
