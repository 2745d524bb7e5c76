"""Means of wells, by hand and by simulation: no count of cells makes a known well look new."""

import numpy as np
import pytest

from profiler.classify.trust.well_means import KnownWells, known_wells, well_p_value

CELL_VARIANCE = 1 / 12  # of a uniform score


def test_variances_by_hand():
    """Ten wells of 2 and of 4 cells by turns, each well's cells at its mean -.1 and +.1."""
    counts = np.array([2, 4] * 5)
    means = np.linspace(0.1, 0.9, 10)
    wells = np.repeat(np.arange(10), counts)
    scores = means[wells] + np.tile([-0.1, 0.1], 15)
    found = known_wells(scores, wells)
    assert found is not None
    assert found.cells.tolist() == counts.tolist()
    np.testing.assert_allclose(found.means, means)
    assert found.within == pytest.approx(30 * 0.01 / 20)
    square = (counts * (means - scores.mean()) ** 2).sum() / 9
    size = (30 - (5 * 4 + 5 * 16) / 30) / 9
    assert np.mean(found.between) == pytest.approx((square - found.within) / size)
    error = np.sqrt(2 * square**2 / 9 + 2 * found.within**2 / 20) / size
    assert np.diff(found.between) == pytest.approx([2 * error])


def test_variances_are_right_on_average():
    random, found = np.random.default_rng(0), []
    counts = random.integers(1, 12, 40)
    wells = np.repeat(np.arange(40), counts)
    for _ in range(300):
        scores = random.normal(0.5, 0.2, len(wells)) + random.normal(0, 0.3, 40)[wells]
        known = known_wells(scores, wells)
        assert known is not None
        found.append((known.within, *known.between))
    within, low, high = np.mean(found, axis=0)
    assert within == pytest.approx(0.04, rel=0.03)
    assert (low + high) / 2 == pytest.approx(0.09, rel=0.05)


def test_nine_wells_are_too_few():
    assert known_wells(np.linspace(0, 1, 90), np.repeat(np.arange(9), 10)) is None


@pytest.mark.parametrize("between", [(0.0, 0.0), (0.001, 0.4)])
def test_with_as_many_cells_everywhere_means_are_ranked(between):
    random = np.random.default_rng(1)
    means = random.random(30)
    known = KnownWells(np.full(30, 7), means, 0.08, between)
    for mean in (*random.random(20), means[3], means.max() + 0.1, -1.0):
        expected = (1 + (means >= mean).sum()) / 31
        assert well_p_value(float(mean), 7, known) == pytest.approx(expected)


def test_the_same_mean_says_more_of_more_cells():
    random = np.random.default_rng(2)
    known = known_wells(random.random(1200), np.repeat(np.arange(40), 30))
    assert known is not None
    found = [well_p_value(0.62, cells, known) for cells in (1, 3, 10, 30, 300)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.2
    assert found[-1] == 1 / 41


def test_equal_scores_and_single_cells_are_borne():
    still = known_wells(np.full(40, 0.5), np.repeat(np.arange(10), 4))
    assert still is not None
    assert well_p_value(0.5, 3, still) == 1
    assert well_p_value(0.6, 3, still) == 1 / 11
    assert well_p_value(0.4, 3, still) == 1
    single = known_wells(np.linspace(0.3, 0.7, 20), np.arange(20))
    assert single is not None
    assert single.within == 0
    assert well_p_value(0.8, 1, single) == 1 / 21
    assert well_p_value(0.8, 500, single) == 1 / 21


def share_called(known_cells, cells, *, wells=40, between=0.0, power=1.0, draws=250, seed=3):
    """How often a well is called new at .05; scores of its cells are uniform to this power."""
    random = np.random.default_rng(seed)
    names = np.repeat(np.arange(wells), known_cells)
    spread = np.sqrt(between * CELL_VARIANCE)
    found = []
    for _ in range(draws):
        scores = random.random(len(names)) + random.normal(0, spread, wells)[names]
        known = known_wells(scores, names)
        assert known is not None
        for _ in range(4):
            mean = (random.random(cells) ** power).mean() + random.normal(0, spread)
            found.append(well_p_value(float(mean), cells, known) <= 0.05)
    return np.mean(found)


@pytest.mark.parametrize("between", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("known_cells", [3, 200])
@pytest.mark.parametrize("cells", [2, 5, 200])
def test_known_wells_are_rarely_called_new_whatever_the_counts(known_cells, cells, between):
    assert share_called(known_cells, cells, between=between) <= 0.07


@pytest.mark.parametrize(("known_cells", "cells"), [(3, 300), (200, 300), (200, 20)])
def test_a_new_well_is_found_whatever_the_counts(known_cells, cells):
    assert share_called(known_cells, cells, power=0.4, draws=60) > 0.8  # mean .71 for .50


def test_counts_of_known_wells_may_differ():
    counts = np.random.default_rng(4).integers(1, 40, 30)
    assert share_called(counts, 50, wells=30, between=0.1) <= 0.07
