"""Mechanisms and neighbours: by hand, both rules, ties, shuffles, beside the cell count."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from plates.errors import UnknownName
from profiler.phenotype import mechanisms, neighbours
from profiler.phenotype.mechanism import N_SHUFFLES
from profiler.profile.scaling.control_spread import compressed
from tests.phenotype.conftest import FEATURES

XY = ["x", "y"]
BOTH = ("not_same_compound", "not_same_compound_or_batch")


def table(*rows: tuple) -> pl.DataFrame:
    """Wells from compound, dose, mechanism, batch, count, x, y."""
    names = ["Compound", "Concentration", "MOA", "Batch", "Object_Count"]
    wells = pl.DataFrame(rows, schema=[*(f"Metadata_{name}" for name in names), *XY], orient="row")
    return wells.with_columns(
        pl.lit("P").alias("Metadata_Plate"),
        pl.format("A{}", pl.int_range(pl.len())).alias("Metadata_Well"),
    )


FIVE = table(
    ("a", 1.0, "m", "1", 100, 1.0, 0.0),
    ("a", 9.0, "m", "1", 10, 1.0, 0.01),
    ("b", 1.0, "m", "1", 50, 1.0, 0.1),
    ("c", 1.0, "n", "2", 11, 1.0, 0.3),
    ("d", 1.0, "n", "3", 101, 0.0, 1.0),
)


def found(wells: pl.DataFrame, **options) -> pl.DataFrame:
    return mechanisms(wells, features=XY, mechanism="Metadata_MOA", **options).table


def test_the_nearest_of_another_compound_by_hand():
    one = found(FIVE, rules=["not_same_compound"])
    assert one["Metadata_Compound"].to_list() == ["a", "a", "b", "c", "d"]
    assert one["predicted"].to_list() == ["m", "m", "m", "m", "n"]
    assert one["is_right"].to_list() == [True, True, True, False, True]
    assert one["predicted_by_count"].to_list() == ["n", "n", "m", "m", "m"]
    assert one["status"].to_list() == ["ok"] * 5


def test_nor_of_its_batch_by_hand():
    other = found(FIVE, rules=["not_same_compound_or_batch"])
    assert other["predicted"].to_list() == ["n", "n", "n", "m", "n"]
    assert other["is_right"].to_list() == [None, None, None, False, True]  # m is in batch 1 only


def test_both_rules_where_there_are_batches():
    assert found(FIVE)["rule"].unique().sort().to_list() == list(BOTH)
    assert found(FIVE.drop("Metadata_Batch"))["rule"].unique().to_list() == ["not_same_compound"]
    unnamed = FIVE.with_columns(Metadata_Batch=pl.lit(None, dtype=pl.String))
    assert found(unnamed)["rule"].unique().to_list() == ["not_same_compound"]


def test_a_treatment_of_two_batches_is_kept_from_both():
    wells = pl.concat([FIVE, table(("c", 1.0, "n", "1", 11, 1.0, 0.3))])
    other = found(wells, rules=["not_same_compound_or_batch"])
    assert other["predicted"].to_list() == ["n", "n", "n", "n", "n"]
    assert other.filter(Metadata_Compound="a")["cosine"].max() < 0.1  # of d: c is out


def test_ties_of_several_mechanisms_predict_none():
    wells = table(
        ("a", 1.0, "m", "1", 9, 1.0, 0.0),
        ("b", 1.0, "m", "1", 9, 2.0, 0.0),
        ("c", 1.0, "n", "1", 9, 2.0, 0.0),
        ("d", 1.0, "n", "1", 9, 0.0, 1.0),
    )
    one = found(wells, rules=["not_same_compound"]).filter(Metadata_Compound="a")
    assert one.select("predicted", "is_right", "status").row(0) == (None, False, "tie")
    assert one["predicted_by_count"].item() is None


def test_the_unknown_are_predicted_but_not_judged_and_predict_nothing():
    wells = pl.concat([FIVE, table(("e", 1.0, None, "1", 9, 1.0, 0.29))])
    one = found(wells, rules=["not_same_compound"])
    unknown = one.filter(Metadata_Compound="e").row(0, named=True)
    assert (unknown["known"], unknown["predicted"], unknown["is_right"]) == (None, "n", None)
    assert one.filter(Metadata_Compound="c")["predicted"].item() == "m"


def test_no_profile_and_no_neighbour_are_coded():
    wells = table(("a", 1.0, "m", "1", 9, 1.0, 0.0), ("b", 1.0, "n", "1", 9, None, None))
    one = found(wells, rules=["not_same_compound"])
    assert one["status"].to_list() == ["no_neighbour", "no_profile"]
    assert one["predicted"].to_list() == [None, None]


def test_accuracy_stands_beside_cell_count_and_chance():
    result = mechanisms(FIVE, features=XY, mechanism="Metadata_MOA", rules=[BOTH[0]])
    line = result.accuracy.row(0, named=True)
    assert (line["n_treatments"], line["n_right"], line["n_right_by_count"]) == (5, 4, 1)
    assert line["accuracy"] == 0.8
    # Of the four compounds' labels m, m, n, n, six orders: mean share of equal neighbours.
    assert line["chance"] == pytest.approx(1 / 3, abs=0.03)


def test_shuffled_mechanisms_are_predicted_by_chance():
    random = np.random.default_rng(0)
    p_values = []
    for seed in range(25):
        rows = [(f"c{i:02d}", 1.0, f"m{i % 4}", "1", 9, *random.normal(size=2)) for i in range(24)]
        result = mechanisms(table(*rows), features=XY, mechanism="Metadata_MOA", seed=seed)
        p_values.append(result.accuracy["p_value"][0])
    assert 0.3 < np.mean(p_values) < 0.8
    assert min(p_values) > 1 / (N_SHUFFLES + 1)


def test_planted_mechanisms_are_predicted(plate):
    result = mechanisms(plate, features=FEATURES, mechanism="Metadata_MOA")
    active = result.table.filter(pl.col("known").is_in(["kind 1", "kind 2", "kind 3"]))
    assert active["is_right"].all()
    assert result.accuracy["p_value"].item() == pytest.approx(1 / (N_SHUFFLES + 1))
    assert result.accuracy["accuracy_by_count"].item() < 0.6
    assert result.table.filter(known="poison")["is_right"].to_list() == [None]


def test_neighbours_are_those_of_scikit_learn(plate):
    near = neighbours(plate, features=FEATURES, n_neighbours=3)
    treated = plate.filter(pl.col("Metadata_Role") != "negative")
    profiles = treated.group_by("Metadata_Compound").agg(pl.col(FEATURES).median())
    profiles = profiles.sort("Metadata_Compound")
    cosine = cosine_similarity(compressed(profiles.select(FEATURES).to_numpy()))
    np.fill_diagonal(cosine, -2)
    names = profiles["Metadata_Compound"].to_numpy()
    best = np.argsort(-cosine, axis=1)[:, :3]
    assert near["neighbour_compound"].to_list() == names[best.ravel()].tolist()
    np.testing.assert_allclose(
        near["cosine"], np.take_along_axis(cosine, best, 1).ravel(), atol=1e-9
    )


def test_neighbours_are_ranked_by_count_too():
    near = neighbours(FIVE, features=XY, n_neighbours=2).filter(
        Metadata_Compound="a", Metadata_Concentration=1.0
    )
    assert near["neighbour_compound"].to_list() == ["b", "c"]
    assert near["rank_by_count"].to_list() == [2, 3]  # of 50 and 11 cells, beside 101
    without = neighbours(FIVE.drop("Metadata_Object_Count"), features=XY)
    assert without["rank_by_count"].null_count() == without.height > 0


def test_a_treatment_has_as_many_neighbours_as_there_are():
    assert neighbours(FIVE.head(3), features=XY).group_by("Metadata_Compound").len().sort(
        "Metadata_Compound"
    )["len"].to_list() == [2, 2]
    assert neighbours(FIVE.head(2), features=XY).height == 0
    assert neighbours(FIVE.head(0), features=XY).height == 0


def test_plates_without_doses_have_one():
    near = neighbours(FIVE.drop("Metadata_Concentration").tail(2), features=XY)
    assert near["neighbour_concentration"].to_list() == [None, None]
    assert near["neighbour_compound"].to_list() == ["d", "c"]


def test_order_does_not_matter():
    shuffled = FIVE.sample(fraction=1, shuffle=True, seed=1)
    assert found(shuffled).equals(found(FIVE))


def test_what_is_not_there_is_refused():
    with pytest.raises(UnknownName, match=r"no column called 'Metadata_MoA'. Did you mean"):
        mechanisms(FIVE, features=XY, mechanism="Metadata_MoA")
    with pytest.raises(UnknownName, match=r"no rule called 'not_same_compounds'. Did you mean"):
        found(FIVE, rules=["not_same_compounds"])
    with pytest.raises(UnknownName, match=r"no column called 'Metadata_Batch'"):
        found(FIVE.drop("Metadata_Batch"), rules=[BOTH[1]])
