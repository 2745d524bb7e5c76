"""Areas, outlines, ellipses and hulls against scikit-image, scipy, cp_measure and the hand."""

import warnings

import numpy as np
import pytest
from cp_measure.bulk import get_core_measurements
from scipy import ndimage
from skimage.measure import regionprops

from profiler.measure import COMPARTMENTS, CellLabels

REGIONPROPS = {
    "Area": "area",
    "BoundingBoxArea": "area_bbox",
    "Perimeter": "perimeter",
    "Extent": "extent",
    "EulerNumber": "euler_number",
    "EquivalentDiameter": "equivalent_diameter_area",
    "Eccentricity": "eccentricity",
    "MajorAxisLength": "axis_major_length",
    "MinorAxisLength": "axis_minor_length",
}


@pytest.fixture(params=COMPARTMENTS)
def compartment(request):
    return request.param


def of(field, compartment):
    return getattr(field.labels, compartment.lower())


@pytest.mark.parametrize("feature", REGIONPROPS)
def test_equals_scikit_image(measured, field, compartment, feature):
    found = measured[f"{compartment}_AreaShape_{feature}"]
    for region in regionprops(of(field, compartment)):
        expected = region[REGIONPROPS[feature]]
        assert found[region.label - 1] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_boxes_and_centres(measured, field, compartment):
    def found(feature):
        return measured[f"{compartment}_AreaShape_{feature}"]

    for region in regionprops(of(field, compartment)):
        box = [found(f"BoundingBox{end}_{axis}") for end in ("Minimum", "Maximum") for axis in "YX"]
        assert tuple(part[region.label - 1] for part in box) == region.bbox
        centre = [found(f"Center_{axis}")[region.label - 1] for axis in "YX"]
        np.testing.assert_allclose(centre, region.centroid, rtol=1e-5)


def test_orientation_equals_scikit_image_where_there_is_one(measured, field):
    found = measured["Cells_AreaShape_Orientation"]
    regions = {region.label: region for region in regionprops(field.labels.cells)}
    tilted = (1, 2, 3, 4, 5, 8)
    expected = [np.rad2deg(regions[label].orientation) for label in tilted]
    np.testing.assert_allclose([found[label - 1] for label in tilted], expected, rtol=1e-3)
    assert found[9] == 45  # a square has no axis


def test_radii_equal_scipy(measured, field, compartment):
    labels = of(field, compartment)
    for label in np.unique(labels[labels > 0]):
        inside = ndimage.distance_transform_edt(np.pad(labels == label, 1))
        inside = inside[inside > 0]
        for feature, reduce in (("Maximum", np.max), ("Mean", np.mean), ("Median", np.median)):
            found = measured[f"{compartment}_AreaShape_{feature}Radius"][label - 1]
            assert found == pytest.approx(reduce(inside), rel=1e-5)


def test_hull_equals_cp_measure(measured, field, compartment):
    labels = of(field, compartment)
    present = np.unique(labels[labels > 0]) - 1
    core = get_core_measurements(legacy=True)
    with warnings.catch_warnings():
        # scikit-image warns of the hulls of dots and lines, and its moments of those.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = core["feret"](labels, None) | core["sizeshape"](labels, None)
    for feature in ("Solidity", "MaxFeretDiameter", "MinFeretDiameter"):
        found = measured[f"{compartment}_AreaShape_{feature}"][present]
        np.testing.assert_allclose(found, expected[feature], rtol=1e-3, err_msg=feature)


def test_by_hand(measured):
    def square(feature):
        return measured[f"Cells_AreaShape_{feature}"][9]  # 4 x 4 pixels

    assert square("Area") == 16
    assert square("Perimeter") == 12  # through the centres of 12 outline pixels
    assert square("FormFactor") == pytest.approx(4 * np.pi * 16 / 144)
    assert square("Compactness") == pytest.approx(144 / (4 * np.pi * 16))
    assert square("Eccentricity") == pytest.approx(0, abs=1e-3)
    assert square("MajorAxisLength") == pytest.approx(4 * np.sqrt(15 / 12))
    assert square("Solidity") == 1
    assert square("MinFeretDiameter") == 3
    assert square("MaxFeretDiameter") == pytest.approx(np.sqrt(18))
    assert square("MaximumRadius") == 2
    assert square("MeanRadius") == pytest.approx((12 * 1 + 4 * 2) / 16)
    assert square("MedianRadius") == 1


def test_one_pixel(measured):
    expected = {
        "Area": 1, "Perimeter": 0, "FormFactor": np.nan, "Compactness": 0, "Extent": 1,
        "EulerNumber": 1, "Eccentricity": 0, "MajorAxisLength": 0, "Solidity": 1,
        "MaximumRadius": 1, "MedianRadius": 1, "MinFeretDiameter": 0, "MaxFeretDiameter": 0,
        "Center_X": 70, "Center_Y": 30,
    }  # fmt: skip
    found = {name: measured[f"Cells_AreaShape_{name}"][6] for name in expected}
    np.testing.assert_equal(found, expected)


def test_holes_and_parts_are_counted(measured):
    assert measured["Nuclei_AreaShape_EulerNumber"][4] == 0  # one part, one hole
    assert measured["Cytoplasm_AreaShape_EulerNumber"][3] == 0  # a ring
    assert measured["Cells_AreaShape_EulerNumber"][10] == 1  # joined by corners: one part


def test_second_moments_far_from_the_corner(run, field):
    """Float32 moments from global coordinates would be wrong by percents."""
    labels = np.zeros_like(field.labels.cells)
    labels[60:63, 76:80] = 1
    found = run(field.image, CellLabels(labels, labels, np.zeros_like(labels)))
    major, minor = 4 * np.sqrt(15 / 12), 4 * np.sqrt(8 / 12)
    assert found["Cells_AreaShape_MajorAxisLength"][0] == pytest.approx(major, rel=1e-6)
    assert found["Cells_AreaShape_MinorAxisLength"][0] == pytest.approx(minor, rel=1e-6)
