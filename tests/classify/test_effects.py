"""Tests of treatments: one well as `shift`, several by a classical t, uniform without effect."""

import numpy as np
import pytest
from scipy.stats import kstest, ttest_ind
from scipy.stats import t as student

from profiler.classify.effects import on_test_scale, treatment_p_value
from profiler.phenotype.shift import Angles, deviation_p_values, plain, yardstick


def test_one_well_is_tested_as_subpopulations_are():
    random = np.random.default_rng(0)
    plate = np.repeat([0, 1], 20)
    is_control = np.tile([True] * 6 + [False] * 14, 2)
    totals = random.integers(20, 60, 40)
    angles = on_test_scale(random.binomial(totals, 0.2), totals)
    against = {"plate": plate, "is_control": is_control}
    every = Angles(*(each[:, None] for each in angles))
    expected = deviation_p_values(every, **against)[:, 0]
    by = yardstick(angles, **against)
    found = [
        treatment_p_value(angles, rows=np.array([row]), plate=plate, by=by)
        for row in np.flatnonzero(~is_control)
    ]
    np.testing.assert_allclose(found, expected[~is_control])


def test_several_wells_are_students_test_with_the_controls_spread():
    random = np.random.default_rng(1)
    values = random.normal(size=14)
    is_control = np.arange(14) < 10
    values[10:] = values[10:].mean() + np.array([0.5, -0.5, 0.5, -0.5])
    plate = np.zeros(14, int)
    by = yardstick(plain(values), plate=plate, is_control=is_control)
    found = treatment_p_value(plain(values), rows=np.arange(10, 14), plate=plate, by=by)
    own, spread = values[:10], values[:10].std(ddof=1)
    t = (values[10:].mean() - own.mean()) / (spread * np.sqrt(1 / 4 + 1 / 10))
    assert found == pytest.approx(2 * student.sf(abs(t), 9))
    assert found != pytest.approx(ttest_ind(values[10:], own).pvalue)  # spread of controls alone


def test_wells_of_several_plates_by_hand():
    """Two wells of plate 0, one of plate 1, each held against two controls of its own."""
    plate = np.array([0, 0, 1, 1, 0, 0, 1])
    values = np.array([0.0, 2.0, 1.0, 5.0, 4.0, 6.0, 9.0])
    noise = np.array([0.5, 0.7, 0.2, 0.2, 0.9, 0.3, 0.1])
    half = np.array([0.0] * 4 + [-0.3, -0.6, -0.3])
    angles = Angles(values, noise, half)
    by = yardstick(angles, plate=plate, is_control=np.arange(7) < 4)
    found = treatment_p_value(angles, rows=np.array([4, 5, 6]), plate=plate, by=by)
    gap = (3 + 5 + 6) / 3 - 0.4 / 3  # half a cell in all
    shown, between = (2 + 8) / 2, 5 - (0.6 + 0.2) / 2
    weight = 1 / 3 + (2 / 3) ** 2 / 2 + (1 / 3) ** 2 / 2
    known = (0.9 + 0.3 + 0.1) / 9 + (2 / 3) ** 2 * 0.6 / 2 + (1 / 3) ** 2 * 0.2 / 2
    variance = between * weight + known
    ratio = variance / (shown * weight)
    freedom = 2 * ratio ** (2 / 5 if ratio > 1 else 2)
    assert found == pytest.approx(2 * student.sf(gap / np.sqrt(variance), freedom))


def test_without_effect_p_values_are_uniform():
    random, found = np.random.default_rng(2), []
    plate = np.repeat([0, 1], 9)
    is_control = np.tile([True] * 6 + [False] * 3, 2)
    for _ in range(400):
        shares = random.beta(8, 32, 18)
        totals = random.integers(80, 120, 18)
        angles = on_test_scale(random.binomial(totals, shares), totals)
        by = yardstick(angles, plate=plate, is_control=is_control)
        rows = np.flatnonzero(~is_control)
        found.append(treatment_p_value(angles, rows=rows, plate=plate, by=by))
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("controls", [[], [0], [0, 1]])
def test_too_few_controls_give_no_test(controls):
    values, plate = plain(np.arange(6.0)), np.zeros(6, int)
    by = yardstick(values, plate=plate, is_control=np.isin(np.arange(6), controls))
    assert np.isnan(treatment_p_value(values, rows=np.array([4, 5]), plate=plate, by=by))


def _p_values(share, *, extra=0.0, effect=0.0, controls=6, others=20, rounds=600):
    """Two wells of 60 cells on a plate; `extra` is a share's sd from well to well."""
    random, found = np.random.default_rng(3), []
    wells = controls + 2 + others
    is_control, rows = np.arange(wells) < controls, np.array([controls, controls + 1])
    plate, totals = np.zeros(wells, int), np.full(wells, 60)
    added = np.where(np.isin(np.arange(wells), rows), effect, 0.0)
    for _ in range(rounds):
        usual = np.clip(share + extra * random.normal(size=wells) + added, 0, 1)
        angles = on_test_scale(random.binomial(totals, usual), totals)
        by = yardstick(angles, plate=plate, is_control=is_control)
        found.append(treatment_p_value(angles, rows=rows, plate=plate, by=by))
    return np.array(found)


@pytest.mark.parametrize("controls", [3, 6])
@pytest.mark.parametrize("extra", [0.0, 0.06, 0.12])
@pytest.mark.parametrize("others", [0, 20])
def test_null_treatments_stay_at_the_level(controls, extra, others):
    p = _p_values(0.3, extra=extra, controls=controls, others=others)
    for level in (0.05, 0.01, 0.001):  # and 2.6 standard errors of 600 draws
        assert (p <= level).mean() <= level + 2.6 * np.sqrt(level / 600)


def test_six_controls_do_not_hide_what_counting_knows():
    """With six controls and a t of five degrees: .008 of the nulls, .50 of this effect."""
    assert (_p_values(0.3) <= 0.05).mean() > 0.02
    assert (_p_values(0.01, effect=0.05) <= 0.05).mean() > 0.6
    assert (_p_values(0.01) <= 0.05).mean() <= 0.06
