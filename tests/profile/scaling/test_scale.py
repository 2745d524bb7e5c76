"""Scaling one feature at a time: as pycytominer, by hand, at the edges."""

import numpy as np
import polars as pl
import pytest

from plates.errors import BadRecipe, UnknownName
from profiler.profile import is_role, normalise
from profiler.profile.scaling import scale
from profiler.profile.scaling.normalise import METHODS
from profiler.profile.scaling.scale import mean, median, quantiles

RANDOM = np.random.default_rng(1)
N = 240
FEATURES = [f"Cells_Test_F{i}" for i in range(6)]
VALUES = RANDOM.normal(10, 2, (N, len(FEATURES))) ** 3
VALUES[RANDOM.random(VALUES.shape) < 0.05] = np.nan
VALUES[:, 5] = np.round(VALUES[:, 5] / 500)  # many ties
TABLE = pl.DataFrame(VALUES, schema=FEATURES, nan_to_null=True).with_columns(
    Metadata_Plate=pl.Series(np.arange(N) // (N // 2)).cast(pl.String),
    Metadata_Role=pl.Series(np.where(np.arange(N) % 3, "treatment", "negative")),
)
NEGATIVE = is_role("negative")
SCALES = ["standardize", "robustize", "mad_robustize", "inverse_normal"]


def of_one(values: list, method: str, reference: pl.Expr | None = None) -> list:
    table = pl.DataFrame({"x": values}, strict=False)
    options = {} if reference is None else {"reference": reference}
    found = normalise(table, features=["x"], method=method, within=(), **options)
    return found.table["x"].to_list()


@pytest.mark.parametrize("method", SCALES)
@pytest.mark.parametrize("role", ["negative", None])
def test_agrees_with_pycytominer(pycytominer, method, role):
    theirs = pycytominer.normalize(
        TABLE.to_pandas(),
        features=FEATURES,
        method=method,
        samples="all" if role is None else f"Metadata_Role == '{role}'",
    )[FEATURES]
    reference = pl.lit(value=True) if role is None else is_role(role)
    ours = normalise(TABLE, features=FEATURES, method=method, reference=reference, within=())
    np.testing.assert_allclose(ours.table.select(FEATURES).to_numpy(), theirs, rtol=1e-9, atol=1e-9)
    assert ours.lost.is_empty()


@pytest.mark.parametrize("method", SCALES)
def test_agrees_with_pycytominer_on_real_profiles(pycytominer, real_profiles, method):
    features = [name for name in real_profiles.columns if not name.startswith("Metadata_")]
    one = real_profiles.filter(Metadata_Plate=real_profiles["Metadata_Plate"][0])
    dmso = pl.col("Metadata_Compound") == "DMSO"
    ours = normalise(one, features=features, method=method, reference=dmso)
    known = [name for name in features if name not in set(ours.lost["feature"])]
    theirs = pycytominer.normalize(
        one.to_pandas(),
        features=known,
        method=method,
        samples="Metadata_Compound == 'DMSO'",
    )[known]
    np.testing.assert_allclose(ours.table.select(known).to_numpy(), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_plates_are_apart(method):
    whole = normalise(TABLE.drop_nulls(), features=FEATURES, method=method, reference=NEGATIVE)
    one = TABLE.drop_nulls().filter(Metadata_Plate="1")
    alone = normalise(one, features=FEATURES, method=method, reference=NEGATIVE)
    inside = whole.table.filter(Metadata_Plate="1").select(FEATURES).to_numpy()
    np.testing.assert_allclose(inside, alone.table.select(FEATURES).to_numpy(), rtol=1e-9)


def test_groups_may_have_several_columns_and_lie_mixed():
    table = pl.DataFrame(
        {
            "batch": ["a", "a", "b", "b"] * 2,
            "plate": ["P", "Q"] * 4,
            "x": [1.0, 5, 9, 13] + [3.0] * 4,
        }
    )
    found = normalise(table, features=["x"], method="standardize", within=("batch", "plate"))
    assert found.table["x"].to_list() == [-1, 1, 1, 1, 1, -1, -1, -1]


def test_by_hand():
    assert of_one([1, 2, 3, 4, 5], "standardize")[0] == pytest.approx(-np.sqrt(2))
    assert of_one([1, 2, 3, 4, 5], "robustize") == [-1, -0.5, 0, 0.5, 1]
    assert of_one([1, 2, 3, 4, 9], "mad_robustize")[-1] == pytest.approx(6 / 1.4826)
    ranks = of_one([10, 20, 30, 40, 50], "inverse_normal")
    assert ranks[1:4] == pytest.approx([-0.67449, 0, 0.67449], abs=1e-5)
    assert ranks[0] == -ranks[-1] == pytest.approx(-5.2, abs=0.01)


def test_ranks_of_ties_agree_with_pycytominer(pycytominer):
    table = pl.DataFrame(RANDOM.normal(size=(90, 40)).round(1), schema=[f"x{i}" for i in range(40)])
    table = table.with_columns(pl.when(pl.int_range(90) > 3).then(f"x{i}") for i in range(9))
    theirs = pycytominer.normalize(
        table.with_columns(Metadata_A=pl.int_range(90) % 6).to_pandas(),
        features=table.columns,
        method="inverse_normal",
        samples="Metadata_A == 0",
    )[table.columns]
    reference = pl.int_range(90) % 6 == 0
    options = {"method": "inverse_normal", "reference": reference, "within": ()}
    ours = normalise(table, features=table.columns, **options).table
    np.testing.assert_allclose(ours.to_numpy(), theirs, rtol=1e-9, atol=1e-9)


def test_ranks_do_not_depend_on_the_unit():
    values = RANDOM.lognormal(size=50)
    expected = of_one(values.tolist(), "inverse_normal")
    assert of_one((values * 1e-9).tolist(), "inverse_normal") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", SCALES)
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([7.0] * 4, "no_spread"),
        ([7.0, 7.0 + 1e-9, 7.0, 7.0 - 1e-9], "no_spread"),
        ([1.0, None, None, None], "no_spread"),
    ],
)
def test_what_does_not_vary_is_null_and_told(method, values, reason):
    table = pl.DataFrame({"x": values})
    found = normalise(table, features=["x"], method=method, within=())
    n = table["x"].count()
    assert found.table["x"].null_count() == 4
    assert found.lost.rows() == [("x", reason, n)]


@pytest.mark.parametrize("method", SCALES)
def test_no_reference_and_infinite_values_are_told(method):
    table = pl.DataFrame({"plate": ["P"] * 4 + ["Q"], "x": [1.0, 2.0, 4.0, float("inf"), 1.0]})
    found = normalise(
        table, features=["x"], method=method, reference=pl.col("plate") == "P", within="plate"
    )
    assert found.table["x"].is_null().to_list() == [False] * 3 + [True] * 2
    assert found.lost.rows() == [("P", "x", "infinite", 1), ("Q", "x", "no_reference", 1)]


def test_an_empty_plate():
    found = normalise(TABLE.clear(), features=FEATURES)
    assert found.table.is_empty()
    assert found.lost.columns == ["Metadata_Plate", "feature", "reason", "wells"]
    assert found.lost.is_empty()


def test_float32_stays_and_counts_become_float64():
    table = pl.DataFrame({"x": [1.0, 2.0, 4.0], "n": [1, 2, 4]}, schema_overrides={"x": pl.Float32})
    found = normalise(table, features=["x", "n"], within=()).table
    assert found.dtypes == [pl.Float32, pl.Float64]
    np.testing.assert_allclose(found["x"], found["n"], rtol=1e-6)


def test_a_null_plate_is_a_plate():
    table = pl.DataFrame({"Metadata_Plate": ["P", None] * 3, "x": [1.0, 10, 2, 20, 4, 40]})
    found = normalise(table, features=["x"]).table["x"]
    assert found[1::2].to_list() == pytest.approx(found[::2].to_list())


@pytest.mark.parametrize("n", [1, 2, 3, 10, 11])
@pytest.mark.parametrize("gaps", [0.0, 0.3], ids=["complete", "with gaps"])
def test_summaries_agree_with_numpy(n, gaps):
    values = RANDOM.normal(size=(4, 5, n))
    values[RANDOM.random(values.shape) < gaps] = np.nan
    values[..., 0] = 1.0  # numpy warns of rows without a value
    np.testing.assert_allclose(median(values), np.nanmedian(values, axis=-1), rtol=1e-12)
    np.testing.assert_allclose(mean(values), np.nanmean(values, axis=-1), rtol=1e-12)
    shares = [0.0, 0.1, 0.5, 0.75, 1.0]
    expected = np.nanquantile(values, shares, axis=-1)
    np.testing.assert_array_equal(quantiles(values, shares=shares), expected)


@pytest.mark.parametrize("n", [0, 3])
def test_summaries_of_nothing_are_nan(n):
    nothing = np.full((2, n), np.nan)
    assert np.isnan(median(nothing)).tolist() == [True, True]
    assert np.isnan(mean(nothing)).tolist() == [True, True]


@pytest.mark.parametrize("method", SCALES)
def test_blocks_of_columns_do_not_matter(monkeypatch, method):
    expected = normalise(TABLE, features=FEATURES, method=method, reference=NEGATIVE)
    monkeypatch.setattr(scale, "BLOCK", 2 * N)
    found = normalise(TABLE, features=FEATURES, method=method, reference=NEGATIVE)
    assert found.table.equals(expected.table)


def test_messages():
    with pytest.raises(UnknownName, match="no normalisation called 'zscore'"):
        normalise(TABLE, features=FEATURES, method="zscore")
    with pytest.raises(UnknownName, match=r"no column called 'Metadata_Plat'\. Did you mean"):
        normalise(TABLE, features=FEATURES, within="Metadata_Plat")
    with pytest.raises(BadRecipe, match=r"robustize has no option 'epsilon'\. Known: none"):
        normalise(TABLE, features=FEATURES, method="robustize", options={"epsilon": 1})
    with pytest.raises(BadRecipe, match=r"spherize has no option 'rigde'\. Did you mean 'ridge'"):
        normalise(TABLE, features=FEATURES, method="spherize", options={"rigde": 1})
