"""False discoveries among many tests."""

import numpy as np
import polars as pl
from scipy.stats import false_discovery_control


def q_values(p_values: pl.Series | np.ndarray) -> pl.Series:
    """Give the smallest false discovery rate at which each test is still a discovery.

    Args:
        p_values: One per test, null or NaN where none could be made; those do not count.

    Returns:
        The q-values, `q_value`, null where the p-value is.

    Source:
        Benjamini & Hochberg 1995, J R Stat Soc B 57:289, by scipy; by hand in
        tests/profile/test_fdr.py.

    >>> q_values(pl.Series([0.01, None, 0.02, 0.9])).round(3).to_list()
    [0.03, None, 0.03, 0.9]
    """
    p = pl.Series("q_value", p_values, dtype=pl.Float64, nan_to_null=True).to_numpy()
    q = np.full(len(p), np.nan)
    is_made = np.isfinite(p)
    if is_made.any():
        q[is_made] = false_discovery_control(p[is_made])
    return pl.Series("q_value", q, nan_to_null=True)
