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


def _p_values(share, *, extra=0.0, effect=0.0, controls=6, rounds=600):
    """Two wells of 60 cells against controls; `extra` is a share's sd from well to well."""
    random, found = np.random.default_rng(3), []
    is_control = np.arange(controls + 2) < controls
    plate, totals = np.zeros(controls + 2, int), np.full(controls + 2, 60)
    for _ in range(rounds):
        usual = np.clip(share + extra * random.normal(size=controls + 2), 0, 1)
        counts = random.binomial(totals, np.where(is_control, usual, usual + effect))
        values, noise = on_test_scale(counts, totals)
        by = yardstick(values, noise, plate=plate, is_control=is_control)
        rows = np.flatnonzero(~is_control)
        found.append(treatment_p_value(values, noise, rows=rows, plate=plate, by=by))
    return np.array(found)


@pytest.mark.parametrize("controls", [3, 6])
@pytest.mark.parametrize("extra", [0.0, 0.06, 0.12])
def test_null_treatments_stay_at_the_level(controls, extra):
    assert (_p_values(0.3, extra=extra, controls=controls) <= 0.05).mean() <= 0.06


def test_a_known_spread_is_not_held_to_few_degrees():
    """With six controls and a t of five degrees: .008 of the nulls, .50 of this effect."""
    assert (_p_values(0.3) <= 0.05).mean() > 0.02
    assert (_p_values(0.01, effect=0.05) <= 0.05).mean() > 0.6
    assert (_p_values(0.01) <= 0.05).mean() <= 0.06


def test_degrees_grow_where_counting_explains_more_than_controls_show():
    def freedom(values, noise):
        known = np.full(len(values), noise)
        every = np.ones(len(values), bool)
        return yardstick(
            np.array(values), known, plate=np.zeros(len(values), int), is_control=every
        )

    few = [0.0, 1.0, 2.0]  # a variance of 1 by two degrees
    assert freedom(few, 0.5)[3:] == (1.0, 2.0)
    assert freedom(few, 2.0)[3:] == (2.0, 4.0)
    many = [0.0, 1.0, 2.0] * 2
    assert freedom(many, 0.5).freedom == 5
    assert freedom(many, 2.0).freedom == np.inf
