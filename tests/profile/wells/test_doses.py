"""Doses that rounding tells apart are merged, all others are not."""

import numpy as np
import polars as pl
import pytest

from profiler.profile.wells.doses import merge_doses

DOSE = "Metadata_Concentration"


def layout(doses: list, compound: str = "taxol", unit: str | None = "uM") -> pl.DataFrame:
    columns = {"Metadata_Well": [f"A{i + 1:02d}" for i in range(len(doses))]}
    return pl.DataFrame(columns).with_columns(
        Metadata_Compound=pl.lit(compound),
        Metadata_Unit=pl.lit(unit, dtype=pl.String),
        Metadata_Concentration=pl.Series(doses, dtype=pl.Float64),
    )


@pytest.mark.parametrize("dose", [0.1, 3.3, 1e-9, 12345.678])
def test_a_dose_that_went_through_float32_is_the_dose(dose):
    rounded = float(np.float32(dose))
    table = layout([rounded, dose, dose * 1.00000001, 2 * dose, None])
    merged, notes = merge_doses(table)
    assert merged[DOSE].to_list() == [dose, dose, dose, 2 * dose, None]
    assert notes == [
        "2 wells have a dose that differs from another of its compound by less than a millionth, "
        "and counts as the same (taxol)."
    ]
    assert merged.drop(DOSE).equals(table.drop(DOSE))


@pytest.mark.parametrize("doses", [[1.0, 1.00001], [0.0, 1e-12], [1.0, 2.0], []])
def test_doses_that_are_two_stay_two(doses):
    table = layout(doses)
    merged, notes = merge_doses(table)
    assert merged.equals(table)
    assert notes == []


def test_compounds_and_units_are_looked_at_apart():
    both = pl.concat([layout([0.1]), layout([0.1000000001], compound="DMSO"),
                      layout([0.1000000002], unit=None)])  # fmt: skip
    assert merge_doses(both)[0].equals(both)


def test_a_chain_of_roundings_is_one_dose():
    merged, _ = merge_doses(layout([1.0, 1.0000009, 1.0000018]))
    assert merged[DOSE].to_list() == [1.0] * 3


def test_tables_without_doses_pass():
    for name in (DOSE, "Metadata_Compound"):
        table = layout([1.0, 1.0000001]).drop(name)
        assert merge_doses(table)[0].equals(table)
    without_unit = layout([1.0, 1.0000001]).drop("Metadata_Unit")
    assert merge_doses(without_unit)[0][DOSE].to_list() == [1.0, 1.0]
