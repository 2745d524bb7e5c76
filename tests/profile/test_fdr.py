"""q-values: by the definition, and with gaps."""

import numpy as np
import polars as pl

from profiler.profile.fdr import q_values

NO_FLOATS = pl.Series([], dtype=pl.Float64)


def test_by_the_definition():
    p = np.random.default_rng(0).random(50) ** 3
    # The least share of false discoveries of all thresholds at or above a p-value.
    by_hand = [min(50 * t / (p <= t).sum() for t in p if t >= x) for x in p]
    np.testing.assert_allclose(q_values(p), by_hand)
    assert q_values(pl.Series("p", p)).equals(q_values(p), check_names=True)


def test_tests_that_could_not_be_made_do_not_count():
    assert q_values(pl.Series([0.04, None, 0.01, float("nan")])).to_list() == [
        0.04,
        None,
        0.02,
        None,
    ]
    assert q_values(np.array([0.04, np.nan, 0.01])).to_list() == [0.04, None, 0.02]
    assert q_values(pl.Series([None, None])).to_list() == [None, None]
    assert q_values(NO_FLOATS).equals(NO_FLOATS)
