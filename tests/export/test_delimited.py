"""CSV comes back as it went, and pycytominer takes it as its own."""

import gzip

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from profiler.export import export
from profiler.store.tables import scan_table


@pytest.fixture
def table(run) -> pl.DataFrame:
    return scan_table(run / "profiles.parquet").collect()


@pytest.mark.parametrize("name", ["profiles.csv", "profiles.csv.gz"])
def test_metadata_first_then_results_then_features(run, table, tmp_path, name):
    written = export(run, to="csv", path=tmp_path / name)
    assert (written.rows, written.features, written.notes) == (24, 20, ())
    back = pl.read_csv(tmp_path / name)
    kinds = [column.split("_")[0] for column in back.columns]
    assert kinds == ["Metadata"] * 7 + ["score"] + ["Cells"] * 10 + ["Nuclei"] * 10
    assert_frame_equal(back, table.select(back.columns), check_exact=True)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_compressed_if_its_name_says_so(run, tmp_path):
    for name in ("one.csv.gz", "two.csv.gz", "plain.csv"):
        export(run, to="csv", path=tmp_path / name)
    packed = (tmp_path / "one.csv.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "plain.csv").read_bytes()
    assert packed == (tmp_path / "two.csv.gz").read_bytes()


def test_lists_become_words(run, tmp_path):
    written = export(run, to="csv", path=tmp_path / "c.csv", table="compounds")
    assert written.features == 0
    assert (tmp_path / "c.csv").read_text() == "Metadata_Compound,rank,wells\nLoud,1,A01 A02\n"


def test_pycytominer_loads_and_normalises_it(run, table, tmp_path):
    pycytominer = pytest.importorskip("pycytominer")
    from pycytominer.cyto_utils import infer_cp_features, load_profiles

    path = tmp_path / "profiles.csv.gz"
    export(run, to="csv", path=path)
    loaded = load_profiles(str(path))
    features = infer_cp_features(loaded)
    assert features == [name for name in table.columns if name.startswith(("Cells", "Nuclei"))]
    metadata = infer_cp_features(loaded, metadata=True)
    assert metadata == [name for name in table.columns if name.startswith("Metadata_")]
    normal = pycytominer.normalize(
        str(path), samples="Metadata_Role == 'negative'", method="standardize"
    )
    name = features[0]
    values = table[name].to_numpy()
    controls = values[table["Metadata_Role"].to_numpy() == "negative"]
    expected = (values - controls.mean()) / controls.std()
    np.testing.assert_allclose(normal[name], expected, rtol=1e-12)
