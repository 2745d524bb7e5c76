"""Replicate correlation: against numpy, percent replicating with and without effect, gaps."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from profiler.hits.precision.matching import Matching
from profiler.hits.precision.replicates import (
    fraction_retrieved,
    percent_replicating,
    replicate_correlation,
)

COMPOUND = "Metadata_Compound"


def plates(*, effect: float, compounds: int = 60, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    effects = effect * random.normal(size=(compounds, 40))
    keys = {
        "Metadata_Plate": np.repeat([f"P{i}" for i in range(3)], compounds),
        COMPOUND: [f"C{i:02d}" for i in range(compounds)] * 3,
    }
    values = np.tile(effects, (3, 1)) + random.normal(size=(3 * compounds, 40))
    # What a plate does to all of its wells is no replication.
    values += np.repeat(random.normal(size=(3, 40)), compounds, axis=0)
    return pl.DataFrame(keys).hstack(pl.DataFrame(values, schema=[f"Cells_{i}" for i in range(40)]))


def test_correlation_against_numpy():
    table = plates(effect=1.0)
    found = replicate_correlation(table)
    for name in ("C00", "C59"):
        values = table.filter(pl.col(COMPOUND) == name).select(pl.col("^Cells_.*$")).to_numpy()
        pairs = [np.corrcoef(values[i], values[j])[0, 1] for i, j in combinations(range(3), 2)]
        row = found.row(by_predicate=pl.col(COMPOUND) == name, named=True)
        assert row["correlation"] == pytest.approx(np.median(pairs))
        assert row["n_wells"] == 3


def test_percent_replicating():
    assert percent_replicating(replicate_correlation(plates(effect=0.0))) < 20
    found = replicate_correlation(plates(effect=2.0))
    assert percent_replicating(found) == 100
    assert found["p_value"].min() == pytest.approx(1 / 1001)


def test_without_effect_five_percent_replicate():
    shares = [
        percent_replicating(replicate_correlation(plates(effect=0.0, seed=seed)))
        for seed in range(12)
    ]
    assert np.mean(shares) == pytest.approx(5, abs=3)


def test_the_seed_alone_decides():
    table = plates(effect=0.3)
    whole = replicate_correlation(table, seed=1)
    assert replicate_correlation(table.sample(fraction=1, shuffle=True), seed=1).equals(whole)
    assert not replicate_correlation(table, seed=2)["threshold"].equals(whole["threshold"])


def test_wells_on_one_plate_can_be_kept_apart():
    table = plates(effect=0.0).with_columns(Metadata_Plate=pl.lit("P"))
    found = replicate_correlation(table, matching=Matching(apart=("Metadata_Plate",)))
    assert found.select("correlation", "p_value", "is_replicating").null_count().row(0) == (60,) * 3
    assert np.isnan(percent_replicating(found))


def test_one_compound_has_nothing_to_compare_with():
    table = plates(effect=0.0).filter(pl.col(COMPOUND) == "C00")
    row = replicate_correlation(table).row(0, named=True)
    assert row["correlation"] is not None
    assert (row["threshold"], row["p_value"], row["is_replicating"]) == (None, None, None)


def test_flat_profiles_have_no_correlation():
    flat = plates(effect=0.0).with_columns(pl.lit(1.0).alias(f"Cells_{i}") for i in range(40))
    assert replicate_correlation(flat)["correlation"].null_count() == 60


def test_many_replicates_are_thinned_and_an_empty_table_is_empty():
    table = plates(effect=1.0)
    many = pl.concat([table] * 8).with_columns(pl.col("^Cells_.*$") + 0.001)
    assert replicate_correlation(many)["n_wells"].to_list() == [24] * 60
    assert replicate_correlation(table.clear()).height == 0


def test_fraction_retrieved():
    assert fraction_retrieved(pl.DataFrame({"q_value": [0.05, 0.06, None, 0.01]})) == 2 / 3
    nothing = pl.DataFrame({"q_value": [None]}, schema={"q_value": pl.Float64})
    assert np.isnan(fraction_retrieved(nothing))
