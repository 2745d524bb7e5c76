"""Position effects: Tukey's own table, planted effects found, nothing else moved."""

import numpy as np
import polars as pl
import pytest

from plates.errors import BadLayout
from plates.well import well_name
from profiler.profile import is_role, median_polish, position_means
from profiler.profile.correction.position import polish

RANDOM = np.random.default_rng(6)
FEATURES = ["Cells_X_Y", "Cells_X_Z"]


def plate(grid: np.ndarray, name: str = "P") -> pl.DataFrame:
    rows, columns = np.indices(grid.shape).reshape(2, -1)
    wells = [well_name(row=int(r), column=int(c)) for r, c in zip(rows, columns, strict=True)]
    values = {"Cells_X_Y": grid.ravel(), "Cells_X_Z": -2 * grid.ravel()}
    return pl.DataFrame({"Metadata_Plate": name, "Metadata_Well": wells, **values})


def test_tukeys_table():
    # Tukey 1977 p. 379, deaths of sport parachutists, with the answer of R's medpolish.
    deaths = np.array([[14, 15, 14], [7, 4, 7], [8, 2, 10], [15, 9, 10], [0, 2, 0]], dtype=float)
    fit = polish(deaths[..., None])
    assert fit.overall.item() == 8
    assert fit.line.ravel().tolist() == [6, -1, 0, 2, -8]
    assert fit.column.ravel().tolist() == [0, -1, 0]
    residual = [[0, 2, 0], [0, -2, 0], [0, -5, 2], [5, 0, 0], [0, 3, 0]]
    assert fit.residual[..., 0].tolist() == residual


def test_fit_adds_up_and_features_do_not_mix():
    grid = RANDOM.normal(size=(8, 12, 5)) * [1, 10, 100, 1, 1]
    grid[..., 3] = 7.0  # is done at once, and must wait for the others
    fit = polish(grid)
    whole = fit.overall + fit.line[:, None] + fit.column[None] + fit.residual
    np.testing.assert_allclose(whole, grid, atol=1e-9)
    for i in range(5):
        np.testing.assert_allclose(polish(grid[..., [i]]).residual[..., 0], fit.residual[..., i])


def test_planted_effects_are_found_and_hits_stay():
    rows, columns = RANDOM.normal(size=8), RANDOM.normal(size=12)
    truth = np.full((8, 12), 10.0)
    truth[2, 3] += 50
    found = median_polish(plate(truth + rows[:, None] + columns), features=FEATURES)
    corrected = found.table["Cells_X_Y"].to_numpy().reshape(8, 12)
    level = np.median(corrected)
    np.testing.assert_allclose(corrected - level, truth - 10, atol=1e-9)
    effects = found.effects.filter(feature="Cells_X_Y")
    assert effects.columns == ["Metadata_Plate", "feature", "axis", "position", "effect"]
    of_rows = effects.filter(axis="row")
    assert of_rows["position"].to_list() == list("ABCDEFGH")
    np.testing.assert_allclose(of_rows["effect"], rows - np.median(rows), atol=1e-9)
    assert effects.filter(axis="column")["position"].to_list()[-1] == "12"
    assert found.lost.is_empty()


def test_plates_are_apart_and_other_columns_pass():
    tables = [plate(RANDOM.normal(size=(4, 6)), name) for name in "PQ"]
    both = pl.concat(tables).with_columns(Metadata_Note=pl.lit("n"))
    found = median_polish(both, features=FEATURES).table
    assert found.columns == both.columns
    for table in tables:
        alone = median_polish(table, features=FEATURES).table["Cells_X_Y"]
        inside = found.filter(Metadata_Plate=table["Metadata_Plate"][0])["Cells_X_Y"]
        np.testing.assert_allclose(inside, alone)


def test_missing_wells_and_values():
    table = plate(np.add.outer(np.arange(4.0), np.arange(6.0)))[:-1].with_columns(
        pl.when(pl.col("Metadata_Well") == "A01")
        .then(None)
        .otherwise("Cells_X_Y")
        .alias("Cells_X_Y"),
        pl.when(pl.col("Metadata_Well") == "B01")
        .then(float("inf"))
        .otherwise("Cells_X_Z")
        .alias("Cells_X_Z"),
    )
    found = median_polish(table, features=FEATURES)
    values = found.table["Cells_X_Y"]
    assert values.is_null().arg_true().to_list() == [0]
    np.testing.assert_allclose(values.drop_nulls(), values[1], atol=1e-9)
    assert found.lost.rows() == [("P", "Cells_X_Z", "infinite", 1)]


def test_wells_in_a_row_without_reference_are_null_and_told():
    role = pl.when(pl.col("Metadata_Well").str.starts_with("D")).then(pl.lit("positive"))
    table = plate(RANDOM.normal(size=(4, 6))).with_columns(
        role.otherwise(pl.lit("negative")).alias("Metadata_Role")
    )
    found = median_polish(table, features=FEATURES, reference=is_role("negative"))
    assert found.table.filter(is_role("positive"))["Cells_X_Y"].null_count() == 6
    assert found.table["Cells_X_Y"].null_count() == 6
    assert found.lost.rows() == [("P", name, "no_reference", 6) for name in FEATURES]
    assert found.effects.filter(position="D")["effect"].null_count() == 2


def test_an_empty_table():
    found = median_polish(plate(np.ones((2, 3))).clear(), features=FEATURES)
    assert found.table.is_empty()
    assert found.effects.is_empty()


def test_a_well_twice():
    table = plate(np.ones((2, 3)))
    with pytest.raises(BadLayout, match="1 wells of a plate come more than once, A01 first"):
        median_polish(pl.concat([table, table[:1]]), features=FEATURES)


def test_position_means_by_hand():
    grids = [np.array([[1.0, 2.0]]), np.array([[3.0, 8.0]]), np.array([[5.0, np.inf]])]
    table = pl.concat([plate(grid, name) for grid, name in zip(grids, "PQR", strict=True)])
    table = table.with_columns(Metadata_Batch=pl.lit("b"))
    found = position_means(table, features=["Cells_X_Y"])
    assert found.table["Cells_X_Y"].to_list() == [-2, -3, 0, 3, 2, None]
    assert found.lost.rows() == [("b", "A02", "Cells_X_Y", "infinite", 1)]


def test_a_position_with_one_reference_well_is_null_not_zero():
    tables = [plate(np.array([[1.0, 2.0]]), "P"), plate(np.array([[3.0]]), "Q")]
    table = pl.concat(tables).with_columns(Metadata_Batch=pl.lit("b"))
    found = position_means(table, features=["Cells_X_Y"])
    assert found.table["Cells_X_Y"].to_list() == [-1, None, 1]
    assert found.lost.rows() == [("b", "A02", "Cells_X_Y", "one_reference", 1)]
    of_one = position_means(
        table, features=["Cells_X_Y"], reference=pl.col("Metadata_Plate") == "P"
    )
    assert of_one.lost["reason"].unique().to_list() == ["one_reference"]
