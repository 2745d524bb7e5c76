"""Runs with different features: the shared ones stay, every other is told."""

import polars as pl
import pytest

from plates.errors import BadPlate
from profiler.profile import combine


def run(plate: str, *features: str, **more) -> pl.DataFrame:
    keys = {"Metadata_Plate": [plate] * 2, "Metadata_Well": ["A01", "A02"]}
    values = {name: [1.0, 2.0] for name in features}
    return pl.DataFrame({**keys, **more, **values})


def test_shared_features_stay_and_the_others_are_told():
    tables = {
        "one": run("P", "Cells_A", "Cells_B", "Cells_C"),
        "two": run("Q", "Cells_C", "Nuclei_D", "Cells_A", Metadata_Batch=["x", "y"]),
    }
    found = combine(tables)
    assert found.features == ["Cells_A", "Cells_C"]
    assert found.table["Metadata_Plate"].to_list() == ["P", "P", "Q", "Q"]
    assert found.table["Metadata_Batch"].to_list() == [None, None, "x", "y"]
    assert found.table["Cells_C"].to_list() == [1, 2, 1, 2]
    assert set(found.table.columns) == {*tables["two"].columns} - {"Nuclei_D"}
    assert found.dropped.rows() == [("Cells_B", ["two"]), ("Nuclei_D", ["one"])]
    words = found.sentence()
    assert words.startswith("The runs share 2 features; ")
    assert "one lacks 1" in words
    assert "two lacks 1" in words


def test_equal_runs_drop_nothing():
    found = combine({"one": run("P", "Cells_A"), "two": run("Q", "Cells_A")})
    assert found.dropped.is_empty()
    assert found.sentence() == "All runs have the same 1 features."


def test_time_points_of_a_well_are_rows_of_their_own():
    def movie(plate: str) -> pl.DataFrame:
        times = (run(plate, "Cells_A").with_columns(Metadata_Timepoint=pl.lit(t)) for t in (1, 2))
        return pl.concat(times)

    assert combine({"one": movie("P"), "two": movie("Q")}).table.height == 8
    with pytest.raises(BadPlate, match="Well A01 of plate P is in more than one run, as are 1 oth"):
        combine({"one": movie("P"), "two": movie("P")})


def test_messages():
    with pytest.raises(BadPlate, match="The runs share no feature: one has"):
        combine({"one": run("P", "Cells_A"), "two": run("Q", "Cells_B")})
    with pytest.raises(BadPlate, match="Well A01 of plate P is in more than one run, as are 1 oth"):
        combine({"one": run("P", "Cells_A"), "two": run("P", "Cells_A")})
