"""Percent inhibition and count adjustment: by hand, missing controls, zero cells."""

import numpy as np
import polars as pl
import pytest

from plates.errors import NoControls
from profiler.hits.scores.adjust import count_adjusted, percent_inhibition

ROLES = ["negative", "negative", "positive", "treatment"]


def test_percent_inhibition_by_hand():
    wells = pl.DataFrame(
        {
            "Metadata_Plate": ["P"] * 5 + ["Q"] * 3,
            "Metadata_Role": [*ROLES, None, *ROLES[1:]],
            "x": [9.0, 11.0, 2.0, 6.0, float("inf"), 0.0, 10.0, 2.5],
        }
    )
    found = percent_inhibition(wells, features=["x"])["x"].to_list()
    assert found == [12.5, -12.5, 100.0, 50.0, None, 0.0, 100.0, 25.0]


def test_controls_that_agree_leave_no_scale():
    roles = ["negative", "positive", "treatment"]
    wells = pl.DataFrame({"Metadata_Plate": "P", "Metadata_Role": roles, "x": [3.0, 3.0, 1.0]})
    assert percent_inhibition(wells, features=["x"])["x"].to_list() == [None] * 3


@pytest.mark.parametrize("lacking", ["negative", "positive"])
def test_controls_are_required(lacking):
    roles = ["negative", "positive", "treatment"]
    wells = pl.DataFrame({"Metadata_Plate": "P", "Metadata_Role": roles, "x": [3.0, 3.0, 1.0]})
    with pytest.raises(NoControls, match=f"0 {lacking} control wells"):
        percent_inhibition(wells.filter(pl.col("Metadata_Role") != lacking), features=["x"])


def test_what_follows_from_the_count_goes():
    random = np.random.default_rng(0)
    count = random.integers(50, 1000, 60)
    role = np.where(np.arange(60) < 30, "negative", "treatment")
    effect = np.where(np.arange(60) >= 50, 4.0, 0.0)
    value = 3 - 2 * np.log2(count) + effect + 0.01 * random.normal(size=60)
    wells = pl.DataFrame(
        {
            "Metadata_Plate": "P", "Metadata_Role": role, "Metadata_Object_Count": count,
            "x": value,
        }
    )  # fmt: skip
    found = count_adjusted(wells, features=["x"])
    assert found.columns == wells.columns
    adjusted = found["x"].to_numpy() - np.median(found["x"].to_numpy()[:30])
    np.testing.assert_allclose(adjusted, effect, atol=0.05)


def test_no_cells_no_value():
    wells = pl.DataFrame(
        {
            "Metadata_Plate": "P", "Metadata_Role": ["negative"] * 5 + ["treatment"] * 2,
            "Metadata_Object_Count": [100, 200, 300, 400, 500, 0, None],
            "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        }
    )  # fmt: skip
    assert count_adjusted(wells, features=["x"])["x"].tail(2).to_list() == [None, None]
    alike = wells.with_columns(Metadata_Object_Count=pl.lit(100))
    assert count_adjusted(alike, features=["x"])["x"].null_count() == 7
