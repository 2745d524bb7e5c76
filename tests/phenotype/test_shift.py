"""Deviations from the controls: against scipy, calibrated with wells as units, at the edges."""

import numpy as np
import pytest
from scipy.stats import binom, f, kstest, norm, t

from profiler.phenotype.shift import (
    ENOUGH_FREEDOM,
    Angles,
    Spread,
    deviation_p_values,
    less_half,
    p_value,
    plain,
    shares_apart,
)

RANDOM = np.random.default_rng(7)
ONE_PLATE = {"plate": np.zeros(20, np.int64), "is_control": np.arange(20) < 10}


def p_values_of(values, *, controls: int, noise: float = 0.0, plate=None) -> np.ndarray:
    values = np.asarray(values, dtype=float)[:, None]
    return deviation_p_values(
        plain(values)._replace(noise=np.full_like(values, noise)),
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


def test_a_control_with_more_cells_is_held_against_the_others():
    values, noise = RANDOM.normal(size=(7, 1)), RANDOM.uniform(0.1, 0.9, (7, 1))
    angles, plate = plain(values)._replace(noise=noise), np.zeros(7, int)
    found = deviation_p_values(angles, plate=plate, is_control=np.ones(7, bool))
    for i in range(7):
        alone = deviation_p_values(angles, plate=plate, is_control=np.arange(7) != i)
        assert found[i, 0] == pytest.approx(alone[i, 0])


def test_p_values_are_uniform_when_wells_differ_by_more_than_their_cells_do():
    """Shares of 200 cells that also vary from well to well: a test of cells would find all."""
    p_values = []
    for _ in range(60):
        share = np.clip(0.3 + 0.1 * RANDOM.normal(size=20), 0.01, 0.99)
        in_part = RANDOM.binomial(200, share)
        counts = np.column_stack([in_part, 200 - in_part])
        found = deviation_p_values(shares_apart(counts), **ONE_PLATE)
        p_values += found[10:12, 0].tolist() + found[:1, 0].tolist()
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_few_cells_are_no_deviation():
    counts = np.array([[300, 700], [310, 690], [290, 710], [305, 695], [2, 8], [200, 800]])
    options = {"plate": np.zeros(6, np.int64), "is_control": np.arange(6) < 4}
    found = deviation_p_values(shares_apart(counts), **options)[:, 0]
    assert found[4] > 0.2 > 0.01 > found[5]


def test_noise_of_counting_is_the_least_spread():
    same = [1.0, 1.0, 1.0, 1.0, 1.1]
    assert np.isnan(p_values_of(same, controls=4)[4])  # no spread at all is no yardstick
    assert p_values_of(same, controls=4, noise=0.01)[4] == pytest.approx(
        2 * norm.sf(0.1 / np.sqrt(0.01 * 1.25))  # all of it is known
    )


def test_the_spread_is_pooled_over_plates_and_the_centre_is_not():
    values = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 1.0]
    is_control = np.arange(7) < 6
    plate = np.array([0, 0, 0, 1, 1, 1, 0])
    column = plain(np.array(values)[:, None])
    found = deviation_p_values(column, plate=plate, is_control=is_control)
    assert found[6, 0] == 1.0
    plate[6] = 1
    found = deviation_p_values(column, plate=plate, is_control=is_control)
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
    angle, noise, half = shares_apart(np.array([[0, 0], [5, 5]]))
    assert np.isnan(angle[0]).all()
    np.testing.assert_allclose(angle[1], np.arcsin(np.sqrt(0.5)))
    np.testing.assert_allclose(noise[1], 1 / 42)
    assert half[1].tolist() == [0, 0]


def test_what_is_known_adds_degrees_as_satterthwaite_has_it():
    by = Spread(shown=2.0, between=0.5, freedom=12.0)
    variance = 0.5 * 1.5 + 3.0
    freedom = 12 * (variance / (2.0 * 1.5)) ** 2
    expected = 2 * t.sf(4.0 / np.sqrt(variance), freedom)
    assert p_value(4.0, by=by, weight=1.5, noise=3.0) == pytest.approx(expected)
    few = Spread(shown=2.0, between=0.5, freedom=3.0)
    freedom = 3 * (variance / (2.0 * 1.5)) ** (3 / 5)  # believed less far
    expected = 2 * t.sf(4.0 / np.sqrt(variance), freedom)
    assert p_value(4.0, by=few, weight=1.5, noise=3.0) == pytest.approx(expected)
    less = Spread(shown=2.0, between=0.0, freedom=3.0)  # well known, as it has more cells
    expected = 2 * t.sf(4.0 / np.sqrt(1.2), 3 * (1.2 / 3.0) ** 2)
    assert p_value(4.0, by=less, weight=1.5, noise=1.2) == pytest.approx(expected)


@pytest.mark.parametrize("others", [9, 10])
def test_ten_wells_of_a_plate_lend_degrees(others):
    controls = np.array([0.0, 1.0, 2.0])
    values = np.array([*controls, *np.linspace(-2, 3, others)])
    found = p_values_of(values, controls=3)[3]
    squares, freedom = ((controls - 1) ** 2).sum(), 2.0
    if others == 10:
        away = np.sort(np.abs(values[3:] - np.median(values[3:])))
        squares += 5 * np.quantile(away, norm.cdf(1) - norm.cdf(-1)) ** 2
        freedom += 5
    assert found == pytest.approx(
        2 * t.sf(3 / np.sqrt(squares / freedom * 4 / 3), freedom), rel=1e-3
    )


def test_wells_that_differ_by_too_much_lend_nothing():
    most = np.sqrt(f.isf(0.1, 21, 2))  # in standard deviations of the controls, which is 1
    alone = 2 * t.sf(4 / np.sqrt(4 / 3), 2)
    for width, is_lent in ((4, True), (5, False)):
        others = np.array([*np.linspace(-width, width, 41), 5.0])
        away = np.abs(others - np.median(others))
        assert (np.quantile(away, norm.cdf(1) - norm.cdf(-1)) < most) == is_lent
        found = p_values_of([0.0, 1.0, 2.0, *others], controls=3)[-1]
        assert (found != pytest.approx(alone)) == is_lent


def test_wells_with_less_than_half_the_cells_lend_nothing():
    random = np.random.default_rng(0)
    totals = np.array([200] * 3 + [90] * 30 + [200])
    counts = random.binomial(totals, 0.2)
    counts[-1] = 80
    options = {"plate": np.zeros(34, np.int64), "is_control": np.arange(34) < 3}
    every = shares_apart(np.stack([counts, totals - counts], axis=1))
    found = deviation_p_values(every, **options)[-1]
    rows = np.r_[:3, 33]
    alone = deviation_p_values(
        Angles(*(each[rows] for each in every)), plate=np.zeros(4, int), is_control=rows < 3
    )
    np.testing.assert_array_equal(found, alone[-1])


def test_controls_in_plenty_borrow_nothing():
    values = RANDOM.normal(size=ENOUGH_FREEDOM + 31)
    found = p_values_of(values, controls=ENOUGH_FREEDOM + 1)
    alone = p_values_of(values[: ENOUGH_FREEDOM + 2], controls=ENOUGH_FREEDOM + 1)
    assert found[ENOUGH_FREEDOM + 1] == alone[-1]


def test_plates_with_more_cells_have_less_noise():
    """One spread for all plates, to which each adds what counting gives its own wells."""
    noise = np.array([0.4] * 4 + [0.1] * 4 + [0.4, 0.1])[:, None]
    values = np.array([0.0, 2.0, 0.0, 2.0] * 2 + [4.0, 4.0])[:, None]
    plate = np.array([0] * 4 + [1] * 4 + [0, 1])
    found = deviation_p_values(
        plain(values)._replace(noise=noise), plate=plate, is_control=np.arange(10) < 8
    )[8:, 0]
    shown = 8 / 6
    between = shown - 0.25
    for p, own in zip(found, (0.4, 0.1), strict=True):
        variance = 1.25 * (between + own)
        ratio = variance / (1.25 * shown)
        freedom = 6 * ratio ** (6 / 5 if ratio > 1 else 2)
        assert p == pytest.approx(2 * t.sf(3 / np.sqrt(variance), freedom))


def test_half_a_cell_is_taken_off_towards_the_nearer_end():
    angle, _, half = shares_apart(np.array([[2, 98], [98, 2]]))
    nearer = np.arcsin(np.sqrt((2.5 + 0.375) / 100.75))
    np.testing.assert_allclose(half[0], [nearer - angle[0, 0], angle[0, 0] - nearer])
    np.testing.assert_allclose(half[1], half[0][::-1])
    assert less_half(-0.3, 0.1) == pytest.approx(-0.2)
    assert less_half(0.3, 0.1) == 0.3
    assert less_half(0.05, -0.1) == 0


@pytest.mark.parametrize("found", [0, 1, 2, 18, 22])
def test_rare_counts_are_as_unlikely_as_the_binomial_has_them(found):
    """Controls in plenty with 8 cells in 1,000 each, so that nothing but counting is left."""
    counts = np.array([8] * 200 + [found])
    p = deviation_p_values(
        shares_apart(np.stack([counts, 1000 - counts], axis=1)),
        plate=np.zeros(201, int),
        is_control=np.arange(201) < 200,
    )[-1, 0]
    tail = binom.cdf(found, 1000, 0.008) if found < 8 else binom.sf(found - 1, 1000, 0.008)
    assert 0.1 < p / (2 * tail) < 4  # .02 of it for none, without half a cell


class Screens:
    """Screens without an effect, a column each: `controls` wells and 40 others on every plate."""

    def __init__(self, *, controls, cells, share, sd=0.0, rounds=150):
        random = np.random.default_rng(5)
        wells = (controls + 40) * len(cells)
        self.plate = np.repeat(np.arange(len(cells)), controls + 40)
        self.is_control = np.tile(np.arange(controls + 40) < controls, len(cells))
        self.share = np.full((wells, rounds), share)
        if sd:
            size = (1 - share) / share / sd**2 - 1
            self.share = random.beta(share * size, (1 - share) * size, (wells, rounds))
        usual = np.array(cells)[self.plate, None]
        self.totals = random.poisson(usual * random.uniform(0.7, 1.3, (wells, rounds)))
        self.random = random

    def p_values(self, factor: float | np.ndarray = 1.0):
        counts = self.random.binomial(self.totals, np.minimum(self.share * factor, 1))
        each = [
            shares_apart(np.stack(pair, axis=1))
            for pair in zip(counts.T, (self.totals - counts).T, strict=True)
        ]
        parts = zip(*each, strict=True)
        angles = Angles(*(np.stack([x[:, 0] for x in part], axis=1) for part in parts))
        return deviation_p_values(angles, plate=self.plate, is_control=self.is_control)


def _assert_at_most(p, level):
    """By screens, as wells of one share their controls."""
    shares = (p <= level).mean(axis=0)
    assert shares.mean() <= level + 2.6 * shares.std() / np.sqrt(len(shares)) + 1e-4


@pytest.mark.parametrize("controls", [3, 8, 32])
@pytest.mark.parametrize("sd", [0.0, 0.1, 0.2])
@pytest.mark.parametrize(("cells", "share"), [([60], 0.1), ([400], 0.3), ([1000, 1000], 0.008)])
def test_levels_hold_without_effect(controls, sd, cells, share):
    screens = Screens(controls=controls, cells=cells, share=share, sd=sd)
    p = screens.p_values()
    for wells in (~screens.is_control, screens.is_control):
        some = p[wells & np.isfinite(p).all(axis=1)]
        for level in (0.05, 0.01, 0.001) if len(some) else ():
            _assert_at_most(some, level)


@pytest.mark.parametrize("sd", [0.0, 0.2])
def test_levels_hold_where_plates_differ_in_their_cells(sd):
    """Where one noise stands for all plates: .07, .02 and .002 of the wells with few cells."""
    screens = Screens(controls=16, cells=[40, 160], share=0.2, sd=sd)
    p = screens.p_values()
    for plate in (0, 1):
        for level in (0.05, 0.01, 0.001):
            _assert_at_most(p[(screens.plate == plate) & ~screens.is_control], level)


def test_three_controls_suffice_where_other_wells_are_like_them():
    """With two degrees of freedom none of the shifted wells had a p-value below .02."""
    screens = Screens(controls=3, cells=[300], share=0.3)
    shifted = screens.p_values(factor=np.where(np.arange(43) < 39, 1.0, 2.0)[:, None])[39:]
    assert (shifted <= 0.001).mean() > 0.9
