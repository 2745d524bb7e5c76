"""copairs takes the file as it is, and finds the compounds that replicate."""

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import cosine

from profiler.export import export
from profiler.export.source import BadExport
from profiler.store.tables import scan_table, write_table

GAP = "Cells_Intensity_F3_DNA"
PAIRS = ["Metadata_Treatment", "Metadata_Reference_Index"]


@pytest.fixture
def written(run, tmp_path):
    return export(run, to="copairs", path=tmp_path / "pairs.parquet")


def test_what_is_left_out_is_told(written):
    assert (written.rows, written.features) == (23, 19)
    assert written.notes == (
        "1 wells were left out, as they have no compound.",
        f"1 features were left out, as they have no value in some well: {GAP}.",
        "1 columns were left out, as they are neither metadata nor features: score.",
    )


def test_wells_without_any_value_are_left_out_before_features_are(run, tmp_path):
    table = scan_table(run / "profiles.parquet").collect()
    named = table.with_columns(pl.col("Metadata_Compound").fill_null("Lost"))
    write_table(run / "profiles.parquet", named, level="profiles", parameters={})
    written = export(run, to="copairs", path=tmp_path / "pairs.parquet")
    assert (written.rows, written.features) == (23, 19)
    assert written.notes[0] == "1 wells were left out, as they have no value in any feature."


def test_controls_without_a_compound_and_time_points(run, tmp_path):
    table = scan_table(run / "profiles.parquet").collect()
    is_control = pl.col("Metadata_Role") == "negative"
    nameless = pl.when(~is_control).then("Metadata_Compound").alias("Metadata_Compound")
    times = [table.with_columns(nameless, Metadata_Timepoint=pl.lit(time)) for time in (1, 2)]
    write_table(run / "profiles.parquet", pl.concat(times), level="profiles", parameters={})
    written = export(run, to="copairs", path=tmp_path / "pairs.parquet")
    assert written.rows == 46
    assert written.notes[:2] == (
        "2 wells were left out, as they have no compound.",
        "16 negative controls without a compound are called 'negative'.",
    )
    found = pl.read_parquet(written.path)
    assert dict(found["Metadata_Treatment"].value_counts().rows()) == {
        f"{name} time point {time}": n
        for time in (1, 2)
        for name, n in {
            "negative": 8,
            **{f"{x} 0.5 uM": 5 for x in ("Loud", "Clear", "Idle")},
        }.items()
    }
    controls = found.filter(is_control)["Metadata_Reference_Index"]
    assert controls.n_unique() == 16
    assert controls.min() >= 0


def test_treatment_and_reference_index(written):
    table = pl.read_parquet(written.path)
    assert set(table["Metadata_Treatment"]) == {
        "DMSO", "Loud 0.5 uM", "Clear 0.5 uM", "Idle 0.5 uM",
    }  # fmt: skip
    assert table["Metadata_Reference_Index"].to_list() == [*range(8), *[-1] * 15]
    assert (
        table.select(pl.selectors.float()).drop("Metadata_Concentration").null_count().row(0)
        == (0,) * 19
    )


def test_copairs_takes_it_as_it_is(written):
    pytest.importorskip("copairs")
    import pandas
    from copairs.map import average_precision

    frame = pandas.read_parquet(written.path)
    is_meta = frame.columns.str.startswith("Metadata_")
    found = average_precision(
        frame.loc[:, is_meta],
        frame.loc[:, ~is_meta].to_numpy(),
        pos_sameby=PAIRS,
        pos_diffby=[],
        neg_sameby=[],
        neg_diffby=PAIRS,
        progress_bar=False,
    )
    assert found["n_pos_pairs"].tolist() == [0] * 8 + [4] * 15
    assert found["n_total_pairs"].tolist()[8:] == [12] * 15  # 4 replicates and 8 controls
    by_name = found.groupby("Metadata_Compound")["average_precision"].mean()
    assert by_name["Loud"] == by_name["Clear"] == 1
    assert by_name["Idle"] < 0.9

    values, wells = frame.loc[:, ~is_meta].to_numpy(), frame["Metadata_Compound"].tolist()
    others = [i for i in range(23) if wells[i] in ("Idle", "DMSO") and i != 18]
    nearest = sorted(others, key=lambda i: cosine(values[18], values[i]))
    ranks = 1 + np.flatnonzero([wells[i] == "Idle" for i in nearest])
    by_hand = np.mean(np.arange(1, 5) / ranks)
    np.testing.assert_allclose(found["average_precision"][18], by_hand, rtol=1e-6)


def test_a_table_without_a_plate_map_is_refused(run, tmp_path):
    table = scan_table(run / "profiles.parquet").collect().drop("Metadata_Role")
    write_table(run / "profiles.parquet", table, level="profiles", parameters={})
    with pytest.raises(BadExport, match="profiles has no Metadata_Compound and Metadata_Role"):
        export(run, to="copairs", path=tmp_path / "p.parquet")


def test_no_feature_without_gaps_is_refused(run, tmp_path):
    table = scan_table(run / "profiles.parquet").collect()
    gaps = [
        pl.when(pl.int_range(pl.len()) != i).then(pl.col(name))
        for i, name in enumerate(name for name in table.columns if name.startswith(("Ce", "Nu")))
    ]
    write_table(run / "profiles.parquet", table.with_columns(gaps), level="profiles", parameters={})
    with pytest.raises(BadExport, match="No feature of profiles has a value in all of its 23"):
        export(run, to="copairs", path=tmp_path / "p.parquet")
