"""Batches brought together: as scipy's matrix powers, on simulated batches, at the edges."""

import numpy as np
import polars as pl
import pytest
from scipy.linalg import fractional_matrix_power

from profiler.profile import coral, is_role, tvn

RANDOM = np.random.default_rng(8)
FEATURES = [f"Cells_Test_F{i}" for i in range(4)]
NEGATIVE = is_role("negative")


def batches(n: int = 60) -> pl.DataFrame:
    """Two batches that differ in mean and covariance, alike in what a treatment does."""
    tables = []
    for batch in ("a", "b"):
        values = RANDOM.normal(size=(n, 4))
        role = np.where(np.arange(n) % 3, "negative", "treatment")
        values[role == "treatment", 0] += 6
        mixed = values @ (np.eye(4) + 0.3 * RANDOM.normal(size=(4, 4))) + 3 * RANDOM.normal(size=4)
        table = pl.DataFrame(mixed, schema=FEATURES)
        keys = {"Metadata_Batch": pl.lit(batch), "Metadata_Role": pl.Series(role)}
        tables.append(table.with_columns(**keys))
    return pl.concat(tables)


def values(table: pl.DataFrame, features: list[str], **rows) -> np.ndarray:
    return table.filter(**rows).select(features).to_numpy()


def test_coral_agrees_with_its_definition():
    table, ridge = batches(), 0.5
    found = coral(
        table, features=FEATURES, reference=NEGATIVE, within="Metadata_Batch", ridge=ridge
    )
    controls = values(table, FEATURES, Metadata_Role="negative")
    target = np.cov(controls, rowvar=False) + ridge * np.eye(4)
    for batch in ("a", "b"):
        own = values(table, FEATURES, Metadata_Role="negative", Metadata_Batch=batch)
        source = np.cov(own, rowvar=False) + ridge * np.eye(4)
        x = values(table, FEATURES, Metadata_Batch=batch) - own.mean(axis=0)
        whitened = x @ fractional_matrix_power(source, -0.5)
        expected = whitened @ fractional_matrix_power(target, 0.5) + controls.mean(axis=0)
        ours = values(found.table, FEATURES, Metadata_Batch=batch)
        np.testing.assert_allclose(ours, expected, rtol=1e-8)


def test_without_a_ridge_the_controls_of_batches_are_alike():
    found = coral(
        batches(), features=FEATURES, reference=NEGATIVE, within="Metadata_Batch", ridge=0.0
    ).table
    a, b = (
        values(found, FEATURES, Metadata_Role="negative", Metadata_Batch=batch) for batch in "ab"
    )
    np.testing.assert_allclose(a.mean(axis=0), b.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(np.cov(a, rowvar=False), np.cov(b, rowvar=False), atol=1e-9)


def test_one_batch_stays_as_it_is():
    table = batches().filter(Metadata_Batch="a")
    found = coral(table, features=FEATURES, reference=NEGATIVE, within="Metadata_Batch").table
    np.testing.assert_allclose(values(found, FEATURES), values(table, FEATURES), atol=1e-9)


def test_tvn_whitens_the_controls_and_brings_treatments_together():
    table = batches(300)
    options = {"features": FEATURES, "reference": NEGATIVE, "within": "Metadata_Batch"}
    found = tvn(table, **options, ridge=0.0)
    assert found.features == FEATURES
    treated = {"Metadata_Role": "treatment"}

    def apart(profiles: pl.DataFrame, features: list[str]) -> float:
        """Distance between batches of the treated, by that of treated and controls."""
        a, b = (values(profiles, features, **treated, Metadata_Batch=x).mean(axis=0) for x in "ab")
        control = values(profiles, features, Metadata_Role="negative").mean(axis=0)
        return np.linalg.norm(a - b) / np.linalg.norm((a + b) / 2 - control)

    controls = values(found.table, found.features, Metadata_Role="negative", Metadata_Batch="a")
    np.testing.assert_allclose(np.cov(controls, rowvar=False), np.eye(4), atol=0.05)
    assert apart(found.table, found.features) < 0.6 * apart(table, FEATURES)


def test_a_batch_without_controls_is_null_and_told():
    table = batches(30).filter(~(NEGATIVE & (pl.col("Metadata_Batch") == "b")))
    for correct in (coral, tvn):
        found = correct(table, features=FEATURES, reference=NEGATIVE, within="Metadata_Batch")
        at_b = found.table.filter(Metadata_Batch="b").select(found.features)
        assert at_b.null_count().row(0) == (10,) * 4
        assert found.lost.rows() == [("b", name, "no_reference", 10) for name in found.features]


def test_what_cannot_take_part_is_told_of_the_whole_table():
    table = batches(30).with_columns(Cells_Flat=pl.lit(1.0))
    for correct in (coral, tvn):
        found = correct(
            table, features=[*FEATURES, "Cells_Flat"], reference=NEGATIVE, within="Metadata_Batch"
        )
        assert found.lost.rows() == [(None, "Cells_Flat", "no_spread", 60)]


@pytest.mark.parametrize("correct", [coral, tvn])
def test_an_empty_table_and_one_without_controls(correct):
    options = {"features": FEATURES, "reference": NEGATIVE, "within": "Metadata_Batch"}
    assert correct(batches(30).clear(), **options).table.is_empty()
    found = correct(batches(30).filter(~NEGATIVE), **options)
    assert set(found.lost["reason"]) == {"no_reference"}
