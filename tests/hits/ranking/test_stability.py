"""Uncertain ranks: coverage, agreement with the ranking, seeds, few replicates."""

import numpy as np
import polars as pl
import pytest

from profiler.hits.ranking.rank import HitRule
from profiler.hits.ranking.stability import rank_uncertainty

COMPOUND = "Metadata_Compound"


def hits(truth: np.ndarray, *, replicates: int, seed: int, doses: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    rows = [("P", "DMSO", "negative", 0.0, x) for x in random.normal(size=32)]
    rows += [
        ("P", f"C{i:03d}", "treatment", float(dose), effect * dose / doses + x)
        for i, effect in enumerate(truth)
        for dose in range(1, doses + 1)
        for x in random.normal(size=replicates)
    ]
    names = ["Plate", "Compound", "Role", "Concentration"]
    schema = [*(f"Metadata_{name}" for name in names), "readout_z"]
    return pl.DataFrame(rows, schema=schema, orient="row")


TRUTH = np.concatenate([np.linspace(12, 3, 10), np.zeros(90)])


@pytest.mark.parametrize("replicates", [1, 2, 4])
def test_intervals_hold_the_true_place(replicates):
    inside = []
    for seed in range(8):
        found = rank_uncertainty(hits(TRUTH, replicates=replicates, seed=seed), seed=seed)
        for i in range(10):
            row = found.row(by_predicate=pl.col(COMPOUND) == f"C{i:03d}", named=True)
            inside.append(row["rank_low"] <= i + 1 <= row["rank_high"])
    assert np.mean(inside) > 0.9


def test_more_replicates_make_ranks_surer():
    width = [
        rank_uncertainty(hits(TRUTH, replicates=n, seed=0))
        .filter(pl.col(COMPOUND).is_in([f"C{i:03d}" for i in range(10)]))
        .select((pl.col("rank_high") - pl.col("rank_low")).mean())
        .item()
        for n in (3, 12)
    ]
    assert width[1] < width[0]


def test_ranks_are_those_of_the_compounds_table(make_plate):
    from profiler.hits import call_hits

    wells = make_plate(compounds=12, doses=3, replicates=3)
    readout = "Nuclei_Intensity_MeanIntensity_GFP"
    called = call_hits(wells, wells, readout=readout)
    found = rank_uncertainty(called.hits)
    theirs = called.compounds.select(COMPOUND, "Metadata_Role", "rank").drop_nulls("rank")
    both = found.join(theirs, on=[COMPOUND, "Metadata_Role"], validate="1:1")
    assert both.height == theirs.height == found.height
    assert both["rank"].equals(both["rank_right"].rename("rank"))
    assert (found["rank_low"] <= found["rank_median"]).all()
    assert (found["rank_median"] <= found["rank_high"]).all()


def test_sure_ranks_and_unsure_ones():
    sure = np.array([100.0, 50.0, 25.0])
    found = rank_uncertainty(hits(sure, replicates=4, seed=0)).head(3)
    assert found["rank_low"].to_list() == found["rank_high"].to_list() == [1, 2, 3]
    assert found["top_share"].to_list() == [1.0] * 3
    unsure = rank_uncertainty(hits(np.zeros(50), replicates=2, seed=0), top=5)
    assert unsure["top_share"].sum() == pytest.approx(5)
    assert (unsure["rank_high"] - unsure["rank_low"]).median() > 20


def test_the_seed_alone_decides():
    table = hits(TRUTH, replicates=3, seed=0)
    whole = rank_uncertainty(table, seed=1)
    assert rank_uncertainty(table, seed=1).equals(whole)
    assert not rank_uncertainty(table, seed=2).equals(whole)


def test_wells_without_an_effect_and_one_sided_ranks():
    table = hits(np.array([-9.0, 5.0, 3.0]), replicates=3, seed=0)
    gone = pl.when(pl.col(COMPOUND) != "C002").then(pl.col("readout_z"))
    two_sided = rank_uncertainty(table.with_columns(gone.alias("readout_z")))
    assert two_sided[COMPOUND].to_list() == ["C000", "C001", "DMSO"]
    profile = table.rename({"readout_z": "profile_score"})
    one_sided = rank_uncertainty(profile, rule=HitRule(rank_by="profile"))
    assert one_sided[COMPOUND].to_list()[:2] == ["C001", "C002"]


def test_nothing_to_rank():
    table = hits(np.array([1.0]), replicates=1, seed=0)
    assert rank_uncertainty(table.clear()).height == 0
    assert rank_uncertainty(table.drop(COMPOUND)).height == 0


def test_the_order_of_the_wells_does_not_matter():
    table = hits(TRUTH, replicates=3, seed=0)
    table = table.with_columns(Metadata_Well=pl.format("W{}", pl.int_range(pl.len()) + 1000))
    mixed = table.sample(fraction=1, shuffle=True, seed=1)
    assert rank_uncertainty(mixed).equals(rank_uncertainty(table))
