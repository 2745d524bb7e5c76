"""Harmony: batches mix, structure stays; one cluster by hand; as harmonypy where it is at hand."""

import sys

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import silhouette_score

from profiler.profile import harmony
from profiler.profile.correction.harmony import harmonise

RANDOM = np.random.default_rng(9)
N = 360
BATCH = RANDOM.integers(0, 3, N)
KIND = RANDOM.integers(0, 4, N)
SHIFT = RANDOM.normal(size=(3, 8)) * 2
VALUES = 4 * RANDOM.normal(size=(4, 8))[KIND] + SHIFT[BATCH] + RANDOM.normal(size=(N, 8)) / 2
FEATURES = [f"PC{i}" for i in range(8)]
TABLE = pl.DataFrame(VALUES, schema=FEATURES).with_columns(
    Metadata_Batch=pl.Series(BATCH).cast(pl.String)
)


def test_batches_mix_and_structure_stays():
    found = harmonise(VALUES, BATCH, n_clusters=8)
    assert silhouette_score(VALUES, BATCH) > 0.03
    assert silhouette_score(found, BATCH) < 0.01
    assert silhouette_score(found, KIND) > silhouette_score(VALUES, KIND) + 0.1
    before, after = apart(VALUES), apart(found)
    assert (after < 0.3 * before).all()


def apart(values: np.ndarray) -> np.ndarray:
    """Distance between two batches' means of each kind."""
    of_kinds = [[values[(b == BATCH) & (k == KIND)].mean(axis=0) for b in (0, 1)] for k in range(4)]
    return np.linalg.norm([a - b for a, b in of_kinds], axis=1)


def test_one_cluster_is_a_ridge_regression_on_the_batch():
    ridge = 2.0
    design = np.column_stack([np.ones(N), np.eye(3)[BATCH]])
    penalty = np.diag([0, ridge, ridge, ridge])
    weights = np.linalg.solve(design.T @ design + penalty, design.T @ VALUES)
    expected = VALUES - design[:, 1:] @ weights[1:]
    found = harmonise(VALUES, BATCH, n_clusters=1, ridge=ridge)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_seed_alone_decides():
    first = harmonise(VALUES, BATCH, n_clusters=6, seed=1)
    np.random.seed(5)  # what others draw must not matter
    np.testing.assert_array_equal(harmonise(VALUES, BATCH, n_clusters=6, seed=1), first)


def test_one_batch_hardly_moves():
    found = harmonise(VALUES, np.zeros(N, dtype=int), n_clusters=4)
    assert np.abs(found - VALUES).max() < 1.0
    assert np.corrcoef(found.ravel(), VALUES.ravel())[0, 1] > 0.99


def test_agrees_with_harmonypy(monkeypatch):
    harmonypy = pytest.importorskip("harmonypy")
    pandas = pytest.importorskip("pandas")
    module = sys.modules["profiler.profile.correction.harmony"]  # not the function of that name
    monkeypatch.setattr(module, "BLOCK", 1.0)  # one block, so that its order does not matter
    names = pandas.DataFrame({"batch": [f"b{i}" for i in BATCH]})
    theirs = harmonypy.run_harmony(
        VALUES, names, ["batch"], theta=2.0, nclust=5, block_size=1.0, verbose=False
    )
    np.testing.assert_allclose(harmonise(VALUES, BATCH, n_clusters=5), theirs.Z_corr.T, atol=1e-9)


def test_a_table_keeps_its_names_and_order():
    found = harmony(TABLE, features=FEATURES, within="Metadata_Batch", n_clusters=4)
    assert found.table.columns == TABLE.columns
    assert found.lost.is_empty()
    order = {name: i for i, name in enumerate(TABLE["Metadata_Batch"].unique(maintain_order=True))}
    batches = np.array([order[name] for name in TABLE["Metadata_Batch"]])
    expected = harmonise(VALUES, batches, n_clusters=4)
    np.testing.assert_allclose(found.table.select(FEATURES).to_numpy(), expected)


def test_what_cannot_take_part_is_null_and_told():
    first = pl.int_range(pl.len()) == 0
    table = TABLE.with_columns(
        pl.when(first).then(None).otherwise("PC1").alias("PC1"), Cells_Flat=pl.lit(1.0)
    )
    found = harmony(table, features=[*FEATURES, "Cells_Flat"], within="Metadata_Batch")
    assert found.lost.rows() == [
        (None, "Cells_Flat", "no_spread", N),
        (None, "PC1", "incomplete", 1),
    ]
    assert found.table["PC2"].is_null().arg_true().to_list() == [0]


def test_few_rows_and_none():
    assert harmony(TABLE[:3], features=FEATURES, within="Metadata_Batch").lost.is_empty()
    assert harmony(TABLE.clear(), features=FEATURES, within="Metadata_Batch").table.is_empty()
