"""Counting values: as numpy, and bounds that hold whatever falls into one bucket."""

import numpy as np
import pytest

from profiler.profile.selection.counts import count_bounds, value_counts

RANDOM = np.random.default_rng(12)


def kinds(n: int) -> dict[str, np.ndarray]:
    return {
        "continuous": RANDOM.normal(size=n),
        "whole numbers": RANDOM.integers(-5, 5, n).astype(float),
        "zeros of both signs": RANDOM.choice([0.0, -0.0, 1.0], n),
        "with gaps": np.where(RANDOM.random(n) < 0.5, np.nan, RANDOM.normal(size=n).round(1)),
        "missing": np.full(n, np.nan),
        "infinite": RANDOM.choice([np.inf, -np.inf, 1.0], n),
        "float32": RANDOM.normal(size=n).astype(np.float32).astype(float),
    }


@pytest.mark.parametrize("n", [0, 1, 2, 50, 3000])
@pytest.mark.parametrize("kind", kinds(0))
def test_counts_and_their_bounds(kind, n):
    values = kinds(n)[kind]
    expected = np.unique(values[~np.isnan(values)], return_counts=True)[1]
    assert value_counts(values).tolist() == expected.tolist()
    most, different = count_bounds(values)
    assert most >= expected.max(initial=0)
    assert different <= len(expected)


def test_the_bounds_of_continuous_values_are_close():
    most, different = count_bounds(RANDOM.normal(size=100_000))
    assert most <= 12
    assert different > 50_000
