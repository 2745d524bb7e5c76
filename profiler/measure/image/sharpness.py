"""How sharp a plane is: variance within squares, correlation across distances, power spectrum.

Source: CellProfiler 4.2.8, MeasureImageQuality, and what it calls in centrosome: haralick and
radial_power_spectrum. What they cannot compute is 0 there and here.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy import fft

from profiler.measure import cpu
from profiler.shapes import Plane

GREYS = 8  # levels whose correlation is measured


def focus_cpu(plane: np.ndarray, *, scale: int) -> float:
    """Variance, over median, of the relative variances of all blocks that are not black."""
    mean, variance = _block_moments(plane, *(_starts(_blocks(size, scale)) for size in plane.shape))
    relative = variance[mean != 0] / mean[mean != 0]
    middle = np.median(relative) if len(relative) else 0
    return float(np.var(relative) / middle) if middle > 0 else 0.0


def focus_jax(plane: Plane, *, scale: int) -> Array:
    """What `focus_cpu` returns, on an accelerator."""
    rows, columns = (_blocks(size, scale) for size in plane.shape)
    # Products with the blocks' rows and columns: sums without a scatter.
    of_row = jax.nn.one_hot(rows, rows[-1] + 1, axis=0)
    of_column = jax.nn.one_hot(columns, columns[-1] + 1)
    area = np.outer(np.bincount(rows), np.bincount(columns)).astype(np.float32)

    def average(values: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            return of_row @ (values @ of_column) / area

    # From the first of the block: a constant one has a variance of exactly 0.
    first = plane[_starts(rows)[:-1]][:, _starts(columns)[:-1]]
    above = plane - first[rows][:, columns]
    mean = average(above)
    variance = average((above - mean[rows][:, columns]) ** 2)
    mean = first + mean
    is_lit, count = mean != 0, (mean != 0).sum()
    relative = jnp.where(is_lit, variance / mean, 0)
    ordered = jnp.sort(jnp.where(is_lit, relative, jnp.inf).ravel())
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    away = jnp.where(is_lit, relative - relative.sum() / count, 0)
    return jnp.where((count > 0) & (middle > 0), (away**2).sum() / count / middle, 0)


def _blocks(size: int, scale: int) -> np.ndarray:
    """Block of each row or column: of as equal sizes as possible, none above the scale."""
    count = -(-size // scale)
    return (np.arange(size) * float(count) / size).astype(np.int32)


def _starts(blocks: np.ndarray) -> np.ndarray:
    """Where each block starts, and where the last ends."""
    return np.searchsorted(blocks, np.arange(blocks[-1] + 2))


@no_type_check
@cpu.compiled()
def _block_moments(plane, tops, lefts):
    """Mean and variance of every block, [2, row of blocks, column of blocks]."""
    found = np.empty((2, len(tops) - 1, len(lefts) - 1))
    for i in range(len(tops) - 1):
        first, rows = plane[tops[i]], tops[i + 1] - tops[i]
        above, square = np.zeros(plane.shape[1]), np.zeros(plane.shape[1])
        for y in range(tops[i], tops[i + 1]):
            row = plane[y]
            for x in range(plane.shape[1]):
                # From the first of the block: a constant one has a variance of exactly 0.
                more = np.float64(row[x]) - first[x]
                above[x] += more
                square[x] += more * more
        for j in range(len(lefts) - 1):
            base, area = np.float64(first[lefts[j]]), rows * (lefts[j + 1] - lefts[j])
            total = squares = 0.0
            for x in range(lefts[j], lefts[j + 1]):
                step = first[x] - base
                total += above[x] + rows * step
                squares += square[x] + 2 * step * above[x] + rows * step * step
            found[0, i, j] = base + total / area
            found[1, i, j] = max(squares / area - (total / area) ** 2, 0.0)
    return found


def correlations_cpu(plane: np.ndarray, *, scales: Sequence[int]) -> np.ndarray:
    """Correlation of each pixel's grey level with that a scale to the right, [scale]."""
    greys = _greys(plane, plane.min(), plane.max())
    return _correlations(greys, np.array(scales, np.int64))


def correlations_jax(plane: Plane, *, scales: Sequence[int]) -> list[Array]:
    """What `correlations_cpu` returns, on an accelerator."""
    low, high = plane.min(), plane.max()
    greys = jnp.minimum(jnp.floor((plane - low) / (high - low) * GREYS), GREYS - 1)

    def correlation(scale: int) -> Array:
        left, right = (_centred(part) for part in (greys[:, :-scale], greys[:, scale:]))
        found = (left * right).sum() / jnp.sqrt((left**2).sum() * (right**2).sum())
        return jnp.where(jnp.isfinite(found), found, 0)

    return [correlation(scale) for scale in scales]


def _centred(greys: Array) -> Array:
    above = greys - greys.min()  # a constant side is exactly 0
    return above - above.mean()


@no_type_check
@cpu.compiled()
def _greys(plane, low, high):
    greys = np.zeros(plane.shape, np.float32)
    span = np.float64(high - low) if high > low else 1.0
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            above = np.float64(plane[y, x] - low) / span
            greys[y, x] = min(np.floor(above * GREYS), GREYS - 1)
    return greys


@no_type_check
@cpu.compiled(fastmath=True)  # sums of small integers, in any order
def _correlations(greys, scales):
    found = np.zeros(len(scales))
    for i in range(len(scales)):
        width = greys.shape[1] - scales[i]
        n, sums = greys.shape[0] * width, np.zeros(5)
        for y in range(greys.shape[0]):
            left, right = greys[y, :width], greys[y, scales[i] :]
            a = b = aa = bb = ab = np.float32(0)
            for x in range(width):
                a += left[x]
                b += right[x]
                aa += left[x] * left[x]
                bb += right[x] * right[x]
                ab += left[x] * right[x]
            sums += np.array([a, b, aa, bb, ab], np.float64)
        of_left, of_right = n * sums[2] - sums[0] ** 2, n * sums[3] - sums[1] ** 2
        if of_left > 0 and of_right > 0:
            found[i] = (n * sums[4] - sums[0] * sums[1]) / np.sqrt(of_left * of_right)
    return found


class Rings(NamedTuple):
    """Where rings of equal spatial frequency lie in a field's spectrum.

    As in centrosome, distances from frequency 0 are counted from its own row and column and, on
    the other side, from the last ones: those are 0 steps away too.

    Attributes:
        rows: Rows of the spectrum.
        opposite: Rows of the opposite frequencies: the columns that a real field's spectrum can
            do without.
        ring: Of each row and column, and of the opposite one's; 0 outside the largest.
        radius: Of the rings that count.
    """

    rows: np.ndarray
    opposite: np.ndarray
    ring: np.ndarray
    radius: np.ndarray


@lru_cache
def _rings(height: int, width: int) -> Rings:
    """Up to an eighth of the shorter side, as border effects follow."""
    count = max(min(height, width) // 8 - 1, 0)
    rows = np.unique(np.concatenate([np.arange(count), height - 1 - np.arange(count)]))
    away = np.minimum(rows, height - 1 - rows)
    ring = np.sqrt(away[:, None] ** 2 + np.arange(count) ** 2).astype(np.int32) + 1
    return Rings(rows, -rows % height, np.where(ring > count, 0, ring), np.arange(2, count + 1))


def slope_cpu(plane: np.ndarray) -> float:
    """Slope of the logarithm of each ring's power over that of its radius."""
    rings = _rings(*plane.shape)
    if len(rings.radius) < 2 or plane.min() == plane.max():
        return 0.0
    rows = np.asarray(fft.rfft(plane - plane.mean(), axis=1))[:, : rings.radius[-1] + 1]
    power = np.abs(np.asarray(fft.fft(rows, axis=0))) ** 2
    both = power[rings.rows, :-1] + power[rings.opposite, 1:]
    summed = np.bincount(rings.ring.ravel(), both.ravel())[2:]
    x, y = np.log(rings.radius[summed > 0]), np.log(summed[summed > 0])
    x = x - x.mean()
    return x @ y / (x @ x) if len(x) > 1 else 0.0


def slope_jax(plane: Plane) -> Array:
    """What `slope_cpu` returns, on an accelerator."""
    rings = _rings(*plane.shape)
    if len(rings.radius) < 2:
        return jnp.zeros(())
    last = int(rings.radius[-1])
    power = jnp.abs(jnp.fft.rfft2(plane - plane.mean())[:, : last + 1]) ** 2
    both = power[rings.rows, :-1] + power[rings.opposite, 1:]
    summed = jax.ops.segment_sum(both.ravel(), rings.ring.ravel(), last + 1)[2:]
    is_lit = (summed > 0) & (plane.min() < plane.max())
    count = is_lit.sum()
    x = jnp.asarray(np.log(rings.radius), jnp.float32)
    x = jnp.where(is_lit, x - jnp.where(is_lit, x, 0).sum() / count, 0)
    y = jnp.where(is_lit, jnp.log(summed), 0)
    return jnp.where(count > 1, (x * y).sum() / (x * x).sum(), 0)
