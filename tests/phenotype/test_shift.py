"""Deviations from the controls: against scipy, calibrated with wells as units, at the edges."""

import numpy as np
import pytest
from scipy.stats import kstest, t

from profiler.phenotype.shift import deviation_p_values, shares_apart

RANDOM = np.random.default_rng(7)


def p_values_of(values, *, controls: int, noise: float = 0.0, plate=None) -> np.ndarray:
    values = np.asarray(values, dtype=float)[:, None]
    return deviation_p_values(
        values,
        noise=np.full_like(values, noise),
        plate=np.zeros(len(values), np.int64) if plate is None else plate,
        is_control=np.arange(len(values)) < controls,
    )[:, 0]


def test_a_new_well_by_students_prediction():
    controls, new = RANDOM.normal(size=6), 2.5
    gap = (new - controls.mean()) / (controls.std(ddof=1) * np.sqrt(1 + 1 / 6))
    assert p_values_of([*controls, new], controls=6)[6] == pytest.approx(2 * t.sf(abs(gap), 5))


def test_a_control_is_held_against_the_others():
    controls = RANDOM.normal(size=7)
    found = p_values_of(controls, controls=7)
    for i in range(7):
        alone = p_values_of([*np.delete(controls, i), controls[i]], controls=6)[6]
        assert found[i] == pytest.approx(alone)


def test_p_values_are_uniform_when_wells_differ_by_more_than_their_cells_do():
    """Shares of 200 cells that also vary from well to well: a test of cells would find all."""
    p_values = []
    for _ in range(60):
        share = np.clip(0.3 + 0.1 * RANDOM.normal(size=20), 0.01, 0.99)
        in_part = RANDOM.binomial(200, share)
        counts = np.column_stack([in_part, 200 - in_part])
        angle, noise = shares_apart(counts)
        found = deviation_p_values(
            angle, noise=noise, plate=np.zeros(20, np.int64), is_control=np.arange(20) < 10
        )
        p_values += found[10:12, 0].tolist() + found[:1, 0].tolist()
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_few_cells_are_no_deviation():
    counts = np.array([[300, 700], [310, 690], [290, 710], [305, 695], [2, 8], [200, 800]])
    angle, noise = shares_apart(counts)
    options = {"plate": np.zeros(6, np.int64), "is_control": np.arange(6) < 4}
    found = deviation_p_values(angle, noise=noise, **options)[:, 0]
    assert found[4] > 0.2 > 0.01 > found[5]


def test_noise_of_counting_is_the_least_spread():
    same = [1.0, 1.0, 1.0, 1.0, 1.1]
    assert np.isnan(p_values_of(same, controls=4)[4])  # no spread at all is no yardstick
    assert p_values_of(same, controls=4, noise=0.01)[4] == pytest.approx(
        2 * t.sf(0.1 / np.sqrt(0.01 * 1.25), 3)
    )


def test_the_spread_is_pooled_over_plates_and_the_centre_is_not():
    values = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 1.0]
    is_control = np.arange(7) < 6
    plate = np.array([0, 0, 0, 1, 1, 1, 0])
    column = np.array(values)[:, None]
    found = deviation_p_values(
        column, noise=np.zeros_like(column), plate=plate, is_control=is_control
    )
    assert found[6, 0] == 1.0
    plate[6] = 1
    found = deviation_p_values(
        column, noise=np.zeros_like(column), plate=plate, is_control=is_control
    )
    assert found[6, 0] == pytest.approx(2 * t.sf(10 / np.sqrt(4 / 3), 4))


@pytest.mark.parametrize("controls", [0, 1, 2])
def test_without_three_controls_there_is_no_test(controls):
    assert np.isnan(p_values_of(RANDOM.normal(size=5), controls=controls)).all()


def test_a_plate_without_controls_has_no_test():
    values = RANDOM.normal(size=7)
    found = p_values_of(values, controls=5, plate=np.array([0, 0, 0, 0, 0, 0, 1]))
    assert np.isfinite(found[:6]).all()
    assert np.isnan(found[6])


def test_a_well_without_cells_has_no_share():
    angle, noise = shares_apart(np.array([[0, 0], [5, 5]]))
    assert np.isnan(angle[0]).all()
    np.testing.assert_allclose(angle[1], np.arcsin(np.sqrt(0.5)))
    np.testing.assert_allclose(noise[1], 1 / 42)
