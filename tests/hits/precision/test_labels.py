"""Consistency of every kind of label: who is compared, at which dose, what is told of others."""

import numpy as np
import polars as pl
import pytest

from profiler.hits import activity
from profiler.hits.precision.consistency import consistency
from profiler.hits.precision.labels import label_consistency

FEATURES = [f"Cells_F{i}" for i in range(12)]
MOA, TARGET = "Metadata_MOA", "Metadata_Target"
KINDS = {"compound": "Metadata_Compound", "MOA": MOA, "target": TARGET}
MECHANISMS = {0: "A", 1: "A", 2: "A", 3: "B", 4: "B", 5: "B", 6: "C", 7: "C", 8: "D", 9: None}
ACTIVE = range(6)  # the compounds of A and B, at the higher dose


@pytest.fixture(scope="module")
def wells() -> pl.DataFrame:
    """Ten compounds at two doses in four wells each, and 24 controls."""
    random = np.random.default_rng(3)
    effects = {name: 6 * random.normal(size=len(FEATURES)) for name in "AB"}
    keys = [("DMSO", "negative", None, None, None)] * 24
    shifts = [np.zeros(len(FEATURES))] * 24
    for compound, moa in MECHANISMS.items():
        for dose in (1.0, 10.0):
            acts = compound in ACTIVE and dose == 10.0
            keys += [(f"C{compound}", "treatment", dose, moa, f"{moa}1|{moa}2")] * 4
            shifts += [effects[moa] if acts else np.zeros(len(FEATURES))] * 4
    names = ["Compound", "Role", "Concentration", "MOA", "Target"]
    table = pl.DataFrame(keys, schema=[f"Metadata_{x}" for x in names], orient="row")
    values = random.normal(size=(len(keys), len(FEATURES))) + np.array(shifts)
    table = table.with_columns(
        pl.lit("P").alias("Metadata_Plate"),
        pl.format("A{}", pl.int_range(1, pl.len() + 1)).alias("Metadata_Well"),
    )
    return table.hstack(pl.DataFrame(values, schema=FEATURES))


@pytest.fixture(scope="module")
def found(wells) -> pl.DataFrame:
    return label_consistency(wells, kinds=KINDS, activity=activity(wells))


def test_only_active_compounds_are_compared_and_every_label_has_a_row(found):
    moa = found.filter(kind="MOA")
    assert set(moa["compared"]) == {"active"}
    told = {row["label"]: row for row in moa.iter_rows(named=True)}
    assert list(told) == ["A", "B", "C", "D"]
    assert [told[x]["n_labelled"] for x in "ABCD"] == [3, 3, 2, 1]
    assert [told[x]["n_compounds"] for x in "ABCD"] == [3, 3, 0, 0]
    assert [told[x]["status"] for x in "ABCD"] == ["ok", "ok", "none_active", "none_active"]
    assert told["A"]["mean_average_precision"] == pytest.approx(1.0)


def test_the_most_active_dose_stands_for_its_compound(wells, found):
    high = wells.filter(pl.col("Metadata_Concentration") == 10, pl.col(MOA).is_in(["A", "B"]))
    medians = high.group_by("Metadata_Compound", MOA).agg(pl.col(FEATURES).median())
    expected = consistency(medians, labels=MOA)
    same = ["n_compounds", "mean_average_precision", "chance_precision", "p_value", "q_value"]
    assert found.filter(kind="MOA").head(2).select(same).equals(expected.select(same))


def test_a_compound_has_all_labels_of_its_text(found):
    assert set(found.filter(kind="target")["label"]) == {
        f"{x}{i}" for x in (*"ABCD", "None") for i in (1, 2)
    }
    assert "compound" not in found["kind"].to_list()


def test_without_replicates_all_compounds_are_compared(wells):
    one = wells.unique(["Metadata_Compound", "Metadata_Concentration"], maintain_order=True)
    found = label_consistency(one, kinds={"MOA": MOA}, activity=activity(one))
    assert set(found["compared"]) == {"all"}
    assert found["n_compounds"].sum() + found["n_left_out"].sum() == 9


def test_the_order_of_wells_does_not_count(wells, found):
    mixed = wells.sample(fraction=1, shuffle=True, seed=1)
    assert label_consistency(mixed, kinds=KINDS, activity=activity(mixed)).equals(found)


def test_when_nothing_is_active_labels_are_told_all_the_same(wells):
    quiet = wells.filter((pl.col("Metadata_Concentration") != 10).fill_null(value=True))
    found = label_consistency(quiet, kinds={"MOA": MOA}, activity=activity(quiet))
    assert found["status"].to_list() == ["none_active"] * 4
    assert found["p_value"].null_count() == 4
