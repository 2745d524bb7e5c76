"""The named differences are of columns that exist, and hide no others."""

import re

import pytest

from profiler.measure import FAMILIES, plan_measurement
from profiler.measure.differences import BOTH, DIFFERENCES, is_named


@pytest.fixture(scope="module")
def columns():
    stains = ("DNA", "RNA", "AGP", "Mito", "ER")
    plan = plan_measurement(families=tuple(FAMILIES), stains=stains, max_cells=1, backend="cpu")
    return plan.columns


@pytest.mark.parametrize("difference", [each for each in DIFFERENCES if each.columns])
def test_every_pattern_finds_columns(columns, difference):
    assert any(re.search(difference.columns, column) for column in columns)


@pytest.mark.parametrize(("reference", "most"), [("cp_measure", 0.04), ("CellProfiler", 0.06)])
def test_few_features_are_named(columns, reference, most):
    named = [column for column in columns if is_named(column, reference=reference)]
    assert 0 < len(named) / len(columns) < most


def test_references_are_the_two():
    assert {each.reference for each in DIFFERENCES} <= {"CellProfiler", "cp_measure", BOTH}


def test_a_difference_from_one_is_not_one_from_the_other():
    assert is_named("Cells_Correlation_RWC_DNA_ER", reference="cp_measure")
    assert not is_named("Cells_Correlation_RWC_DNA_ER", reference="CellProfiler")
    assert is_named("Nuclei_Location_MaxIntensity_X_DNA", reference="CellProfiler")
    assert not is_named("Cells_AreaShape_Area", reference="cp_measure")
