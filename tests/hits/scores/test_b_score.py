"""B-scores: by hand, against a loop over one plate, what it takes out and what it leaves."""

import numpy as np
import polars as pl
import pytest

from plates.well import FORMATS, plate_wells, well_name
from profiler.hits.scores.b_score import b_score


def plate(grid: np.ndarray, *, name: str = "P") -> pl.DataFrame:
    wells = [well_name(row=i, column=j) for i, j in np.ndindex(grid.shape)]
    return pl.DataFrame(
        {"Metadata_Plate": name, "Metadata_Well": wells, "x": grid.ravel().astype(float)}
    )


def score(grid: np.ndarray, **options) -> np.ndarray:
    scored = b_score(plate(grid), features=["x"], **options)
    return scored["x"].to_numpy().reshape(grid.shape)


def loop(grid: np.ndarray) -> np.ndarray:
    """Median polish as R's medpolish does it, one plate at a time, then the MAD."""
    residual, before = grid.astype(float).copy(), 0.0
    for _ in range(10):
        for i in range(residual.shape[0]):
            residual[i] -= np.median(residual[i])
        for j in range(residual.shape[1]):
            residual[:, j] -= np.median(residual[:, j])
        after = np.abs(residual).sum()
        if abs(after - before) < 0.01 * after:
            break
        before = after
    centred = residual - np.median(residual)
    return centred / (1.4826 * np.median(np.abs(centred)))


def test_by_hand():
    # Every row and every column of these has the median 0, and the median of their sizes is 1:
    # they are what is left of any plate that differs from them by a number for each row.
    left = np.array([[1.0, 0.0, -1.0], [-1.0, 2.0, 0.0], [0.0, -2.0, 4.0]])
    rows = np.array([[5.0], [50.0], [500.0]])
    np.testing.assert_allclose(score(left + rows), left / 1.4826, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_against_a_loop(seed):
    random = np.random.default_rng(seed)
    grid = random.normal(size=(16, 24))
    grid += random.normal(size=(16, 1)) + np.linspace(0, 5, 24)
    np.testing.assert_allclose(score(grid), loop(grid), atol=1e-9)


def test_rows_and_columns_go_and_hits_stay():
    random = np.random.default_rng(1)
    noise = random.normal(size=(16, 24))
    effects = 5 * random.normal(size=(16, 1)) + 5 * random.normal(size=(1, 24))
    hit = np.zeros((16, 24))
    hit[3, 7] = 12
    scored = score(noise + effects + hit)
    assert scored[3, 7] > 8
    assert np.abs(np.median(scored, axis=0)).max() < 0.2
    np.testing.assert_allclose(score(noise + effects + hit), score(noise + hit), atol=1.0)


def test_scale_and_offset_do_not_matter_and_plates_are_apart():
    random = np.random.default_rng(2)
    grid = random.normal(size=(8, 12))
    np.testing.assert_allclose(score(7 - 3 * grid), -score(grid), atol=1e-9)
    both = pl.concat([plate(grid), plate(100 * grid, name="Q")])
    scored = b_score(both, features=["x"])["x"].to_numpy()
    np.testing.assert_allclose(scored[:96], scored[96:], atol=1e-9)


def test_positive_controls_can_be_left_out():
    random = np.random.default_rng(3)
    grid = random.normal(size=(8, 12))
    high = grid.copy()
    high[:6, 11] += 50
    table = plate(high).with_columns(
        Metadata_Role=pl.Series(np.where(high.ravel() > 20, "positive", "treatment"))
    )
    scored = b_score(table, features=["x"], reference=pl.col("Metadata_Role") == "treatment")
    found = scored["x"].to_numpy().reshape(8, 12)
    assert (found[:6, 11] > 25).all()
    assert np.abs(found[6:, 11]).max() < 5


@pytest.mark.parametrize("value", [1.0, np.nan, np.inf])
def test_plates_that_do_not_vary_have_no_score(value):
    assert np.isnan(score(np.full((8, 12), value))).all()


def test_wells_missing_from_the_plate_do_not_matter():
    random = np.random.default_rng(4)
    table = plate(random.normal(size=(8, 12))).filter(pl.int_range(pl.len()) % 7 > 0)
    assert b_score(table, features=["x"])["x"].null_count() == 0
    assert len(plate_wells(FORMATS[96])) > table.height
    assert b_score(table.clear(), features=["x"]).height == 0
