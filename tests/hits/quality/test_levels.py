"""Levels of rows, columns and plates: by hand, against the tests they come with, gaps."""

import numpy as np
import polars as pl
import pytest

from plates.well import FORMATS, plate_wells
from profiler.hits.quality.drift import position_effects, run_drift
from profiler.hits.quality.levels import LEVELS, position_levels, position_reference

WELLS = plate_wells(FORMATS[96])
ROW, COLUMN = np.divmod(np.arange(96), 12)


def plates(*values: np.ndarray) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame({"Metadata_Plate": f"P{i}", "Metadata_Well": WELLS, "x": value, "y": -value})
        for i, value in enumerate(values)
    )


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(10, 1, size=(5, 96))


def effect(table: pl.DataFrame, **where) -> list:
    return table.filter(**where)["effect"].to_list()


def test_lines_by_hand(noise):
    table = plates(noise[0])
    found = position_levels(table, readouts=["x"])
    middle = np.median(noise[0])
    mad = 1.4826 * np.median(np.abs(noise[0] - middle))
    rows = [(np.median(noise[0][i == ROW]) - middle) / mad for i in range(8)]
    columns = [(np.median(noise[0][i == COLUMN]) - middle) / mad for i in range(12)]
    assert effect(found, axis="row") == pytest.approx(rows, rel=1e-4)
    assert effect(found, axis="column") == pytest.approx(columns, rel=1e-4)
    assert found.filter(axis="row")["position"].to_list() == list("ABCDEFGH")
    assert found.filter(axis="column")["position"].to_list()[-2:] == ["11", "12"]
    assert found.filter(axis="row")["n_wells"].to_list() == [12] * 8


def test_plates_of_the_run_by_hand(noise):
    shifted = noise + np.array([0, 1, 2, 3, 4])[:, None]
    found = position_levels(plates(*shifted), readouts=["y"]).filter(axis="run")
    medians = np.median(-shifted, axis=1)
    spreads = 1.4826 * np.median(np.abs(-shifted - medians[:, None]), axis=1)
    expected = (medians - np.median(medians)) / np.median(spreads)
    assert found["effect"].to_list() == pytest.approx(expected.tolist(), rel=1e-4)
    assert found["position"].to_list() == ["1", "2", "3", "4", "5"]
    assert found["trend"].unique().to_list() == pytest.approx([-1.0])


def test_the_run_can_be_in_another_order(noise):
    order = ["P4", "P2", "P0"]
    found = position_levels(plates(*noise), readouts=["x"], order=order).filter(axis="run")
    assert dict(found.select("Metadata_Plate", "position").iter_rows()) == {
        "P0": "3", "P2": "2", "P4": "1"}  # fmt: skip


def test_the_tests_are_those_of_the_plate(noise):
    table = plates(*noise)
    found = position_levels(table, readouts=["y", "x"])
    assert found["readout"].unique(maintain_order=True).to_list() == ["y", "x"]
    tests = position_effects(table, readouts=["x"]).row(1, named=True)
    mine = found.filter(Metadata_Plate="P1", readout="x", axis="column").row(0, named=True)
    names = {"share": "column_share", "p_value": "column_p", "trend": "column_trend"}
    assert {k: mine[k] for k in names} == {k: tests[v] for k, v in names.items()}
    run = run_drift(table, readouts=["x"]).row(0, named=True)
    mine = found.filter(readout="x", axis="run").row(0, named=True)
    assert (mine["share"], mine["p_value"]) == (run["plate_share"], run["plate_p"])


def test_without_variation_or_values_effects_are_null():
    table = plates(np.ones(96), np.full(96, np.nan)).with_columns(y=np.inf)
    found = position_levels(table, readouts=["x", "y"])
    assert found["effect"].null_count() == found.height > 0
    assert set(found["Metadata_Plate"]) == {"P0"}
    assert position_levels(table.clear(), readouts=["x"]).schema == LEVELS


def test_the_edge_is_the_plates_not_the_references(noise):
    middle = (ROW >= 2) & (ROW <= 5) & (COLUMN >= 2) & (COLUMN <= 7)  # would make a plate of 24
    table = plates(noise[0]).with_columns(is_reference=pl.Series(middle))
    found = position_effects(table, readouts=["x"], reference=pl.col("is_reference"))
    assert found["edge_shift"].to_list() == [None]
    assert found["n_wells"].to_list() == [24]


@pytest.mark.parametrize(
    ("wells", "expected"),
    [
        (["A01", "A02", "A03", "C03", "C04", "C05"], "negative"),
        (["A01", "A02", "C03", "C04", "C05"], "treatment"),
        (["A01", "A02", "A03", "B01", "B12", "H12"], "treatment"),
        ([], "treatment"),
    ],
)
def test_controls_show_positions_where_they_lie_at_the_edge_and_within(noise, wells, expected):
    role = pl.when(pl.col("Metadata_Well").is_in(wells)).then(pl.lit("negative"))
    table = plates(noise[0]).with_columns(
        role.otherwise(pl.lit("treatment")).alias("Metadata_Role")
    )
    assert position_reference(table) == expected
