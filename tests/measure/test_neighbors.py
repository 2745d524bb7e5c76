"""Neighbours against CellProfiler's own, by hand, and at the edges of what is defined."""

import numpy as np
import polars as pl
import pytest
import tifffile
from cp_measure.multimask.measureobjectneighbors import measureobjectneighbors
from scipy import ndimage
from scipy.spatial import KDTree

from plates.errors import BadRecipe, UnknownName
from profiler.measure import COMPARTMENTS, CellLabels, measure, measure_batch, plan_measurement
from profiler.measure.neighbors import Neighbors, neighbors

ENTRY = "profiler.measure.neighbors:neighbors"
OPTIONS = {
    "within_px": {"Nuclei": 1, "Cells": [5, 12]},
    "adjacent": ["Cells", "Cytoplasm"],
}
METHODS = [
    ("Nuclei", "1"),
    ("Cells", "5"),
    ("Cells", "12"),
    ("Cells", "Adjacent"),
    ("Cytoplasm", "Adjacent"),
]


def plan_of(backend="cpu", max_cells=12, **options):
    return plan_measurement(
        families=(ENTRY,),
        stains=("DNA",),
        max_cells=max_cells,
        backend=backend,
        options={ENTRY: options},
    )


@pytest.fixture(scope="module", params=["cpu", "jax"])
def look(request):
    """Neighbours of a field of the one shape, by column."""
    plan = plan_of(request.param, **OPTIONS)

    def found(labels):
        image = np.zeros((*labels.cells.shape, 1), np.float32)
        table = measure(image, labels, plan=plan)
        return dict(zip(plan.columns, table.features.T, strict=True))

    return found


def everywhere(labels):
    return CellLabels(labels, labels, labels)


def nothing(field):
    return np.zeros_like(field.labels.cells)


@pytest.mark.parametrize(("compartment", "suffix"), METHODS)
def test_equals_cp_measure(look, field, compartment, suffix):
    labels = getattr(field.labels, compartment.lower())
    present = np.unique(labels[labels > 0])
    dense = np.searchsorted(present, labels) + (labels > 0)
    method = ("Within a specified distance", int(suffix)) if suffix != "Adjacent" else (suffix, 1)
    expected = measureobjectneighbors(dense.astype(np.int32), dense.astype(np.int32), *method)
    found = look(field.labels)
    for name in Neighbors._fields:
        if name.endswith("ObjectNumber"):
            continue  # cp_measure 0.3.0 calls every object its own closest
        values = expected[f"Neighbors_{name}_{suffix}"]
        got = found[f"{compartment}_Neighbors_{name}_{suffix}"][present - 1]
        np.testing.assert_allclose(got, values, rtol=1e-4, atol=0.01, err_msg=name)


def test_the_closest_are_scipys(look, field):
    labels = field.labels.cells
    present = np.unique(labels[labels > 0])
    centres = np.array(ndimage.center_of_mass(labels, labels, present))
    away, at = KDTree(centres).query(centres, k=3)
    found = look(field.labels)
    for i, which in ((1, "First"), (2, "Second")):
        number = found[f"Cells_Neighbors_{which}ClosestObjectNumber_5"][present - 1]
        distance = found[f"Cells_Neighbors_{which}ClosestDistance_5"][present - 1]
        np.testing.assert_array_equal(number, present[at[:, i]])
        np.testing.assert_allclose(distance, away[:, i], rtol=1e-4)


def test_by_hand(look, field):
    """Squares of 3 x 3: the second a column of background to the right, the third 4 rows below."""
    labels = nothing(field)
    labels[10:13, 10:13], labels[10:13, 14:17], labels[16:19, 10:13] = 2, 5, 9
    found = look(everywhere(labels))

    def of(name, suffix):
        return [found[f"Cells_Neighbors_{name}_{suffix}"][label - 1] for label in (2, 5, 9)]

    assert of("NumberOfNeighbors", "Adjacent") == [0, 0, 0]
    assert of("NumberOfNeighbors", "5") == [2, 2, 2]  # 5 and 9 are sqrt(2² + 4²) = 4.5 apart
    assert of("PercentTouching", "Adjacent") == [0, 0, 0]
    assert of("PercentTouching", "5") == pytest.approx([100, 100, 5 / 8 * 100])
    assert of("FirstClosestObjectNumber", "5") == [5, 2, 2]
    assert of("FirstClosestDistance", "5") == pytest.approx([4, 4, 6])
    assert of("SecondClosestObjectNumber", "5") == [9, 9, 5]
    assert of("SecondClosestDistance", "5") == pytest.approx([6, 52**0.5, 52**0.5])
    angles = [90, np.degrees(np.arctan2(6, 4)), np.degrees(np.arctan2(4, 6))]
    assert of("AngleBetweenNeighbors", "5") == pytest.approx(angles)


def test_touching_at_sides_and_corners(look, field):
    """Four squares of a chessboard: sides make neighbours, corners only count as touching."""
    labels = nothing(field)
    labels[20:24, 20:24], labels[20:24, 24:28], labels[24:28, 28:32] = 1, 2, 3
    found = look(everywhere(labels))
    assert found["Cells_Neighbors_NumberOfNeighbors_Adjacent"][:3].tolist() == [1, 1, 0]
    share = found["Cells_Neighbors_PercentTouching_Adjacent"][:3]  # of outlines of 12 pixels
    assert share == pytest.approx([4 / 12 * 100, 5 / 12 * 100, 1 / 12 * 100])


def test_fewer_than_three_objects(look, field):
    labels = nothing(field)
    labels[0, 0] = 7
    alone = look(everywhere(labels))
    for name in Neighbors._fields:
        value = alone[f"Cells_Neighbors_{name}_5"][6]
        assert value == 0 if name in ("NumberOfNeighbors", "PercentTouching") else np.isnan(value)
    labels[0, 3] = 12
    pair = look(everywhere(labels))
    assert pair["Cells_Neighbors_FirstClosestObjectNumber_5"][[6, 11]].tolist() == [12, 7]
    assert pair["Cells_Neighbors_FirstClosestDistance_5"][[6, 11]].tolist() == [3, 3]
    for name in ("SecondClosestObjectNumber", "SecondClosestDistance", "AngleBetweenNeighbors"):
        assert np.isnan(pair[f"Cells_Neighbors_{name}_5"][[6, 11]]).all(), name
    assert np.isnan(pair["Cells_Neighbors_NumberOfNeighbors_5"][0])  # an absent label


def test_an_object_within_another(look, field):
    """Centres coincide: each is the other's closest, and the angle is undefined."""
    labels = nothing(field)
    labels[20:31, 20:31], labels[25, 25], labels[50, 25] = 3, 4, 8
    found = look(everywhere(labels))
    assert found["Cells_Neighbors_NumberOfNeighbors_Adjacent"][[2, 3]].tolist() == [1, 1]
    assert found["Cells_Neighbors_PercentTouching_Adjacent"][3] == 100
    assert found["Cells_Neighbors_FirstClosestObjectNumber_5"][[2, 3]].tolist() == [4, 3]
    assert found["Cells_Neighbors_FirstClosestDistance_5"][[2, 3]].tolist() == [0, 0]
    assert np.isnan(found["Cells_Neighbors_AngleBetweenNeighbors_5"][[2, 3]]).all()


def test_three_in_a_row_span_180_degrees(look, field):
    labels = nothing(field)
    labels[11, 7], labels[22, 14], labels[33, 21] = 1, 2, 3
    angle = look(everywhere(labels))["Cells_Neighbors_AngleBetweenNeighbors_5"][:3]
    assert angle == pytest.approx([0, 180, 0], abs=1e-3)


def test_of_equally_close_objects_the_lower_label(look, field):
    labels = nothing(field)
    for label, (y, x) in {5: (30, 30), 9: (30, 36), 2: (36, 30), 4: (24, 30)}.items():
        labels[y, x] = label
    found = look(everywhere(labels))
    assert found["Cells_Neighbors_FirstClosestObjectNumber_5"][4] == 2
    assert found["Cells_Neighbors_SecondClosestObjectNumber_5"][4] == 4


@pytest.mark.parametrize("axis", [0, 1])
def test_flip(look, field, axis):
    flipped = CellLabels(*(np.flip(label, axis).copy() for label in field.labels))
    found, expected = look(flipped), look(field.labels)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=0.01, err_msg=name)


def test_relabelling(look, field):
    new = np.concatenate([[0], np.random.default_rng(0).permutation(12) + 1]).astype(np.int32)
    found = look(CellLabels(*(new[label] for label in field.labels)))
    for name, values in look(field.labels).items():
        rows = np.arange(12)
        if "ObjectNumber" in name:
            values = np.where(np.isnan(values), np.nan, new[np.nan_to_num(values).astype(int)])
            rows = np.delete(rows, 3)  # two nuclei are equally close to that of cell 4
        got = found[name][new[1:] - 1][rows]
        np.testing.assert_allclose(got, values[rows], rtol=1e-4, atol=0.01, err_msg=name)


def test_empty_field(look, field):
    for name, values in look(everywhere(nothing(field))).items():
        assert np.isnan(values).all(), name


@pytest.mark.parametrize("backend", ["cpu", "jax"])
def test_labels_without_a_row_are_no_neighbours(backend):
    """As in a batch, where labels above `max_cells` are left out."""
    labels = np.zeros((1, 8, 9), np.int32)
    labels[0, 2:5, 2:4], labels[0, 2:5, 4:6] = 1, 2
    plan = plan_of(backend, max_cells=1, adjacent=["Cells"], within_px={})
    found = measure_batch(np.zeros((1, 8, 9, 1)), everywhere(labels), plan=plan)
    expected = [0, 0, *[np.nan] * 5]
    np.testing.assert_array_equal(np.asarray(found.features)[0], [expected])


def test_distances_beyond_the_field(field):
    """All see all."""
    labels = CellLabels(*(label[:20, :30] for label in field.labels))
    plan = plan_of(within_px={"Cells": 40}, adjacent=[])
    found = measure(np.zeros((20, 30, 1)), labels, plan=plan).features
    others = len(np.unique(labels.cells)) - 2
    count = found[:, plan.columns.index("Cells_Neighbors_NumberOfNeighbors_40")]
    assert others > 0
    assert count[np.unique(labels.cells)[1:] - 1].tolist() == [others] * (others + 1)


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_equals_cellprofiler(reference_folder, compartment):
    """On a real field. CellProfiler also looks at objects that it dropped at the border."""
    folder = reference_folder / "cellprofiler"
    labels = tifffile.imread(folder / f"{compartment}_labels.tif")
    theirs = pl.read_csv(folder / f"{compartment}.csv").sort("ObjectNumber")
    within, adjacent = ({"Nuclei": 10}, []) if compartment == "Nuclei" else ({}, [compartment])
    plan = plan_of(max_cells=37, within_px=within, adjacent=adjacent)
    found = measure(np.zeros((*labels.shape, 1)), everywhere(labels), plan=plan).features
    apart = {}
    for column, values in zip(plan.columns, found.T, strict=True):
        feature = column.split("_", 1)[1]
        expected = theirs[feature].cast(pl.Float64).to_numpy()
        apart[feature.split("_")[1]] = np.abs(values - expected) > 1e-4 * np.abs(expected)
    wrong = {name: off.sum() for name, off in apart.items() if off.any()}
    dropped_ones = {
        "Nuclei": {"FirstClosestDistance", "SecondClosestDistance", "AngleBetweenNeighbors"},
        "Cells": set(Neighbors._fields) - {"FirstClosestObjectNumber", "SecondClosestObjectNumber"},
        "Cytoplasm": set(),
    }
    assert set(wrong) <= dropped_ones[compartment]
    assert max(wrong.values(), default=0) <= 12


def test_columns_are_jumps(reference_folder):
    jump = (reference_folder / "jump_feature_columns.txt").read_text().split()
    plan = plan_measurement(families=(ENTRY,), stains=("DNA",), max_cells=1)
    assert set(plan.columns) == {name for name in jump if "_Neighbors_" in name}


def test_equal_options_are_equal_families():
    assert neighbors() == neighbors()
    assert hash(plan_of(**OPTIONS)) == hash(plan_of(**OPTIONS))
    assert neighbors(within_px={"Cells": 5}) == neighbors(within_px={"Cells": [5, 5]})
    assert neighbors(within_px={"Cells": 5}) != neighbors(within_px={"Cells": 6})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"within_px": {"Cells": 0}}, BadRecipe, r"within_px = 0; expected whole pixels, at lea"),
        ({"within_px": {"Cells": [5, 2.5]}}, BadRecipe, r"within_px = 2\.5; expected whole"),
        ({"within_px": {"Cells": True}}, BadRecipe, "within_px = True; expected whole pixels"),
        ({"within_px": 5}, BadRecipe, r"found within_px = 5 and adjacent = .*expected compartmen"),
        ({"adjacent": "Cells"}, BadRecipe, r"adjacent = 'Cells'; expected compartments"),
        ({"adjacent": ["Cell"]}, UnknownName, "no compartment called 'Cell'. Did you mean 'Cells'"),
        ({"within_px": {"cells": 5}}, UnknownName, "no compartment called 'cells'"),
        ({"within_px": {}, "adjacent": []}, BadRecipe, "nothing to measure: within_px and adjac"),
        ({"distance": 5}, BadRecipe, "refused its options: .*unexpected keyword argument 'dist"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        plan_of(**options)
