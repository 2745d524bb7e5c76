"""Selecting features: as pycytominer step by step, by hand, at the edges, and what is told."""

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest

from plates.errors import BadRecipe, UnknownName
from profiler.profile import select
from profiler.profile.selection.blocklist import CELL_PAINTING
from profiler.profile.selection.select import STEPS

RANDOM = np.random.default_rng(4)
N = 150
FIVE = RANDOM.normal(size=(N, 5))
COPIES = FIVE[:, RANDOM.integers(0, 5, 25)] + RANDOM.normal(size=(N, 25)) * RANDOM.random(25)
FEATURES = [f"Cells_Test_F{i}" for i in range(36)]


def synthetic() -> pl.DataFrame:
    odd = np.column_stack(
        [
            np.full(N, 3.3),
            3.3 + RANDOM.normal(size=N) * 1e-4,
            np.where(np.arange(N) < 3, np.arange(N), 7),
            np.where(np.arange(N) % 2, 1.0, 2.0),
            RANDOM.normal(size=N) * 400,
            -FIVE[:, 0],
        ]
    )
    values = np.column_stack([FIVE, COPIES, odd])
    values[RANDOM.random(values.shape) < np.where(np.arange(36) % 6, 0.0, 0.06)] = np.nan
    return pl.DataFrame(values, schema=FEATURES, nan_to_null=True).with_columns(
        Metadata_Compound=pl.Series(RANDOM.choice(["a", "b", "c", None], N))
    )


TABLE = synthetic()
INCUMBENT = {  # our option -> theirs
    "max_missing": "na_cutoff",
    "min_variance": "min_variance",
    "min_frequency": "freq_cut",
    "min_unique": "unique_cut",
    "max_correlation": "corr_threshold",
    "method": "corr_method",
    "max_value": "outlier_cutoff",
    "max_sd": "noise_removal_stdev_cutoff",
    "by": "noise_removal_perturb_groups",
}
CASES = [
    ("drop_na_columns", {}),
    ("drop_na_columns", {"max_missing": 0.07}),
    ("variance_threshold", {}),
    ("variance_threshold", {"min_variance": 0.9}),
    ("frequency_threshold", {}),
    ("frequency_threshold", {"min_frequency": 0.0, "min_unique": 0.5}),
    ("correlation_threshold", {}),
    ("correlation_threshold", {"max_correlation": 0.5, "method": "spearman"}),
    ("drop_outliers", {}),
    ("drop_outliers", {"max_value": 3.0}),
    ("noise_removal", {"by": "Metadata_Compound", "max_sd": 1.0}),
]


def distinct(table: pl.DataFrame) -> list[str]:
    """Features without exact copies: which of these stays is up to rounding in pycytominer."""
    columns = {table[name].to_numpy().tobytes(): name for name in reversed(table.columns)}
    return [name for name in table.columns if name in set(columns.values())]


def kept_by_pycytominer(pycytominer, table, features, step, options) -> list[str]:
    theirs = {INCUMBENT[name]: value for name, value in options.items()}
    found = pycytominer.feature_select(
        table.to_pandas(), features=features, operation=step, **theirs
    )
    return [name for name in found.columns if name in set(features)]


@pytest.mark.parametrize(("step", "options"), CASES)
def test_agrees_with_pycytominer(pycytominer, step, options):
    expected = kept_by_pycytominer(pycytominer, TABLE, FEATURES, step, options)
    assert 0 < len(expected) < len(FEATURES)
    assert select(TABLE, features=FEATURES, steps={step: options}).features == expected


@pytest.mark.parametrize(("step", "options"), CASES)
def test_agrees_with_pycytominer_on_real_profiles(pycytominer, real_profiles, step, options):
    features = distinct(real_profiles.drop(cs.starts_with("Metadata_")))
    expected = kept_by_pycytominer(pycytominer, real_profiles, features, step, options)
    assert select(real_profiles, features=features, steps={step: options}).features == expected


def test_steps_in_a_row_agree_with_pycytominer(pycytominer, real_profiles):
    features = distinct(real_profiles.drop(cs.starts_with("Metadata_")))
    steps = [
        "variance_threshold",
        "frequency_threshold",
        "correlation_threshold",
        "drop_na_columns",
    ]
    steps = [*steps, "drop_outliers", "blocklist"]
    expected = kept_by_pycytominer(pycytominer, real_profiles, features, steps, {})
    assert select(real_profiles, features=features, steps=steps).features == expected


def test_the_blocklist_is_pycytominers(pycytominer):
    from pycytominer.cyto_utils.blocklist import Blocklist

    assert sorted(CELL_PAINTING) == sorted(Blocklist("default").to_list())


def test_every_drop_is_told_once_with_step_value_and_reason():
    table = pl.DataFrame(
        {
            "gone": [1.0, None, None, float("nan")],
            "flat": [2.0] * 4,
            "x": [1.0, 2.0, 4.0, 3.0],
            "y": [2.1, 4.0, 8.0, 6.0],
            "z": [1.0, -1.0, 1.0, 9.0],
        }
    )
    steps = ["drop_na_columns", "variance_threshold", "correlation_threshold"]
    found = select(table, features=table.columns, steps=steps)
    assert found.features == ["y", "z"]
    assert found.report.drop("value").rows() == [
        ("drop_na_columns", "gone", None, "75.0% of its values are missing, over 5.0%"),
        ("variance_threshold", "flat", None, "its variance is 0, not above 1e-06"),
        ("correlation_threshold", "x", "y", "it correlates 1.000 with y"),
    ]
    assert found.report["value"].to_list() == pytest.approx([0.75, 0, 1], abs=1e-3)


def test_the_sentence_of_every_step():
    table = pl.DataFrame(
        {
            "mostly": [1.0] * 30 + [2.0],
            "few": [1.0, 2.0] * 15 + [1.0],
            "huge": [*np.linspace(0, 1, 30), -900.0],
            "Nuclei_Location_Center_X": np.linspace(0, 1, 31),
            "Nuclei_Granularity_14_DNA": np.linspace(0, 1, 31),
            "Metadata_Compound": ["a", "b"] * 15 + ["a"],
        }
    )

    def why(step: str, name: str, **options) -> str:
        return select(table, features=[name], steps={step: options}).report["reason"].item()

    mostly = "its second most common value comes 1 times, the most common 30"
    assert why("frequency_threshold", "mostly") == mostly
    few = "it takes 2 values in 31 rows"
    assert why("frequency_threshold", "few", min_unique=0.1) == few
    assert why("drop_outliers", "huge") == "it reaches 900, over 500"
    listed = "it is on the list cell_painting"
    assert why("blocklist", "Nuclei_Granularity_14_DNA") == listed
    assert why("blocklist", "few", names=["few"]) == "it is on your own list"
    where = "it says where an object lies or what it is called, not how it looks"
    assert why("drop_positions", "Nuclei_Location_Center_X") == where
    noisy = "its sd between replicates is 109, over 0.8"
    assert why("noise_removal", "huge") == noisy


def test_a_pair_at_minus_one_stays_unless_signs_are_ignored():
    table = pl.DataFrame({"x": FIVE[:, 0], "y": -FIVE[:, 0], "z": FIVE[:, 1]})
    assert select(table, features=table.columns, steps=["correlation_threshold"]).features == [
        *"xyz"
    ]
    unsigned = {"correlation_threshold": {"is_signed": False}}
    assert select(table, features=table.columns, steps=unsigned).features == ["x", "z"]


def test_of_equal_features_the_first_stays():
    table = pl.DataFrame({name: FIVE[:, 0] for name in "xyz"})
    assert select(table, features=[*"xyz"], steps=["correlation_threshold"]).features == ["x"]


def test_correlation_by_fewer_rows():
    wide = pl.DataFrame({"x": np.arange(10_000.0), "y": np.arange(10_000.0) ** 1.1})
    steps = {"correlation_threshold": {"max_rows": 50}}
    assert len(select(wide, features=["x", "y"], steps=steps).features) == 1


def test_an_infinite_value_is_missing_but_an_outlier():
    table = pl.DataFrame({"x": [1.0, 2.0, 3.0, float("-inf")]})
    assert select(table, features=["x"], steps=["variance_threshold"]).features == ["x"]
    assert select(table, features=["x"], steps=["drop_na_columns"]).features == []
    assert select(table, features=["x"], steps=["drop_outliers"]).features == []


@pytest.mark.parametrize("step", STEPS)
def test_no_rows_no_features_and_nothing_but_nulls(step):
    table = TABLE if step == "noise_removal" else TABLE.drop("Metadata_Compound")
    assert select(table, features=[], steps=[step]).features == []
    select(table.clear(), features=FEATURES, steps=[step])
    nothing = table.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in FEATURES)
    left = select(nothing, features=FEATURES, steps=[step]).features
    drops = {"drop_na_columns", "variance_threshold", "frequency_threshold"}
    assert left == ([] if step in drops else FEATURES)


def test_a_constant_feature_with_gaps_does_not_vary():
    table = pl.DataFrame({"x": [3.3] * 50 + [None]})
    assert (
        select(table, features=["x"], steps={"variance_threshold": {"min_variance": 0.0}}).features
        == []
    )


def test_no_steps_keep_all():
    found = select(TABLE, features=FEATURES, steps=[])
    assert found.features == FEATURES
    assert found.report.columns == ["step", "feature", "value", "partner", "reason"]
    assert found.report.is_empty()


def test_messages():
    with pytest.raises(UnknownName, match=r"no selection step called 'variance'\. Did you mean"):
        select(TABLE, features=FEATURES, steps=["variance"])
    with pytest.raises(BadRecipe, match=r"has no option 'cutoff'\. Known: max_missing"):
        select(TABLE, features=FEATURES, steps={"drop_na_columns": {"cutoff": 1}})
    with pytest.raises(BadRecipe, match="max_missing is 5.0; it should be less than or equal to 1"):
        select(TABLE, features=FEATURES, steps={"drop_na_columns": {"max_missing": 5.0}})
    with pytest.raises(BadRecipe, match="min_variance is -1.0; it should be greater than or equal"):
        select(TABLE, features=FEATURES, steps={"variance_threshold": {"min_variance": -1.0}})
    with pytest.raises(UnknownName, match="no blocklist called 'mine'"):
        select(TABLE, features=FEATURES, steps={"blocklist": {"lists": ["mine"]}})
    with pytest.raises(UnknownName, match="no column called 'drug'"):
        select(TABLE, features=FEATURES, steps={"noise_removal": {"by": "drug"}})
