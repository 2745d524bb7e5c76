"""What must not change when the field is moved, mirrored, relabelled or dimmed."""

import numpy as np
import pytest

from profiler.measure import FAMILIES, CellLabels, measure, plan_measurement

# A mirror changes signs, which pixels count, or which of several centres: see their own tests.
HANDED = ("Moment_", "InertiaTensor_", "Zernike", "FracAtD", "MeanFrac", "RadialCV", "_Texture_")
# Grids that begin at the field's corner, and cells beyond the seam.
GRIDDED = ("Granularity", "Neighbors")
PLACED = ("Center", "BoundingBoxM", "Orientation", "MaxIntensity_", "CenterMass")


def features_of(measured, without=PLACED):
    keep = [not any(name in column for name in without) for column in measured.plan.columns]
    return measured.table.features[:, keep]


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def test_backends_agree(field):
    tables = []
    for backend in ("cpu", "jax"):
        plan = plan_measurement(
            families=tuple(FAMILIES), stains=("GFP", "DNA"), max_cells=12, backend=backend
        )
        tables.append(measure(*field, plan=plan))
    for column, cpu, jax in zip(plan.columns, *(table.features.T for table in tables), strict=True):
        np.testing.assert_allclose(jax, cpu, rtol=1e-3, atol=1e-4, err_msg=column)
    np.testing.assert_array_equal(*(table.present for table in tables))


@pytest.mark.parametrize("axis", [0, 1])
def test_flip(run, field, measured, axis):
    def flip(image):
        return np.flip(image, axis).copy()

    found = run(flip(field.image), CellLabels(*map(flip, field.labels)))
    # The hull's borders and the order of ties are symmetrical too.
    without = PLACED + HANDED + GRIDDED
    assert_same(features_of(found, without), features_of(measured, without))
    angle = found["Cells_AreaShape_Orientation"]
    expected = measured["Cells_AreaShape_Orientation"]
    tilted = [0, 1, 2, 3, 4]
    assert_same(angle[tilted], -expected[tilted])


def test_translation(run, field, measured):
    """Round a torus: only cells that do not touch its seam are compared."""
    inner = [0, 1, 3, 4, 6, 7, 9, 10]
    found = run(*(np.roll(field.image, (3, 2), (0, 1)), moved(field.labels, 3, 2)))
    without = PLACED + GRIDDED
    assert_same(features_of(found, without)[inner], features_of(measured, without)[inner])
    moves = {"Center_X": 2, "Center_Y": 3, "BoundingBoxMinimum_X": 2, "BoundingBoxMaximum_Y": 3}
    for feature, distance in moves.items():
        column = f"Cells_AreaShape_{feature}"
        assert_same(found[column][inner], measured[column][inner] + distance)


def moved(labels, down, along):
    return CellLabels(*(np.roll(label, (down, along), (0, 1)) for label in labels))


def test_relabelling_moves_rows(run, field, measured):
    new = np.random.default_rng(0).permutation(12) + 1
    table = np.concatenate([[0], new]).astype(np.int32)
    found = run(field.image, CellLabels(*(table[label] for label in field.labels)))
    names = ("ClosestObjectNumber", "Object_Number", "IncludingEdges")  # labels themselves
    moved_rows = features_of(found, names)[new - 1]
    np.testing.assert_allclose(moved_rows, features_of(measured, names), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.table.present[new - 1], measured.table.present)


def test_intensity_scale(run, field, measured):
    found = run(field.image / 2, field.labels)
    for column in measured.plan.columns:
        if "_Texture_" in column or "_Costes_" in column:
            continue  # of 256 grey levels, and of thresholds among the file's
        scaled = column.split("_")[1] == "Intensity" and "MassDisplacement" not in column
        scaled = scaled or "Difference" in column or "ZernikeMagnitude" in column
        expected = measured[column] / (2 if scaled else 1)
        np.testing.assert_allclose(found[column], expected, rtol=1e-4, atol=1e-6, err_msg=column)
