"""Correlations: as numpy and pandas, in blocks, pair by pair where values are missing."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from plates.errors import UnknownName
from profiler.profile.selection import correlate
from profiler.profile.selection.correlate import correlations, spearman

RANDOM = np.random.default_rng(3)
NAMES = [f"x{i}" for i in range(7)]
VALUES = RANDOM.normal(size=(90, 7)) @ RANDOM.normal(size=(7, 7)) + 1000
HAS_GAP = (RANDOM.random(VALUES.shape) < 0.2) & np.isin(np.arange(7), [1, 3, 4])
GAPS = np.where(HAS_GAP, np.nan, VALUES)


def table(values: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(values, schema=NAMES[: values.shape[1]], nan_to_null=True)


@pytest.mark.parametrize("rows_per_block", [7, 90, 1000])
def test_pearson_agrees_with_numpy(monkeypatch, rows_per_block):
    monkeypatch.setattr(correlate, "BLOCK", 7 * rows_per_block)
    found = correlations(table(VALUES), features=NAMES)
    np.testing.assert_allclose(found, np.corrcoef(VALUES, rowvar=False), atol=1e-12)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("values", [VALUES, GAPS], ids=["complete", "with gaps"])
def test_agrees_with_pandas(method, values):
    pandas = pytest.importorskip("pandas")
    expected = pandas.DataFrame(values).corr(method=method).to_numpy()
    found = correlations(table(values), features=NAMES, method=method)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_spearman_agrees_with_scipy():
    np.testing.assert_allclose(spearman(VALUES), spearmanr(VALUES).statistic, atol=1e-12)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_what_does_not_vary_has_no_correlation(method):
    values = np.column_stack([VALUES[:, :2], np.full(90, 0.1), np.full(90, np.nan)])
    found = correlations(table(values), features=NAMES[:4], method=method)
    assert np.isfinite(found).tolist() == [[True, True, False, False]] * 2 + [[False] * 4] * 2


def test_infinite_values_are_missing():
    values = VALUES[:, :2].copy()
    values[0, 0] = np.inf
    found = correlations(table(values), features=NAMES[:2])
    assert found[0, 1] == pytest.approx(np.corrcoef(values[1:], rowvar=False)[0, 1])


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_no_rows_and_no_features(method):
    assert np.isnan(correlations(table(VALUES).clear(), features=NAMES, method=method)).all()
    assert correlations(table(VALUES), features=[], method=method).shape == (0, 0)


def test_unknown_method():
    with pytest.raises(UnknownName, match=r"no correlation called 'pearsn'\. Did you mean"):
        correlations(table(VALUES), features=NAMES, method="pearsn")
