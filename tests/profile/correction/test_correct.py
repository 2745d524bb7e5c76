"""Corrections by name: each is reached with its options, and unknown ones are told."""

import numpy as np
import polars as pl
import pytest

from plates.errors import BadRecipe, UnknownName
from profiler.profile import correct, is_role, median_polish, position_means, tvn
from profiler.profile.correction.correct import CORRECTIONS

RANDOM = np.random.default_rng(11)
FEATURES = ["Cells_X_Y", "Cells_X_Z"]
N = 24
TABLE = pl.DataFrame(RANDOM.normal(size=(2 * N, 2)), schema=FEATURES).with_columns(
    Metadata_Batch=pl.lit("b"),
    Metadata_Plate=pl.Series(["P"] * N + ["Q"] * N),
    Metadata_Well=pl.Series([f"{row}{i:02d}" for row in "AB" for i in range(1, 13)] * 2),
    Metadata_Role=pl.Series(["negative", "negative", "treatment"] * (2 * N // 3)),
    Metadata_Object_Count=pl.Series(RANDOM.integers(50, 100, 2 * N)),
)
NEGATIVE = is_role("negative")


@pytest.mark.parametrize("method", CORRECTIONS)
def test_every_correction_keeps_wells_and_says_its_features(method):
    found = correct(TABLE, features=FEATURES, method=method)
    assert found.table.height == 2 * N
    assert found.table.select(found.features).null_count().row(0) == (0, 0)
    assert found.table["Metadata_Well"].to_list() == TABLE["Metadata_Well"].to_list()
    assert min(found.table[name].std() for name in found.features) > 0.1


def test_without_within_a_method_takes_its_own():
    found = correct(TABLE, features=FEATURES, method="position_means")
    assert found.table.equals(position_means(TABLE, features=FEATURES).table)
    by_plate = correct(TABLE, features=FEATURES, method="position_means", within="Metadata_Plate")
    assert by_plate.table.select(FEATURES).null_count().row(0) == (2 * N, 2 * N)
    assert by_plate.lost["wells"].sum() == 4 * N


def test_reference_and_options_are_passed():
    options = {"ridge": 0.1}
    found = correct(TABLE, features=FEATURES, method="tvn", reference=NEGATIVE, options=options)
    expected = tvn(TABLE, features=FEATURES, reference=NEGATIVE, **options)
    assert found.table.equals(expected.table)
    found = correct(TABLE, features=FEATURES, method="median_polish")
    assert found.table.equals(median_polish(TABLE, features=FEATURES).table)


def test_messages():
    with pytest.raises(
        UnknownName, match=r"no correction called 'harmny'\. Did you mean 'harmony'"
    ):
        correct(TABLE, features=FEATURES, method="harmny")
    with pytest.raises(BadRecipe, match=r"harmony has no option 'theta'\. Known: diversity"):
        correct(TABLE, features=FEATURES, method="harmony", options={"theta": 1})
