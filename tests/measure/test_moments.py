"""Moments of masks against scikit-image, the hand, and what turning an object must not change."""

import warnings

import numpy as np
import pytest
from skimage.measure import regionprops

from profiler.measure import COMPARTMENTS, CellLabels, measure, plan_measurement
from profiler.measure.shape.moments import FEATURES

REGIONPROPS = {
    "SpatialMoment": "moments",
    "CentralMoment": "moments_central",
    "NormalizedMoment": "moments_normalized",
    "HuMoment": "moments_hu",
    "InertiaTensor": "inertia_tensor",
    "InertiaTensorEigenvalues": "inertia_tensor_eigvals",
}
FIRST = ("CentralMoment_0_1", "CentralMoment_1_0")


def moments_of(labels):
    """By name, of one label image on the CPU."""
    plan = plan_measurement(
        families=("profiler.measure.shape.moments:MOMENTS",),
        stains=("DNA",),
        max_cells=12,
        backend="cpu",
    )
    image = np.zeros((*labels.shape, 1), np.float32)
    table = measure(image, CellLabels(labels, labels, labels), plan=plan)
    return dict(zip(FEATURES, table.features.T, strict=False))


@pytest.mark.parametrize("feature", sorted(set(FEATURES) - set(FIRST)))
@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_equals_scikit_image(measured, field, compartment, feature):
    found = measured[f"{compartment}_AreaShape_{feature}"]
    name, *index = feature.split("_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of dots
        for region in regionprops(getattr(field.labels, compartment.lower())):
            expected = np.asarray(region[REGIONPROPS[name]])[tuple(map(int, index))]
            # Of a sum that cancels, scikit-image keeps a few of float64's last digits.
            noise = 1e-13 * region.area ** (4 if name == "CentralMoment" else 0)
            close = pytest.approx(expected, rel=1e-5, abs=noise, nan_ok=True)
            assert found[region.label - 1] == close


def test_by_hand(measured):
    expected = {  # 4 x 4 pixels
        "SpatialMoment_0_0": 16, "SpatialMoment_1_0": 4 * 6, "SpatialMoment_2_3": 14 * 36,
        "CentralMoment_0_0": 16, "CentralMoment_0_1": 0, "CentralMoment_2_0": 4 * 5,
        "CentralMoment_1_1": 0, "CentralMoment_2_2": 25, "CentralMoment_0_3": 0,
        "NormalizedMoment_0_0": np.nan, "NormalizedMoment_0_1": np.nan,
        "NormalizedMoment_1_0": np.nan, "NormalizedMoment_0_2": 20 / 16**2,
        "NormalizedMoment_2_2": 25 / 16**3, "HuMoment_0": 40 / 16**2, "HuMoment_1": 0,
        "InertiaTensor_0_0": 1.25, "InertiaTensor_0_1": 0, "InertiaTensorEigenvalues_1": 1.25,
    }  # fmt: skip
    for feature, value in expected.items():
        found = measured[f"Cells_AreaShape_{feature}"][9]
        assert found == pytest.approx(value, rel=1e-6, abs=1e-15, nan_ok=True), feature


def test_one_pixel_and_a_line(measured):
    def found(feature, cell):
        return measured[f"Cells_AreaShape_{feature}"][cell - 1]

    for feature in FEATURES:
        value = found(feature, 7)
        assert np.isnan(value) or value == (1 if feature.endswith("Moment_0_0") else 0), feature
    assert found("InertiaTensorEigenvalues_0", 8) == pytest.approx(35 / 12)
    assert found("InertiaTensorEigenvalues_1", 8) == 0
    assert found("InertiaTensor_0_0", 8) == pytest.approx(35 / 12)  # along the columns
    assert found("CentralMoment_2_0", 8) == 0


def test_first_central_moments_are_0(measured, field):
    present = np.unique(field.labels.cells)[1:] - 1
    for feature in FIRST:
        assert (measured[f"Cells_AreaShape_{feature}"][present] == 0).all()


def is_odd(feature, axis):
    """Whether flipping an axis turns the sign."""
    name, *powers = feature.split("_")
    if name in ("CentralMoment", "NormalizedMoment"):
        return int(powers[axis]) % 2 == 1
    return feature in ("HuMoment_6", "InertiaTensor_0_1", "InertiaTensor_1_0")


@pytest.mark.parametrize("axis", [0, 1])
def test_flip_turns_the_signs_of_odd_powers(run, field, measured, axis):
    found = run(field.image, CellLabels(*(np.flip(part, axis).copy() for part in field.labels)))
    for feature in FEATURES:
        if feature.startswith("SpatialMoment"):
            continue  # from the box's corner, now another one
        column = f"Cells_AreaShape_{feature}"
        expected = measured[column] * (-1 if is_odd(feature, axis) else 1)
        noise = 1e-9 * np.abs(expected[np.isfinite(expected)]).max(initial=0)
        np.testing.assert_allclose(found[column], expected, rtol=1e-5, atol=noise, err_msg=feature)


def test_hus_invariants_of_a_turned_and_of_a_larger_object(field):
    cells = field.labels.cells
    expected = moments_of(cells)
    turned, larger = (
        moments_of(np.rot90(cells).copy()),
        moments_of(np.kron(cells, np.ones((4, 4), np.int32))),
    )
    for k in range(7):
        own = expected[f"HuMoment_{k}"]
        np.testing.assert_allclose(turned[f"HuMoment_{k}"], own, rtol=1e-4, atol=1e-20)
    whole = [0, 1, 2, 3, 4]
    np.testing.assert_allclose(
        larger["HuMoment_0"][whole], expected["HuMoment_0"][whole], rtol=1e-2
    )


def test_far_from_the_corner_nothing_is_lost(run, field):
    labels = np.zeros_like(field.labels.cells)
    labels[60:63, 76:80] = 1
    found = run(field.image, CellLabels(labels, labels, np.zeros_like(labels)))
    assert found["Cells_AreaShape_CentralMoment_2_0"][0] == pytest.approx(8, rel=1e-6)
    assert found["Cells_AreaShape_CentralMoment_0_2"][0] == pytest.approx(15, rel=1e-6)
    assert abs(found["Cells_AreaShape_CentralMoment_0_3"][0]) < 1e-12
    assert found["Cells_AreaShape_SpatialMoment_0_3"][0] == 3 * 36
