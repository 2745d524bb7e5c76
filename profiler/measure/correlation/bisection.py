"""Costes' thresholds of a field on an accelerator, by bisection.

Each step is a pass over both planes: no sums are scattered, and a field takes some 60.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from profiler.measure.correlation.thresholds import MOST_STEPS, line_slope


class _Window(NamedTuple):
    """A bisection under way, in steps of the first channel."""

    left: Any
    right: Any
    step: Any
    last: Any
    valid: Any
    count: Any


def thresholds_jax(a: Any, b: Any, *, scale_max: int) -> tuple[Any, Any]:
    """Find the thresholds of two planes; NaN where either is constant.

    Args:
        a: Of the first channel.
        b: Of the second.
        scale_max: Candidates of the first channel are 1 / scale_max apart.
    """
    is_any = (a > 0) | (b > 0)
    mean_a, mean_b, *spread = _moments_jax(a, b, is_any)
    slope = line_slope(*spread)

    # Not by division in the program, which need not round as the host does: ties would part.
    candidates = jnp.asarray(np.arange(scale_max + 2) / scale_max, jnp.float32)

    def pair_at(step: Any) -> tuple[Any, Any]:
        low = jnp.where(jnp.isnan(slope), jnp.nan, candidates[step])
        return low, mean_b + slope * (low - mean_a)

    def narrowed(window: _Window) -> _Window:
        low_a, low_b = pair_at(window.step)
        found = _correlation_jax(a, b, (a < low_a) | (b < low_b))
        left = jnp.where(found < 0, window.step - 1, window.left)
        right = jnp.where(found >= 0, window.step + 1, window.right)
        valid = jnp.where(found >= 0, window.step, window.valid)
        width = right - left
        step = left + jnp.where(width > 6, 5 * width // 6, width // 2)
        return _Window(left, right, step, window.step, valid, window.count + 1)

    def goes_on(window: _Window) -> Any:
        return (window.step != window.last) & (window.count < MOST_STEPS)

    start = _Window(*map(jnp.int32, (1, scale_max, 1 + 5 * (scale_max - 1) // 6, 0, 1, 0)))
    return pair_at(lax.while_loop(goes_on, narrowed, start).valid - 1)


def _correlation_jax(a: Any, b: Any, under: Any) -> Any:
    """Pearson's coefficient of some pixels; NaN where a channel is constant, -1 of too few."""
    _, _, var_a, var_b, cov = _moments_jax(a, b, under)
    found = cov / (jnp.sqrt(var_a) * jnp.sqrt(var_b))
    return jnp.where(under.sum() <= 2, -1, found)


def _moments_jax(a: Any, b: Any, chosen: Any) -> tuple[Any, ...]:
    """Means, variances and covariance of some pixels."""
    count = chosen.sum()
    means, centred = [], []
    for plane in (a, b):
        lowest = jnp.where(chosen, plane, jnp.inf).min()
        above = jnp.where(chosen, plane - lowest, 0)  # exactly 0 in a constant channel
        mean = _sum(above) / count
        means.append(lowest + mean)
        centred.append(jnp.where(chosen, above - mean, 0))
    da, db = centred
    return *means, *(_sum(one) / count for one in (da * da, db * db, da * db))


def _sum(plane: Any) -> Any:
    """Row by row: in one go, some back ends lose digits of a float32 sum."""
    return plane.sum(axis=-1).sum()
