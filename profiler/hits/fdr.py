"""False discoveries among many tests."""

import numpy as np
import polars as pl


def q_values(p_values: pl.Series) -> pl.Series:
    """Give the smallest false discovery rate at which each test is still a discovery.

    Args:
        p_values: One per test, null where none could be made; those do not count.

    Returns:
        The q-values, null where the p-value is.

    Source:
        Benjamini & Hochberg 1995, J R Stat Soc B 57:289; checked against
        scipy.stats.false_discovery_control in tests/hits/test_fdr.py.

    >>> q_values(pl.Series([0.01, None, 0.02, 0.9])).round(3).to_list()
    [0.03, None, 0.03, 0.9]
    """
    p = p_values.cast(pl.Float64).fill_nan(None).to_numpy()
    tests = np.flatnonzero(np.isfinite(p))
    order = tests[np.argsort(-p[tests], kind="stable")]
    share = p[order] * len(tests) / np.arange(len(tests), 0, -1)
    q = np.full(len(p), np.nan)
    q[order] = np.minimum.accumulate(np.minimum(share, 1.0))
    return pl.Series("q_value", q, dtype=pl.Float64, nan_to_null=True)
