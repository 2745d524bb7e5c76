"""Consensus profiles: as pycytominer, by hand, at the edges."""

import numpy as np
import polars as pl
import pytest

from plates.errors import UnknownName
from profiler.profile import consensus
from profiler.profile.consensus import modz

RANDOM = np.random.default_rng(10)
FEATURES = [f"Cells_Test_F{i}" for i in range(30)]
KEYS = ["Metadata_Compound", "Metadata_Concentration"]
SIGNAL = RANDOM.normal(size=(4, 30))
OWNER = np.r_[np.repeat(np.arange(3), [5, 2, 7]), 3]
TABLE = pl.DataFrame(
    SIGNAL[OWNER] + RANDOM.normal(size=(15, 30)) / 2, schema=FEATURES
).with_columns(
    Metadata_Compound=pl.Series(np.array(["b", "a", "c", "d"])[OWNER]),
    Metadata_Concentration=pl.Series(OWNER * 1.5),
)


@pytest.mark.parametrize("how", ["median", "mean", "modz"])
def test_agrees_with_pycytominer(pycytominer, how):
    theirs = pycytominer.consensus(
        TABLE.to_pandas(), replicate_columns=KEYS, operation=how, features=FEATURES
    ).sort_values(KEYS)
    ours = consensus(TABLE, features=FEATURES, by=KEYS, how=how)
    assert ours["Metadata_Compound"].to_list() == list("abcd")
    assert ours["Metadata_Replicate_Count"].to_list() == [2, 5, 7, 1]
    np.testing.assert_allclose(ours.select(FEATURES), theirs[FEATURES], rtol=1e-9)


@pytest.mark.parametrize("how", ["median", "mean", "modz"])
def test_agrees_with_pycytominer_on_real_profiles(pycytominer, real_profiles, how):
    features = [name for name in real_profiles.columns if not name.startswith("Metadata_")][::4]
    theirs = pycytominer.consensus(
        real_profiles.to_pandas(), replicate_columns=KEYS, operation=how, features=features
    ).sort_values(KEYS)
    ours = consensus(real_profiles, features=features, by=KEYS, how=how)
    np.testing.assert_allclose(ours.select(features), theirs[features], rtol=1e-9, atol=1e-12)


def test_a_replicate_that_disagrees_weighs_less():
    good = np.arange(20.0)
    replicates = np.stack([good, good + RANDOM.normal(size=20) / 9, good[::-1]])
    np.testing.assert_allclose(modz(replicates), good, atol=0.5)


def test_two_replicates_are_averaged():
    np.testing.assert_allclose(modz(np.array([[1.0, 2, 4], [3.0, 4, 5]])), [2, 3, 4.5])


def test_a_missing_value_is_not_zero():
    replicates = np.array([[1.0, 2, 3, 10], [1.0, 2, 3, np.nan], [1.0, 2, 3, np.nan]])
    found = modz(replicates)
    np.testing.assert_allclose(found[3] / found[2], 10 / 3)


def test_replicates_without_a_correlation():
    flat = np.full(4, 5.0)
    slope = np.arange(4.0)
    np.testing.assert_allclose(modz(np.stack([slope, slope, flat])), slope)
    np.testing.assert_allclose(modz(np.stack([flat, flat + 2])), flat + 1)


@pytest.mark.parametrize("how", ["median", "modz"])
def test_null_keys_and_missing_features(how):
    table = TABLE.with_columns(
        pl.when(pl.col("Metadata_Compound") != "a").then("Metadata_Compound").alias(KEYS[0]),
        pl.lit(None, dtype=pl.Float64).alias(FEATURES[0]),
        pl.when(pl.int_range(15) == 0).then(float("inf")).otherwise(FEATURES[1]).alias(FEATURES[1]),
    )
    found = consensus(table, features=FEATURES, by="Metadata_Compound", how=how)
    assert found["Metadata_Compound"].to_list() == [None, "b", "c", "d"]
    assert found[FEATURES[0]].null_count() == 4
    assert found[FEATURES[1]].is_finite().all()


@pytest.mark.parametrize("how", ["median", "modz"])
def test_replicates_without_a_profile_are_not_counted(how):
    of_a = pl.col("Metadata_Compound") == "a"  # two wells, one of which has failed
    failed = of_a & (of_a.cum_sum() == 1)
    table = TABLE.with_columns(pl.when(~failed).then(name).alias(name) for name in FEATURES)
    found = consensus(table, features=FEATURES, by=KEYS, how=how)
    assert found["Metadata_Replicate_Count"].to_list() == [1, 5, 7, 1]
    left = table.filter(of_a & ~failed)
    np.testing.assert_allclose(found[:1].select(FEATURES), left.select(FEATURES))


def test_a_treatment_is_compound_dose_unit_and_role_by_default():
    roles = ["negative"] * 5 + ["treatment"] * 10
    table = TABLE.with_columns(Metadata_Role=pl.Series(roles), Metadata_Unit=pl.lit("uM"))
    found = consensus(table, features=FEATURES)
    assert found.columns[:5] == [
        *KEYS,
        "Metadata_Unit",
        "Metadata_Role",
        "Metadata_Replicate_Count",
    ]
    assert found.select(KEYS[0], "Metadata_Role").rows() == [
        ("a", "treatment"), ("b", "negative"), ("c", "treatment"), ("d", "treatment")
    ]  # fmt: skip
    assert consensus(TABLE, features=FEATURES).columns[:3] == [*KEYS, "Metadata_Replicate_Count"]


@pytest.mark.parametrize("how", ["median", "modz"])
def test_no_wells(how):
    assert consensus(TABLE.clear(), features=FEATURES, by=KEYS, how=how).is_empty()


def test_messages():
    with pytest.raises(UnknownName, match=r"no consensus called 'mods'\. Did you mean 'modz'"):
        consensus(TABLE, features=FEATURES, by=KEYS, how="mods")
    with pytest.raises(UnknownName, match="no column called 'Compound'"):
        consensus(TABLE, features=FEATURES, by="Compound")
