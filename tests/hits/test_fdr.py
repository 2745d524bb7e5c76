"""q-values: against scipy, with gaps."""

import numpy as np
import polars as pl
from scipy import stats

from profiler.hits.fdr import q_values


def test_against_scipy():
    p = np.random.default_rng(0).random(200) ** 3
    np.testing.assert_allclose(q_values(pl.Series(p)), stats.false_discovery_control(p))


def test_tests_that_could_not_be_made_do_not_count():
    p = pl.Series([0.04, None, 0.01, float("nan")])
    assert q_values(p).to_list() == [0.04, None, 0.02, None]
    assert q_values(pl.Series([None, None], dtype=pl.Float64)).to_list() == [None, None]
    assert q_values(pl.Series([], dtype=pl.Float64)).len() == 0
