"""Directions of cells' vectors, against means by hand and scikit-learn's AUROC."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from plates.errors import NoControls
from profiler.phenotype.cell_neighbours import nearest_cells
from profiler.phenotype.directions import Sides, along, find_direction, separation


def two_sides(*, shift: float, plates: int = 1, seed: int = 0) -> tuple[np.ndarray, Sides]:
    """Wells of 20 cells, four treated and four control ones a plate; treated move along axis 0."""
    rng = np.random.default_rng(seed)
    vectors, treated, well, plate = [], [], [], []
    for p in range(plates):
        for w in range(8):
            is_treated = w < 4
            vectors.append(rng.normal(size=(20, 5)) + 100 * p + shift * is_treated * np.eye(5)[0])
            treated += [is_treated] * 20
            well += [f"P{p} {w}"] * 20
            plate += [f"P{p}"] * 20
    return np.concatenate(vectors), Sides(np.array(treated), np.array(well), np.array(plate))


def test_the_direction_leads_from_the_controls_mean_to_the_treated_mean():
    vectors, sides = two_sides(shift=3)
    found = find_direction(vectors, sides)
    way = vectors[sides.is_treated].mean(0) - vectors[~sides.is_treated].mean(0)
    np.testing.assert_allclose(found.unit, way / np.linalg.norm(way))
    place = along(found, vectors, plate=sides.plate)
    np.testing.assert_allclose(place[~sides.is_treated].mean(), 0, atol=1e-9)
    np.testing.assert_allclose(place[~sides.is_treated].std(), 1)
    np.testing.assert_allclose(place[sides.is_treated].mean(), found.length)
    assert found.unit[0] > 0.95
    assert found.auroc > 0.95


def test_what_plates_differ_in_is_no_direction():
    vectors, sides = two_sides(shift=3, plates=2)
    found = find_direction(vectors, sides)
    assert found.unit[0] > 0.95
    place = along(found, vectors, plate=sides.plate)
    for name in ("P0", "P1"):
        own = ~sides.is_treated & (sides.plate == name)
        np.testing.assert_allclose(place[own].mean(), 0, atol=1e-9)


def test_every_well_counts_the_same_however_many_cells_it_has():
    vectors = np.array([[0.0, 0], [0, 0.1], [1, 0], [1, 0], [1, 0], [0, 1.0]])
    well = np.array(["c", "d", "a", "a", "a", "b"])
    sides = Sides(np.array([False, False, True, True, True, True]), well, np.array(["P"] * 6))
    found = find_direction(vectors, sides)
    np.testing.assert_allclose(found.unit, np.array([0.5, 0.45]) / np.hypot(0.5, 0.45))


def test_of_no_difference_other_wells_say_chance():
    """In-sample, twenty cells in a hundred axes are told apart perfectly; held out they are not."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, 100))
    well = np.repeat([f"w{i}" for i in range(8)], 10)
    sides = Sides(np.repeat([True, False], 40), well, np.array(["P"] * 80))
    found = find_direction(vectors, sides)
    assert separation(along(found, vectors, plate=sides.plate), sides.is_treated) > 0.9
    assert 0.3 < found.auroc < 0.7


@pytest.mark.parametrize(("treated", "controls"), [(1, 2), (1, 8), (2, 4)])
def test_chance_is_half_however_few_controls_plates_have(treated, controls):
    """Wells differ in every axis, as real ones do, and treated ones in nothing else."""

    def judged(seed, shift):
        rng = np.random.default_rng(seed)
        kinds = np.array([True] * treated + [False] * controls)
        is_treated, plate = np.repeat(np.tile(kinds, 2), 10), np.repeat(["A", "B"], 10 * len(kinds))
        wells = [f"{name} {w}" for name in "AB" for w in range(len(kinds))]
        own = 0.5 * rng.normal(size=(len(wells), 20)) + shift * np.tile(kinds, 2)[:, None] / 20**0.5
        vectors = np.repeat(own, 10, axis=0) + rng.normal(size=(len(plate), 20))
        return find_direction(vectors, Sides(is_treated, np.repeat(wells, 10), plate)).auroc

    found = [judged(seed, 0.0) for seed in range(150)]
    assert abs(np.mean(found) - 0.5) < 4 * np.std(found) / 150**0.5
    assert abs(np.mean(found) - 0.5) < 0.05
    assert np.mean([judged(seed, 3.0) for seed in range(20)]) > 0.75


def test_halves_without_controls_of_their_plates_say_nothing():
    vectors, sides = two_sides(shift=3, plates=2)
    named = {"P0 0": "A t", "P1 0": "B t", "P0 4": "A y", "P0 5": "A z", "P1 4": "B y"}

    def judged(named):
        keep = np.isin(sides.well, list(named))
        own = Sides(*(part[keep] for part in sides))
        return find_direction(
            vectors[keep], own._replace(well=np.array([named[each] for each in own.well]))
        ).auroc

    assert judged(named) is None  # in the half of B's treated well are controls of A alone
    assert judged(named | {"P1 5": "B z"}) > 0.9


def test_separation_is_scikit_learns_auroc():
    rng = np.random.default_rng(0)
    place, is_treated = rng.integers(0, 6, 50).astype(float), rng.random(50) < 0.4
    expected = roc_auc_score(is_treated, place)
    np.testing.assert_allclose(separation(place, is_treated), expected)


def test_a_single_well_leaves_it_open_whether_others_agree():
    vectors, sides = two_sides(shift=3)
    keep = ~sides.is_treated | (sides.well == "P0 0")
    one = Sides(*(part[keep] for part in sides))
    assert find_direction(vectors[keep], one).auroc is None


def test_sides_without_cells_and_plates_without_controls_are_told():
    vectors, sides = two_sides(shift=1, plates=2)
    with pytest.raises(NoControls, match="no control cells, so there is no direction"):
        find_direction(vectors, sides._replace(is_treated=np.ones(len(vectors), bool)))
    with pytest.raises(NoControls, match="no treated cells"):
        find_direction(vectors, sides._replace(is_treated=np.zeros(len(vectors), bool)))
    lost = sides.is_treated | (sides.plate == "P1")
    with pytest.raises(NoControls, match="Plates without control cells: P1"):
        find_direction(vectors, sides._replace(is_treated=lost))
    with pytest.raises(NoControls, match="same mean vector"):
        find_direction(np.ones_like(vectors), sides)


def test_nearest_cells_are_those_of_the_smallest_angle():
    rng = np.random.default_rng(1)
    queries, known = rng.normal(size=(7, 4)), rng.normal(size=(30, 4))
    found = nearest_cells(queries, known, n=3)
    cosine = (queries @ known.T) / np.outer(
        np.linalg.norm(queries, axis=1), np.linalg.norm(known, axis=1)
    )
    np.testing.assert_array_equal(found.row, np.argsort(-cosine, axis=1)[:, :3])
    np.testing.assert_allclose(found.cosine, np.sort(cosine, axis=1)[:, ::-1][:, :3])
    longer = nearest_cells(7 * queries, 0.1 * known, n=3)
    np.testing.assert_array_equal(found.row, longer.row)


def test_cells_of_the_same_well_are_no_neighbours_and_missing_ones_are_told():
    known = np.array([[1.0, 0], [0.9, 0.1], [0, 1]])
    wells = np.array(["A", "B", "A"])
    found = nearest_cells(np.array([[1.0, 0]]), known, n=2, apart=(np.array(["A"]), wells))
    np.testing.assert_array_equal(found.row, [[1, -1]])
    assert np.isnan(found.cosine[0, 1])
    nothing = nearest_cells(np.zeros((1, 2)), known, n=2)
    np.testing.assert_array_equal(nothing.row, [[-1, -1]])
    assert nearest_cells(np.ones((1, 2)), known[:0], n=2).row.tolist() == [[-1, -1]]
