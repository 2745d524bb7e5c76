"""Taking a covariate out: as scikit-learn, by hand, at the edges."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from plates.errors import UnknownName
from profiler.profile import is_role, regress_out

RANDOM = np.random.default_rng(7)
N = 40
FEATURES = ["Cells_X_Y", "Cells_X_Z"]
COUNT = "Metadata_Object_Count"
TABLE = pl.DataFrame(
    {
        "Metadata_Plate": ["P", "Q"] * (N // 2),
        "Metadata_Role": ["negative"] * 12 + ["treatment"] * (N - 12),
        COUNT: RANDOM.integers(50, 500, N),
        "Metadata_Time": RANDOM.normal(size=N),
    }
).with_columns(
    Cells_X_Y=3 + 0.01 * pl.col(COUNT) + pl.Series(RANDOM.normal(size=N)),
    Cells_X_Z=5 - 0.02 * pl.col(COUNT) + pl.Series(RANDOM.normal(size=N)),
)
NEGATIVE = is_role("negative")


@pytest.mark.parametrize("covariates", [[COUNT], [COUNT, "Metadata_Time"]])
@pytest.mark.parametrize("reference", [pl.lit(value=True), NEGATIVE], ids=["all", "controls"])
def test_agrees_with_scikit_learn(covariates, reference):
    found = regress_out(TABLE, features=FEATURES, reference=reference, covariates=covariates)
    for plate in ("P", "Q"):
        rows = TABLE.filter(Metadata_Plate=plate)
        fit_on = rows.filter(reference)
        x, y = fit_on.select(covariates).to_numpy(), fit_on.select(FEATURES).to_numpy()
        model = LinearRegression().fit(x, y)
        residual = rows.select(FEATURES).to_numpy() - model.predict(
            rows.select(covariates).to_numpy()
        )
        expected = residual + model.predict(x.mean(axis=0, keepdims=True))
        ours = found.table.filter(Metadata_Plate=plate).select(FEATURES).to_numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-9)
        slopes = found.effects.filter(Metadata_Plate=plate)["slope"]
        np.testing.assert_allclose(slopes, model.coef_.ravel(), rtol=1e-9)


def test_nothing_is_left_of_the_count():
    table = regress_out(TABLE, features=FEATURES).table.filter(Metadata_Plate="P")
    assert np.corrcoef(table[COUNT], table["Cells_X_Y"])[0, 1] == pytest.approx(0, abs=1e-9)
    before = TABLE.filter(Metadata_Plate="P")["Cells_X_Y"].mean()
    assert table["Cells_X_Y"].mean() == pytest.approx(before)


def test_missing_and_infinite_values():
    table = TABLE.filter(Metadata_Plate="P").with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise(COUNT).alias(COUNT),
        pl.when(pl.int_range(pl.len()) == 1).then(None).otherwise("Cells_X_Y").alias("Cells_X_Y"),
        pl.when(pl.int_range(pl.len()) == 2)
        .then(float("inf"))
        .otherwise("Cells_X_Z")
        .alias("Cells_X_Z"),
    )
    found = regress_out(table, features=FEATURES)
    assert found.table["Cells_X_Y"].is_null().arg_true().to_list() == [0, 1]
    assert found.table["Cells_X_Z"].is_null().arg_true().to_list() == [0, 2]
    assert found.lost.rows() == [
        ("P", "Cells_X_Y", "incomplete", 1),
        ("P", "Cells_X_Z", "incomplete", 1),
        ("P", "Cells_X_Z", "infinite", 1),
    ]


def test_a_count_that_does_not_vary_cannot_be_taken_out():
    found = regress_out(TABLE.with_columns(pl.lit(100).alias(COUNT)), features=FEATURES)
    assert found.table["Cells_X_Y"].null_count() == N
    assert found.lost["reason"].unique().to_list() == ["no_spread"]
    assert found.effects["slope"].null_count() == 4


def test_covariates_that_follow_from_one_another():
    twice = TABLE.with_columns(double=2 * pl.col(COUNT))
    found = regress_out(twice, features=FEATURES, covariates=[COUNT, "double"])
    assert found.lost["reason"].unique().to_list() == ["no_spread"]


@pytest.mark.parametrize("n_controls", [0, 1, 2])
def test_too_few_controls(n_controls):
    role = pl.Series(["negative"] * n_controls + ["treatment"] * (20 - n_controls))
    table = TABLE.filter(Metadata_Plate="P").with_columns(Metadata_Role=role)
    found = regress_out(table, features=FEATURES, reference=NEGATIVE)
    assert found.lost.rows() == [("P", name, "no_reference", 20) for name in FEATURES]


def test_an_empty_table():
    assert regress_out(TABLE.clear(), features=FEATURES).effects.is_empty()


def test_unknown_covariate():
    with pytest.raises(UnknownName, match=r"no column called 'Metadata_Tim'\. Did you mean"):
        regress_out(TABLE, features=FEATURES, covariates=["Metadata_Tim"])
