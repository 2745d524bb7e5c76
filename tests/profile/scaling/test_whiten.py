"""Whitening: covariance is the identity, as pycytominer, at the edges."""

import numpy as np
import polars as pl
import pytest
from scipy.linalg import fractional_matrix_power

from plates.errors import BadRecipe, UnknownName
from profiler.profile import is_role, normalise, spherize
from profiler.profile.scaling.whiten import EPSILON, VARIANTS, fit_whitening

RANDOM = np.random.default_rng(2)
FEATURES = [f"Cells_Test_F{i}" for i in range(5)]
NEGATIVE = is_role("negative")


def wells(n: int, features: list[str] = FEATURES) -> pl.DataFrame:
    mixed = RANDOM.normal(size=(n, len(features))) @ RANDOM.normal(size=(len(features),) * 2) + 5
    return pl.DataFrame(mixed, schema=features).with_columns(
        Metadata_Plate=pl.lit("P"),
        Metadata_Role=pl.Series(np.where(np.arange(n) % 4, "negative", "treatment")),
    )


def white(table: pl.DataFrame, variant: str, *, epsilon: float) -> np.ndarray:
    controls = table.filter(NEGATIVE).select(FEATURES).to_numpy()
    fit = fit_whitening(controls, variant=variant, epsilon=epsilon)
    return fit(table.select(FEATURES).to_numpy())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_reference_is_white(variant):
    table = wells(60)
    found = white(table, variant, epsilon=0.0)[table.select(NEGATIVE).to_series()]
    np.testing.assert_allclose(np.cov(found, rowvar=False), np.eye(5), atol=1e-10)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tables_are_whitened_as_matrices(variant):
    table = wells(60)
    found = spherize(table, features=FEATURES, reference=NEGATIVE, variant=variant)
    values = found.table.select(found.features).to_numpy()
    np.testing.assert_allclose(values, white(table, variant, epsilon=EPSILON), rtol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n", [60, 6], ids=["many wells", "as many controls as features, less one"])
@pytest.mark.parametrize("epsilon", [1e-6, 0.5])
def test_agrees_with_pycytominer(pycytominer, variant, n, epsilon):
    table = wells(n)
    theirs = pycytominer.normalize(
        table.to_pandas(),
        features=FEATURES,
        samples="Metadata_Role == 'negative'",
        method="spherize",
        spherize_method=variant,
        spherize_epsilon=epsilon,
    )
    ours = white(table, variant, epsilon=epsilon)
    k = ours.shape[1]  # theirs go on in directions without spread
    found = theirs.drop(columns=["Metadata_Plate", "Metadata_Role"]).to_numpy()[:, :k]
    if not VARIANTS[variant].is_turned_back:  # the sign of an axis is free
        ours, found = np.abs(ours), np.abs(found)
    np.testing.assert_allclose(ours, found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variant", ["PCA", "ZCA"])
def test_uncentred_agrees_with_pycytominer(pycytominer, variant):
    table = wells(40)
    theirs = pycytominer.normalize(
        table.to_pandas(),
        features=FEATURES,
        method="spherize",
        spherize_method=variant,
        spherize_center=False,
    ).drop(columns=["Metadata_Plate", "Metadata_Role"])
    values = table.select(FEATURES).to_numpy()
    ours = fit_whitening(values, variant=variant, is_centred=False)(values)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs.to_numpy()), rtol=1e-9)


@pytest.mark.parametrize("n", [4, 60], ids=["fewer wells than features", "more"])
def test_a_ridge_is_added_to_the_covariance(n):
    values = RANDOM.normal(size=(n, 5)) @ RANDOM.normal(size=(5, 5))
    found = fit_whitening(values, variant="ZCA", epsilon=0.0, ridge=0.7)
    covariance = np.cov(values, rowvar=False) + 0.7 * np.eye(5)
    expected = fractional_matrix_power(covariance, -0.5)
    np.testing.assert_allclose(found.matrix, expected, atol=1e-9)


def test_zca_cor_stays_nearest_to_the_standardised_features():
    table = wells(200)
    kept = {}
    for variant in ("ZCA-cor", "PCA-cor"):
        z, x = white(table, variant, epsilon=0.0), table.select(FEATURES).to_numpy()
        kept[variant] = np.trace(np.corrcoef(x, z, rowvar=False)[:5, 5:])
    assert kept["ZCA-cor"] > kept["PCA-cor"]


def test_scale_of_a_feature_does_not_matter_to_cor_variants():
    table = wells(50)
    scaled = table.with_columns(pl.col(FEATURES[0]) * 1e4 - 7)
    expected = white(table, "ZCA-cor", epsilon=0.0)
    np.testing.assert_allclose(white(scaled, "ZCA-cor", epsilon=0.0), expected, rtol=1e-6)


def test_components_are_named_and_replace_the_features():
    found = spherize(wells(20), features=FEATURES, reference=NEGATIVE, variant="PCA")
    assert found.features == ["PC1", "PC2", "PC3", "PC4", "PC5"]
    assert found.table.columns == ["Metadata_Plate", "Metadata_Role", *found.features]


def test_a_feature_that_follows_from_others_is_no_error():
    table = wells(40).with_columns(Cells_Sum=pl.col(FEATURES[0]) + pl.col(FEATURES[1]))
    features = [*FEATURES, "Cells_Sum"]
    found = spherize(table, features=features, reference=NEGATIVE, variant="ZCA")
    values = found.table.filter(NEGATIVE).select(features).to_numpy()
    spread = np.linalg.eigvalsh(np.cov(values, rowvar=False))
    np.testing.assert_allclose(spread, [0, 1, 1, 1, 1, 1], atol=1e-5)
    components = spherize(table, features=features, reference=NEGATIVE, variant="PCA").features
    assert len(components) == 5


def test_what_cannot_take_part_is_null_and_told():
    table = wells(24).with_columns(
        pl.lit(1.0).alias("Cells_Flat"),
        pl.when(NEGATIVE).then(None).otherwise(1.0).alias("Cells_Absent"),
        pl.when(pl.int_range(24) == 3).then(None).otherwise(FEATURES[0]).alias(FEATURES[0]),
        pl.when(pl.int_range(24) == 4).then(float("inf")).otherwise(FEATURES[1]).alias(FEATURES[1]),
    )
    features = [*FEATURES, "Cells_Flat", "Cells_Absent"]
    found = spherize(table, features=features, reference=NEGATIVE)
    assert found.lost.rows() == [
        ("P", "Cells_Absent", "no_reference", 6),
        ("P", "Cells_Flat", "no_spread", 24),
        ("P", FEATURES[0], "incomplete", 1),
        ("P", FEATURES[1], "infinite", 1),
    ]
    values = found.table.select(FEATURES)
    assert values.select(
        pl.all_horizontal(pl.all().is_null())
    ).to_series().arg_true().to_list() == [3, 4]
    assert values.null_count().row(0) == (2,) * 5
    assert found.table["Cells_Flat"].null_count() == 24


@pytest.mark.parametrize("n_controls", [0, 1])
def test_without_two_controls_there_is_nothing(n_controls):
    table = wells(8).with_columns(
        Metadata_Role=pl.Series(["negative"] * n_controls + ["treatment"] * (8 - n_controls))
    )
    found = spherize(table, features=FEATURES, reference=NEGATIVE)
    assert found.table.select(FEATURES).null_count().row(0) == (8,) * 5
    assert set(found.lost["reason"]) == {"no_spread" if n_controls else "no_reference"}


def test_an_empty_table():
    assert spherize(wells(4).clear(), features=FEATURES).table.is_empty()


def test_plates_with_fewer_components_have_null_in_the_rest():
    table = pl.concat([wells(24), wells(4).with_columns(Metadata_Plate=pl.lit("Q"))])
    found = spherize(table, features=FEATURES, reference=NEGATIVE, variant="PCA")
    assert found.table.filter(Metadata_Plate="Q")["PC2"].null_count() == 0
    assert found.table.filter(Metadata_Plate="Q")["PC3"].null_count() == 4


def test_normalise_passes_its_options():
    table = wells(30)
    options = {"variant": "ZCA", "ridge": 0.1}
    found = normalise(table, features=FEATURES, method="spherize", options=options)
    expected = spherize(table, features=FEATURES, **options)
    assert found.table.equals(expected.table)


def test_messages():
    with pytest.raises(
        UnknownName, match=r"no whitening called 'ZCA-corr'\. Did you mean 'ZCA-cor'"
    ):
        spherize(wells(9), features=FEATURES, variant="ZCA-corr")
    with pytest.raises(BadRecipe, match="PCA-cor whitens correlations, so is_centred must be true"):
        fit_whitening(np.eye(3), variant="PCA-cor", is_centred=False)
