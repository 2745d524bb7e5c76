"""One threshold for a plane: minimum cross-entropy, and three classes of log intensities.

Source: scikit-image, threshold_li and threshold_multiotsu, as CellProfiler 4.2.8's Threshold
calls them.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from profiler.measure.image.tally import Tally
from profiler.shapes import Plane

BINS = 128
FINEST = 0.5 / 65_536  # step that ends the search for the minimum cross-entropy
FAINT = float(np.finfo(np.float32).eps)


def cross_entropy_cpu(pixels: Tally) -> float:
    """Minimise the cross-entropy between the plane and its two means, by Li's iteration."""
    lowest, area = pixels.values[0], pixels.area
    above = (pixels.values - lowest).astype(np.float64)
    steps = np.diff(pixels.values)
    if not above[-1] > 0:
        return float(lowest)
    enough = max(float(steps[steps > 0].min()) / 2, FINEST)
    total = np.cumsum(above * np.diff(pixels.ends, prepend=0))
    guess, last = total[-1] / area, -np.inf
    while abs(guess - last) > enough:
        at = np.searchsorted(above, guess, side="right") - 1
        below = total[at] / pixels.ends[at]
        beyond = (total[-1] - total[at]) / (area - pixels.ends[at])
        last = guess
        if below > 0:  # a black background has no logarithm
            guess = (below - beyond) / (np.log(below) - np.log(beyond))
    return float(guess + lowest)


def cross_entropy_jax(plane: Plane) -> Array:
    """What `cross_entropy_cpu` returns, on an accelerator."""
    lowest = plane.min()
    above = plane - lowest
    steps = jnp.diff(jnp.sort(plane.ravel()))
    enough = jnp.maximum(jnp.where(steps > 0, steps, jnp.inf).min() / 2, FINEST)

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        is_above = above > state[0]
        count = is_above.sum()
        below = jnp.where(is_above, 0, above).sum() / (plane.size - count)
        beyond = jnp.where(is_above, above, 0).sum() / count
        better = (below - beyond) / (jnp.log(below) - jnp.log(beyond))
        return jnp.where(below > 0, better, state[0]), state[0]

    start = above.mean(), jnp.float32(-jnp.inf)
    guess, _ = lax.while_loop(lambda state: jnp.abs(state[0] - state[1]) > enough, step, start)
    return jnp.where(above.max() > 0, guess, 0) + lowest


def three_classes_cpu(pixels: Tally) -> float:
    """Lower of Otsu's two thresholds of the logarithms; NaN with fewer than 3 different ones."""
    logs = np.log(_lit(pixels.values))
    low, high = np.float64(logs[0]), np.float64(logs[-1])
    if not high > low:
        return float(np.exp(low))
    stretched = Tally((logs - low) / (high - low), pixels.ends)
    edges = np.linspace(0, 1, BINS + 1)
    at = np.searchsorted(stretched.values, edges[1:-1])
    up_to = np.concatenate([[0], pixels.ends])[at]
    counts = np.diff(np.concatenate([[0], up_to, [pixels.area]]))
    return float(np.exp(low + (high - low) * _cut(counts / pixels.area)))


def three_classes_jax(plane: Plane) -> Array:
    """What `three_classes_cpu` returns, on an accelerator."""
    logs = jnp.log(_lit(jnp.sort(plane.ravel())))
    low, high = logs[0], logs[-1]
    stretched = (logs - low) / (high - low)
    up_to = jnp.searchsorted(stretched, jnp.linspace(0, 1, BINS + 1)[1:-1])
    counts = jnp.diff(up_to, prepend=0, append=plane.size)
    found = jnp.exp(low + (high - low) * _cut(counts / plane.size))
    return jnp.where(high > low, found, jnp.exp(low))


def _lit(ordered: Any) -> Any:
    """The darkest 256th of the range is one, so that logarithms have a bottom."""
    xp = ordered.__array_namespace__()
    lit = xp.maximum(ordered, 0)
    return xp.maximum(lit, lit[0] + (lit[-1] - lit[0]) / 256 + FAINT)


def _cut(share: Any) -> Any:
    """Centre of the bin with the lower threshold, from 0 to 1, of the share of each bin."""
    xp = share.__array_namespace__()
    share = share.astype(xp.float32)
    # As scikit-image's, in float32: there the first bin weighs as much as the second, and the
    # first alone is no class.
    weight = np.maximum(np.arange(BINS), 1).astype(np.float32)
    start = xp.zeros(1, dtype=xp.float32)
    before = xp.concatenate([start, xp.cumsum(share)])
    moment = xp.concatenate([start, xp.cumsum(weight * share)])
    mass = before[None, 1:] - before[:-1, None]
    spread = (moment[None, 1:] - moment[:-1, None]) ** 2 / xp.where(mass > 0, mass, 1)
    between = xp.where(mass > 0, spread, 0)  # of the bins from row to column, both included
    lowest = xp.concatenate([start, between[0, 1:-1]])
    score = lowest[:, None] + between[1:, -1][None, :] + between[1:, :-1]
    is_cut = np.arange(BINS - 1)[:, None] < np.arange(BINS - 1)[None, :]
    best = xp.where(is_cut, score, -1).argmax() // (BINS - 1)
    kinds = (share > 0).sum()
    best = xp.where(kinds == 3, (share > 0).argmax(), best)
    return xp.where(kinds < 3, xp.nan, (best + 0.5) / BINS)
