"""Average precision: by hand, against scikit-learn and copairs, ties, gaps, blocks."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from plates.errors import ProfilingError, UnknownName
from profiler.hits.precision import retrieval
from profiler.hits.precision.average import average_precision, mean_average_precision
from profiler.hits.precision.matching import Matching

COMPOUND, ROLE = "Metadata_Compound", "Metadata_Role"
FEATURES = ["Cells_Made_A", "Cells_Made_B"]


def wells(*rows: tuple) -> pl.DataFrame:
    """(plate, compound, role, direction in degrees) -> wells with two features."""
    angle = np.deg2rad([row[-1] for row in rows])
    keys = pl.DataFrame(
        [row[:-1] for row in rows], schema=["Metadata_Plate", COMPOUND, ROLE], orient="row"
    )
    values = pl.DataFrame({FEATURES[0]: np.cos(angle), FEATURES[1]: np.sin(angle)})
    names = [f"A{i + 1:02d}" for i in range(len(rows))]
    return keys.with_columns(Metadata_Well=pl.Series(names)).hstack(values)


def made_up(*, plates=3, compounds=8, controls=6, features=20, seed=0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    effects = random.normal(size=(compounds, features)) * (np.arange(compounds) % 2)[:, None]
    rows, values = [], []
    for plate in range(plates):
        for compound in range(compounds):
            rows.append((f"P{plate}", f"C{compound}", "treatment"))
            values.append(random.normal(size=features) + effects[compound])
        for _ in range(controls):
            rows.append((f"P{plate}", "DMSO", "negative"))
            values.append(random.normal(size=features))
    table = pl.DataFrame(rows, schema=["Metadata_Plate", COMPOUND, ROLE], orient="row")
    names = [f"{chr(65 + i // 20)}{i % 20 + 1:02d}" for i in range(len(rows))]
    return table.with_columns(Metadata_Well=pl.Series(names)).hstack(
        pl.DataFrame(np.array(values), schema=[f"Cells_Made_F{i}" for i in range(features)])
    )


def test_by_hand():
    # From 0°: a match at 10°, a control at 20°, a match at 30°, a control at 90°.
    table = wells(
        *(("P", "x", "treatment", angle) for angle in (0, 10, 30)),
        *(("P", "DMSO", "negative", angle) for angle in (20, 90)),
    )
    found = average_precision(table)
    assert found.height == 3  # controls are what treated wells are ranked against
    assert found["average_precision"].to_list() == pytest.approx(
        [(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]
    )  # from 10°: 0° ties with 20° and counts after it, as 30° does
    assert found["n_matches"].to_list() == [2] * 3
    assert found["n_others"].to_list() == [2] * 3
    assert found["status"].to_list() == ["ok"] * 3
    assert found["p_value"][0] == pytest.approx(2 / 6)  # (1, 2) and (1, 3) of 6 choices


def test_ties_are_as_in_scikit_learn():
    random = np.random.default_rng(0)
    similarity = random.integers(5, size=(30, 25)).astype(float)
    relation = random.integers(-1, 2, size=similarity.shape).astype(np.int8)
    found, _, _ = retrieval.precision_of(similarity, relation)
    for likeness, kind, ours in zip(similarity, relation, found, strict=True):
        used = kind != retrieval.IGNORED
        expected = average_precision_score(kind[used] == retrieval.MATCH, likeness[used])
        assert ours == pytest.approx(expected, abs=1e-12)


def test_wells_that_are_all_alike_gain_nothing():
    table = made_up().with_columns(pl.lit(1.0).alias(f"Cells_Made_F{i}") for i in range(20))
    found = average_precision(table)
    assert found["average_precision"].to_numpy() == pytest.approx(2 / 8)  # matches among all
    assert (found["p_value"] > 0.8).all()


copairs_map = pytest.importorskip("copairs.map")


def copairs_precision(table: pl.DataFrame, *, against: str, apart: list[str]) -> pl.DataFrame:
    meta = table.select(pl.col("^Metadata_.*$")).to_pandas()
    is_control = (meta[ROLE] == "negative").to_numpy()
    meta["is_control"] = is_control
    meta["treated"] = np.where(is_control, -1, np.arange(len(meta)))
    different = ["is_control"] if against == "controls" else [COMPOUND]
    found = copairs_map.average_precision(
        meta, table.select(pl.col("^Cells_.*$")).to_numpy(), [COMPOUND], apart,
        ["Metadata_Plate"], different, progress_bar=False,
    )  # fmt: skip
    keep = ~is_control if against == "controls" else np.ones(len(meta), bool)
    return pl.from_pandas(found[keep])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("against", ["controls", "others"])
@pytest.mark.parametrize("apart", [[], ["Metadata_Plate"]])
def test_against_copairs(against, apart):
    table = made_up()
    theirs = copairs_precision(table, against=against, apart=apart)
    ours = average_precision(table, matching=Matching(apart=tuple(apart), against=against))
    for mine, name in (("n_matches", "n_pos_pairs"), ("average_precision",) * 2):
        np.testing.assert_allclose(ours[mine], theirs[name], atol=1e-9)
    total = ours["n_matches"] + ours["n_others"]
    np.testing.assert_array_equal(total, theirs["n_total_pairs"])
    above = (ours["average_precision"] - ours["chance_precision"]) / (1 - ours["chance_precision"])
    np.testing.assert_allclose(above, theirs["normalized_average_precision"], atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_mean_against_copairs(tmp_path):
    table = made_up(plates=4, compounds=12, controls=9)
    theirs = pl.from_pandas(
        copairs_map.mean_average_precision(
            copairs_precision(table, against="controls", apart=[]).to_pandas(), [COMPOUND],
            null_size=100_000, threshold=0.05, seed=0, progress_bar=False, cache_dir=tmp_path,
        )
    )  # fmt: skip
    ours = mean_average_precision(average_precision(table), per=[COMPOUND])
    both = ours.join(theirs.drop("indices"), on=COMPOUND, validate="1:1")
    assert both.height == ours.height == 12
    means = both["mean_average_precision"], both["mean_average_precision_right"]
    np.testing.assert_allclose(*means, atol=1e-9)
    # copairs counts draws above the mean, not those that equal it.
    below_one = both.filter(pl.col("mean_average_precision") < 1)
    error = 5 * np.sqrt(below_one["p_value"] / 100_000) + 2e-5
    assert (np.abs(below_one["p_value"] - below_one["p_value_right"]) < error).all()


def test_blocks_do_not_matter(monkeypatch):
    whole = average_precision(made_up())
    monkeypatch.setattr(retrieval, "MOST_BYTES", 1)
    assert average_precision(made_up()).equals(whole)


def test_the_order_of_the_table_does_not_matter():
    table = made_up().with_row_index("i")
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    both = [
        average_precision(one.drop("i")).sort("Metadata_Plate", "Metadata_Well")
        for one in (table, shuffled)
    ]
    assert both[0].equals(both[1])


def test_scale_does_not_matter_and_huge_values_do_not_overflow():
    table = made_up()
    grown = table.with_columns(pl.col("^Cells_.*$") * 1e200)
    assert average_precision(grown).equals(average_precision(table))


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_an_undefined_value_counts_as_no_effect(bad):
    table = made_up()
    first = pl.int_range(pl.len()) == 0
    name = "Cells_Made_F0"
    broken, zero = (
        table.with_columns(pl.when(first).then(pl.lit(value)).otherwise(name).alias(name))
        for value in (bad, 0.0)
    )
    assert average_precision(broken).equals(average_precision(zero))


def test_wells_that_cannot_be_ranked_say_why():
    table = wells(
        ("P", "x", "treatment", 0),
        ("P", "x", "treatment", 9),
        ("P", "alone", "treatment", 5),
        ("P", "DMSO", "negative", 20),
        ("Q", "y", "treatment", 0),
        ("Q", "y", "treatment", 1),
        ("P", "z", "treatment", 3),
        ("P", "z", "treatment", 4),
    )
    last = pl.int_range(pl.len()) == 7
    table = table.with_columns(pl.when(~last).then(pl.col(FEATURES)))
    found = average_precision(table)
    status = dict(found.select("Metadata_Well", "status").iter_rows())
    assert status == {
        "A01": "ok", "A02": "ok", "A03": "no_match", "A05": "no_other", "A06": "no_other",
        "A07": "no_match", "A08": "no_profile",
    }  # fmt: skip
    numbers = found.filter(pl.col("status") != "ok").select(
        "average_precision", "chance_precision", "p_value"
    )
    assert numbers.null_count().row(0) == (5, 5, 5)


@pytest.mark.parametrize("value", [None, np.nan, np.inf, 0.0])
def test_wells_of_which_nothing_is_known_have_no_profile(value):
    table = made_up().with_columns(
        pl.lit(value, dtype=pl.Float64).alias(f"Cells_Made_F{i}") for i in range(20)
    )
    found = average_precision(table)
    assert found["status"].unique().to_list() == ["no_profile"]
    assert found["average_precision"].null_count() == found.height > 0


def test_other_doses_are_no_replicates():
    table = made_up().with_columns(Metadata_Concentration=pl.int_range(pl.len()).cast(pl.Float64))
    assert set(average_precision(table)["status"]) == {"no_match"}
    named = average_precision(table, matching=Matching(same=(COMPOUND,)))
    assert set(named["status"]) == {"ok"}


def test_empty_wells_take_no_part():
    table = made_up()
    role = pl.when(pl.col(COMPOUND) == "C1").then(pl.lit("empty")).otherwise(ROLE)
    found = average_precision(table.with_columns(role.alias(ROLE)))
    assert "C1" not in found[COMPOUND].to_list()


def test_an_empty_table():
    found = average_precision(made_up().clear())
    assert found.height == 0
    assert mean_average_precision(found, per=[COMPOUND]).height == 0


def test_compounds_without_any_precision_come_last():
    table = wells(
        ("P", "b", "treatment", 0),
        ("P", "b", "treatment", 1),
        ("P", "a", "treatment", 5),
        ("P", "DMSO", "negative", 20),
    )
    found = mean_average_precision(average_precision(table), per=[COMPOUND])
    assert found[COMPOUND].to_list() == ["b", "a"]
    assert found["n_wells"].to_list() == [2, 0]
    assert found["q_value"].to_list() == [0.5, None]


def test_what_is_missing_is_named():
    table = made_up()
    with pytest.raises(UnknownName, match="no column called 'Metadata_Batch'"):
        average_precision(table, matching=Matching(within=("Metadata_Batch",)))
    with pytest.raises(UnknownName, match="side to rank against called 'control'"):
        average_precision(table, matching=Matching(against="control"))
    with pytest.raises(UnknownName, match="no column called 'Metadata_Role'"):
        average_precision(table.drop(ROLE))
    with pytest.raises(ProfilingError, match="no feature to compare wells by"):
        average_precision(table.select(pl.col("^Metadata_.*$")))
