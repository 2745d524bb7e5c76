"""Position and run effects: against scipy, planted effects, gaps."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from plates.well import FORMATS, plate_wells
from profiler.hits.quality.drift import position_effects, run_drift

WELLS = plate_wells(FORMATS[96])
ROW, COLUMN = np.divmod(np.arange(96), 12)
IS_EDGE = (ROW == 0) | (ROW == 7) | (COLUMN == 0) | (COLUMN == 11)


def plates(*values: np.ndarray) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame(
            {"Metadata_Plate": f"P{i}", "Metadata_Well": WELLS, "x": value, "y": value[::-1]}
        )
        for i, value in enumerate(values)
    )


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(10, 1, size=(9, 96))


def one(table: pl.DataFrame) -> dict:
    return position_effects(table, readouts=["x"]).row(0, named=True)


def test_against_scipy(noise):
    value = noise[0].copy()
    value[5:9] = value[5]  # ties
    value[20] = np.nan
    known = np.isfinite(value)
    found = one(plates(value))
    assert found["n_wells"] == 95
    for name, line in (("row", ROW), ("column", COLUMN)):
        groups = [value[known & (line == i)] for i in np.unique(line)]
        h, p = stats.kruskal(*groups)
        assert found[f"{name}_p"] == pytest.approx(p)
        share = (h - len(groups) + 1) / (95 - len(groups))
        assert found[f"{name}_share"] == pytest.approx(share)
        trend = stats.spearmanr(value[known], line[known]).statistic
        assert found[f"{name}_trend"] == pytest.approx(trend)
    edges = stats.kruskal(value[known & IS_EDGE], value[known & ~IS_EDGE])
    assert found["edge_p"] == pytest.approx(edges.pvalue)


def test_edge_shift_by_hand(noise):
    inside = noise[0][~IS_EDGE]
    spread = 1.4826 * np.median(np.abs(inside - np.median(inside)))
    expected = (np.median(noise[0][IS_EDGE]) - np.median(inside)) / spread
    assert one(plates(noise[0]))["edge_shift"] == pytest.approx(expected)


def test_planted_effects_are_told_apart(noise):
    table = plates(noise[0] + 2 * IS_EDGE, noise[1] + ROW, noise[2] - COLUMN)
    edge, row, column = position_effects(table, readouts=["x"]).iter_rows(named=True)
    assert edge["edge_shift"] == pytest.approx(2, abs=0.6)
    assert edge["edge_p"] < 1e-6
    assert row["row_share"] > 0.7 > 0.1 > row["column_share"]
    assert row["row_trend"] > 0.8
    assert column["column_trend"] < -0.8
    assert column["column_share"] > 0.7


def test_noise_has_uniform_p_values():
    random = np.random.default_rng(1)
    names = [f"f{i}" for i in range(400)]
    table = pl.DataFrame(random.normal(size=(96, 400)), schema=names).with_columns(
        Metadata_Plate=pl.lit("P"), Metadata_Well=pl.Series(WELLS)
    )
    found = position_effects(table, readouts=names)
    for name in ("edge_p", "row_p", "column_p"):
        assert (found[name] < 0.1).mean() == pytest.approx(0.1, abs=0.05)
    assert found["column_share"].mean() == pytest.approx(0, abs=0.02)


def test_what_has_no_answer_is_null(noise):
    constant = position_effects(plates(np.full(96, 0.1)), readouts=["x"])
    assert (
        constant.select(pl.exclude("Metadata_Plate", "readout", "n_wells").is_null().all()).row(0)
        == (True,) * 8
    )
    inner = plates(noise[0]).filter(pl.Series(~IS_EDGE))
    assert one(inner)["edge_p"] is None
    assert one(inner)["row_p"] is not None
    two = plates(noise[0]).head(2)
    assert one(two)["n_wells"] == 2
    assert one(two)["row_p"] is None
    assert position_effects(inner.clear(), readouts=["x"]).height == 0
    gone = one(plates(np.full(96, np.inf)))
    assert (gone["n_wells"], gone["edge_shift"]) == (0, None)


def test_drift_along_the_run(noise):
    table = plates(*(noise[i] + 0.5 * i for i in range(9)))
    found = run_drift(table, readouts=["x"]).row(0, named=True)
    medians = [np.median(noise[i] + 0.5 * i) for i in range(9)]
    trend = stats.spearmanr(medians, range(9))
    assert found["run_trend"] == pytest.approx(trend.statistic)
    assert found["run_p"] == pytest.approx(trend.pvalue, abs=1e-12)
    assert found["n_plates"] == 9
    assert found["run_shift"] == pytest.approx(3, abs=0.7)  # plates 1 and 7 are the middle ones
    h = stats.kruskal(*(noise[i] + 0.5 * i for i in range(9))).statistic
    assert found["plate_share"] == pytest.approx((h - 8) / (9 * 96 - 9))
    assert found["plate_p"] < 1e-6


def test_the_order_of_the_run_is_what_is_given(noise):
    table = plates(*(noise[i] + 0.5 * i for i in range(9)))
    order = [f"P{i}" for i in (8, 7, 6, 5, 4, 3, 2, 1, 0)]
    back = run_drift(table, readouts=["x"], order=order).row(0, named=True)
    assert back["run_trend"] == pytest.approx(-1, abs=0.1)
    some = run_drift(table, readouts=["x"], order=order[:4]).row(0, named=True)
    assert some["n_plates"] == 4
    few = run_drift(table, readouts=["x"], order=order[:3]).row(0, named=True)
    assert few["run_trend"] is None


def test_no_plates():
    table = plates(np.zeros(96)).clear()
    assert run_drift(table, readouts=["x"]).row(0) == ("x", 0, *[None] * 5)
