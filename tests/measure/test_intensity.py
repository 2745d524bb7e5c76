"""Intensities, places, correlations and ratios against scipy, cp_measure, numpy and the hand."""

import numpy as np
import pytest
from cp_measure.bulk import get_core_measurements
from scipy import ndimage
from skimage.filters import threshold_li

from plates.errors import BadRecipe
from profiler.measure import COMPARTMENTS, CellLabels, measure, plan_measurement
from profiler.measure.translocation import translocation

ROW_OF_FIVE = np.array([0.1, 0.2, 0.4, 0.8, 0.6], np.float32)


@pytest.fixture(params=COMPARTMENTS)
def compartment(request):
    return request.param


@pytest.mark.parametrize("channel", [0, 1])
def test_equals_cp_measure(measured, field, compartment, channel):
    labels = getattr(field.labels, compartment.lower())
    present = np.unique(labels[labels > 0]) - 1
    expected = get_core_measurements(legacy=True)["intensity"](labels, field.image[..., channel])
    stain = ("GFP", "DNA")[channel]
    compared = 0
    for name, values in expected.items():
        column = f"{compartment}_{name}_{stain}"
        if column in measured.plan.columns:
            found = measured[column][present]
            np.testing.assert_allclose(found, values, rtol=1e-3, atol=1e-6, err_msg=name)
            compared += 1
    assert compared == (21 if compartment == "Nuclei" else 15)


def test_equals_scipy(measured, field):
    labels, plane = field.labels.cells, field.image[..., 1]
    masks = {label: labels == label for label in np.unique(labels[labels > 0])}
    for feature, reduce in (
        ("IntegratedIntensity", ndimage.sum_labels),
        ("MeanIntensity", ndimage.mean),
        ("StdIntensity", ndimage.standard_deviation),
        ("MinIntensity", ndimage.minimum),
        ("MaxIntensity", ndimage.maximum),
    ):
        found = measured[f"Cells_Intensity_{feature}_DNA"]
        for label, mask in masks.items():
            assert found[label - 1] == pytest.approx(reduce(plane, mask), rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def by_hand(run, field):
    """Five pixels in a row: three of nucleus, then two of cytoplasm; GFP known, DNA constant."""
    cells = np.zeros_like(field.labels.cells)
    nuclei, cytoplasm = cells.copy(), cells.copy()
    cells[20, 10:15], nuclei[20, 10:13], cytoplasm[20, 13:15] = 1, 1, 1
    cells[40, 30:33], nuclei[40, 30:33] = 2, 2  # no cytoplasm, and black
    cells[50, 30:33], cytoplasm[50, 30:33] = 3, 3  # no nucleus
    image = np.full_like(field.image, 0.3)
    image[20, 10:15, 0] = ROW_OF_FIVE
    image[40, 30:33, 0] = 0
    return run(image, CellLabels(nuclei, cells, cytoplasm))


def test_quantiles_by_hand(by_hand):
    def found(feature):
        return by_hand[f"Cells_Intensity_{feature}_GFP"][0]

    # Sorted .1 .2 .4 .6 .8; ranks 1.25, 2.5, 3.75 of 0 to 4.
    assert found("LowerQuartileIntensity") == pytest.approx(0.25)
    assert found("MedianIntensity") == pytest.approx(0.5)
    assert found("UpperQuartileIntensity") == pytest.approx(0.75)
    # Distances from .5, sorted: .1 .1 .3 .3 .4; rank 2.5.
    assert found("MADIntensity") == pytest.approx(0.3)
    assert found("MassDisplacement") == pytest.approx(np.average(range(5), weights=ROW_OF_FIVE) - 2)


def test_location_by_hand(by_hand):
    assert by_hand["Nuclei_Location_MaxIntensity_X_GFP"][0] == 12
    assert by_hand["Nuclei_Location_MaxIntensity_Y_GFP"][0] == 20
    assert by_hand["Nuclei_Location_MaxIntensity_X_DNA"][0] == 10  # of equals, the first
    centre = np.average([10, 11, 12], weights=ROW_OF_FIVE[:3])
    assert by_hand["Nuclei_Location_CenterMassIntensity_X_GFP"][0] == pytest.approx(centre)
    assert by_hand["Nuclei_Location_Center_X"][0] == 11
    assert by_hand["Nuclei_Location_Center_Z"][0] == 0


def test_translocation_by_hand(by_hand):
    def found(feature, cell=0):
        return by_hand[f"Cells_Translocation_Nucleus{feature}_GFP"][cell]

    nucleus, cytoplasm = ROW_OF_FIVE[:3].mean(), ROW_OF_FIVE[3:].mean()
    assert found("CytoplasmRatio") == pytest.approx(nucleus / cytoplasm)
    assert found("CytoplasmLog2Ratio") == pytest.approx(np.log2(nucleus / cytoplasm), rel=1e-5)
    assert found("CytoplasmDifference") == pytest.approx(nucleus - cytoplasm)
    # Medians at ranks 1.5 of .1 .2 .4 and 1 of .6 .8.
    assert found("CytoplasmMedianRatio") == pytest.approx(0.3 / 0.8)
    assert found("Fraction") == pytest.approx(0.7 / 2.1)


@pytest.mark.parametrize("backend", ["cpu", "jax"])
def test_a_floor_leaves_the_background_out_of_the_cytoplasm(backend):
    plan = plan_measurement(
        families=("Translocation",), stains=("GFP",), max_cells=1, backend=backend,
        options={"Translocation": {"floor": 0.5}},
    )  # fmt: skip
    image = np.zeros((8, 8, 1), np.float32)
    nuclei, cytoplasm = np.zeros((8, 8), np.int32), np.zeros((8, 8), np.int32)
    nuclei[2:4, 2:4], image[2:4, 2:4] = 1, 0.8
    cytoplasm[4:6, 2:6], image[4:6, 2:4] = 1, 0.4  # half of it is black
    threshold = threshold_li(image[..., 0])
    assert 0 < threshold * 0.5 < 0.4
    found = measure(image, CellLabels(nuclei, nuclei + cytoplasm, cytoplasm), plan=plan).features
    ratio, log2, _, difference, fraction = found[0]
    assert (ratio, log2) == (pytest.approx(2), pytest.approx(1))
    assert difference == pytest.approx(0.4)
    assert fraction == pytest.approx(3.2 / 4.8)


@pytest.mark.parametrize("floor", [-0.1, 2, "low", True])
def test_bad_floors(floor):
    with pytest.raises(BadRecipe, match="Translocation's floor is .*; expected a number from 0 to"):
        translocation(floor=floor)


def test_translocation_is_undefined_without_nucleus_cytoplasm_or_light(by_hand):
    for feature in ("CytoplasmRatio", "CytoplasmLog2Ratio", "CytoplasmMedianRatio"):
        column = by_hand[f"Cells_Translocation_Nucleus{feature}_GFP"]
        assert np.isnan(column[1]), feature
        assert np.isnan(column[2]), feature
    assert np.isnan(by_hand["Cells_Translocation_NucleusFraction_GFP"][1])  # black
    assert by_hand["Cells_Translocation_NucleusFraction_DNA"][1] == 1  # all of it nucleus
    assert np.isnan(by_hand["Cells_Translocation_NucleusFraction_DNA"][2])


def test_constant_and_black_cells(by_hand):
    assert by_hand["Cells_Intensity_StdIntensity_DNA"][0] == 0
    assert by_hand["Cells_Intensity_MADIntensity_DNA"][0] == 0
    assert by_hand["Cells_Intensity_MassDisplacement_DNA"][0] == 0
    assert by_hand["Cells_Intensity_IntegratedIntensity_GFP"][1] == 0
    assert np.isnan(by_hand["Cells_Intensity_MassDisplacement_GFP"][1])
    for axis in "XYZ":
        assert np.isnan(by_hand[f"Nuclei_Location_CenterMassIntensity_{axis}_GFP"][1]), axis
    assert np.isnan(by_hand["Cells_Correlation_Correlation_DNA_GFP"][:2]).all()


def test_correlation_equals_numpy(measured, field, compartment):
    labels = getattr(field.labels, compartment.lower())
    found = measured[f"{compartment}_Correlation_Correlation_DNA_GFP"]
    for label in np.unique(labels[labels > 0]):
        pixels = field.image[labels == label]
        if len(pixels) > 1:
            expected = np.corrcoef(pixels.T)[0, 1]
            assert found[label - 1] == pytest.approx(expected, rel=1e-3, abs=1e-5)
        else:
            assert np.isnan(found[label - 1])


def test_an_object_that_fills_the_image_has_no_edge(run, field):
    full = np.ones_like(field.labels.cells)
    found = run(field.image, CellLabels(full, full, np.zeros_like(full)))
    assert np.isnan(found["Cells_Intensity_MeanIntensityEdge_GFP"][0])
    assert np.isnan(found["Cells_Intensity_IntegratedIntensityEdge_GFP"][0])
    assert found["Cells_AreaShape_Area"][0] == full.size
    assert found["Cells_AreaShape_MaximumRadius"][0] == 32
