"""Cells from disk: the same as in memory, whatever the block, the order of steps and the gaps."""

import numpy as np
import polars as pl
import polars.testing
import pytest

from plates.errors import BadRecipe
from profiler.profile import aggregate, is_role, normalise, profile_cells, select
from profiler.profile.streaming import stream
from profiler.profile.streaming.scratch import Scratch

RANDOM = np.random.default_rng(14)
N = 400
FEATURES = [f"Cells_Test_F{i}" for i in range(14)]
SCALING = {"method": "mad_robustize", "reference": is_role("negative")}
STEPS = ["drop_na_columns", "variance_threshold", "correlation_threshold", "drop_outliers"]


def cells(kind: type[pl.DataType]) -> pl.DataFrame:
    values = RANDOM.normal(size=(N, 5)) @ RANDOM.normal(size=(5, 14))
    values[:, 7:] = values[:, :7] + RANDOM.normal(size=(N, 7)) * 0.4
    values[:, 3] = 2.0
    values[RANDOM.random(N) < 0.3, 4] = np.nan
    values[RANDOM.random(N) < 0.02, 5] = np.nan
    values[7, 6], values[9, 8] = np.inf, 1e6
    return pl.DataFrame(values, schema=FEATURES, nan_to_null=True).select(
        pl.Series("Metadata_Plate", np.arange(N) // 200).cast(pl.String),
        pl.Series("Metadata_Well", np.arange(N) % 40 // 4).cast(pl.String),
        pl.Series("Metadata_Role", np.where(np.arange(N) % 3, "treatment", "negative")),
        pl.col(FEATURES).cast(kind),
    )


@pytest.mark.parametrize("numbers", [N, 5 * N, 1 << 23])
@pytest.mark.parametrize("kind", [pl.Float64, pl.Float32])
def test_the_same_as_in_memory(monkeypatch, tmp_path, numbers, kind):
    monkeypatch.setattr(stream, "NUMBERS", numbers)
    table = cells(kind)
    table.write_parquet(tmp_path / "cells.parquet", row_group_size=90)
    scaled = normalise(table, features=FEATURES, **SCALING)
    chosen = select(scaled.table, features=FEATURES, steps=STEPS)
    wells = aggregate(scaled.table, features=chosen.features)
    assert {"drop_na_columns", "correlation_threshold", "drop_outliers"} <= set(
        chosen.report["step"]
    )

    scan = pl.scan_parquet(tmp_path / "cells.parquet")
    found = profile_cells(scan, scaling=SCALING, steps=STEPS)
    assert found.features == chosen.features
    assert found.lost.equals(scaled.lost)
    pl.testing.assert_frame_equal(found.report, chosen.report, check_row_order=False)
    assert found.report["step"].to_list() == chosen.report["step"].to_list()
    pl.testing.assert_frame_equal(found.wells, wells, rel_tol=1e-9)


def test_without_selection():
    table = cells(pl.Float64)
    found = profile_cells(table.lazy(), scaling=SCALING, steps=[], how="mean")
    scaled = normalise(table, features=FEATURES, **SCALING).table
    pl.testing.assert_frame_equal(found.wells, aggregate(scaled, how="mean"))
    assert found.report.is_empty()


def test_no_cells_and_no_features():
    found = profile_cells(cells(pl.Float64).clear().lazy(), scaling=SCALING, steps=STEPS)
    assert found.wells.is_empty()
    found = profile_cells(
        cells(pl.Float64).lazy(), scaling=SCALING, steps=STEPS, features=["Cells_Test_F3"]
    )
    assert found.features == []
    assert found.wells.height == 20
    found = profile_cells(cells(pl.Float64).lazy(), scaling=SCALING, steps=STEPS, features=[])
    assert found.lost.is_empty()


def test_scratch_reads_what_it_wrote():
    table = pl.DataFrame({"a": [1.0, None, 3.0], "b": [float("inf"), 5.0, 6.0], "c": [7.0, 8, 9]})
    with Scratch(n_rows=3, is_float32=False) as scratch:
        scratch.add(table.select("a", "b"))
        scratch.add(table.select("c"))
        expected = [[8.0, np.nan], [9.0, 3.0]]
        np.testing.assert_array_equal(scratch.rows(["c", "a"], slice(1, 9)), expected)
        assert scratch.table(["b"])["b"].to_list() == [None, 5.0, 6.0]
        assert [column.has_gaps for column in scratch.columns] == [True, True, False]


def test_messages():
    lazy = cells(pl.Float64).lazy()
    with pytest.raises(BadRecipe, match="spherize needs all features of a cell at once"):
        profile_cells(lazy, scaling={"method": "spherize"}, steps=[])
    steps = {"correlation_threshold": {"method": "spearman"}}
    with pytest.raises(BadRecipe, match="correlation_threshold has no option 'method'. Known: is_"):
        profile_cells(lazy, scaling=SCALING, steps=steps)
