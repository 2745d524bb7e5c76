"""Which of many tests remain discoveries."""

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control


def q_values(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Give the smallest false discovery rate at which each test is still a discovery.

    Args:
        p_values: One per test, NaN where none could be made; those do not count.

    Returns:
        The q-values, NaN where the p-value is.

    Source:
        Benjamini & Hochberg 1995, J R Stat Soc B 57:289, by scipy.

    >>> q_values(np.array([0.01, np.nan, 0.02, 0.9])).round(3).tolist()
    [0.03, nan, 0.03, 0.9]
    """
    made = np.isfinite(p_values)
    q = np.full(len(p_values), np.nan)
    if made.any():
        q[made] = false_discovery_control(p_values[made])
    return q
