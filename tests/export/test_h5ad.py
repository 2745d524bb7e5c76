"""AnnData reads back what went in, and says where it is from."""

import json
import sys

import numpy as np
import polars as pl
import pytest

from profiler.export import export
from profiler.export.source import MissingPackage
from profiler.store.tables import scan_table, write_table


@pytest.fixture
def table(run) -> pl.DataFrame:
    return scan_table(run / "profiles.parquet").collect()


def read(path):
    return pytest.importorskip("anndata").read_h5ad(path)


@pytest.fixture
def back(run, tmp_path):
    pytest.importorskip("anndata")
    written = export(run, to="anndata", path=tmp_path / "p.h5ad")
    assert (written.rows, written.features, written.notes) == (24, 20, ())
    return read(tmp_path / "p.h5ad")


def test_values_are_the_features_with_nan_for_null(back, table):
    features = [name for name in table.columns if name.startswith(("Cells", "Nuclei"))]
    assert back.X.dtype == np.float64
    assert list(back.var_names) == features
    np.testing.assert_array_equal(back.X, table.select(features).to_numpy())
    assert np.isnan(back.X).sum() == 1 + 20


def test_everything_else_is_obs(back, table):
    assert list(back.obs.columns) == [
        *(name for name in table.columns if name.startswith("Metadata_")),
        "score",
    ]
    assert back.obs["Metadata_Compound"].isna().tolist() == [False] * 23 + [True]
    assert back.obs["Metadata_Compound"].dtype == "category"
    for name in ("Metadata_Well", "Metadata_Role", "Metadata_Object_Count", "score"):
        assert back.obs[name].tolist() == table[name].to_list()
    doses = back.obs["Metadata_Concentration"].to_numpy(float)
    assert np.isnan(doses).sum() == 9
    assert list(back.obs_names[:2]) == ["P1_A01", "P1_A02"]


def test_features_are_taken_apart(back):
    row = back.var.loc["Cells_Intensity_F3_ER"]
    assert row.to_dict() == {
        "object": "Cells",
        "feature_group": "Intensity",
        "feature": "F3",
        "channel": "ER",
    }


def test_how_it_was_made_travels(back):
    made = back.uns["profiler"]
    assert made["level"] == "profiles"
    run = json.loads(made["runs"])["run"]
    assert run["recipe"] == "painting"
    assert run["settings"]["images"]["channels"]["ER"] == "w2"
    assert run["device"] == "cpu"


def test_single_precision_stays(run, tmp_path):
    cells = pl.DataFrame(
        {"Metadata_Well": ["A01", "A01"], "Cells_AreaShape_Area": [0.1, None]},
        schema_overrides={"Cells_AreaShape_Area": pl.Float32},
    )
    write_table(run / "wells.parquet", cells, level="wells", parameters={})
    pytest.importorskip("anndata")
    export(run, to="anndata", path=tmp_path / "w.h5ad", table="wells")
    back = read(tmp_path / "w.h5ad")
    assert back.X.dtype == np.float32
    assert back.X[0, 0] == np.float32(0.1)
    assert list(back.obs_names) == ["0", "1"]  # the well alone does not tell them apart


def test_without_the_package_the_message_says_how_to_get_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    message = r"need the package anndata.*pip install \'plate-profiler\[export\]\'"
    with pytest.raises(MissingPackage, match=message):
        export(run, to="anndata", path=tmp_path / "p.h5ad")
    assert not (tmp_path / "p.h5ad").exists()
