"""How a threshold would divide a field, and how well: CellProfiler's thresholding diagnostics."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from plates.errors import BadRecipe, lookup
from profiler.measure import cpu, device
from profiler.measure.family import IMAGE, FeatureFamily, Over
from profiler.measure.image.cuts import (
    cross_entropy_cpu,
    cross_entropy_jax,
    three_classes_cpu,
    three_classes_jax,
)
from profiler.measure.image.intensity import summary_cpu
from profiler.measure.image.tally import Tally
from profiler.shapes import Plane

BINS = 256
DIM = 2.0**-8  # noise of the entropies, and the darkest that they tell apart
REACH = 4  # standard deviations of a Gaussian that are summed, as scipy's


class FieldThreshold(NamedTuple):
    """Thresholds that JUMP's pipeline would segment with, and what they leave; no labels needed.

    `_NucleiIncludingEdges` is the minimum cross-entropy, held within 0.005 to 1 and applied to the
    image blurred by 0.74 pixels; `_CellsIncludingEdges` the lower of Otsu's three classes of
    logarithms, times 0.7, held within 0.005 to 0.06. JUMP's nuclei are found after a background
    is subtracted, which is not done here. NaN where cells' logarithms are of two values only.

    Source: CellProfiler 4.2.8, Threshold; JUMP_analysis_v3 of broadinstitute/imaging-platform-
    pipelines.

    Attributes:
        FinalThreshold: The threshold, in the units of the image.
        OrigThreshold: Before it is multiplied and held.
        SumOfEntropies: Sum over fore- and background of p log2 p of the share of their pixels in
            256 bins of log intensity, with CellProfiler's fixed noise of 2^-8; 0 for a constant
            field and without either.
        WeightedVariance: Variance of log2 intensity within fore- and background, those below a
            256th of the largest lifted to that; 0 for a constant field.
    """

    FinalThreshold: Any
    OrigThreshold: Any
    SumOfEntropies: Any
    WeightedVariance: Any


@dataclass(frozen=True)
class Method:
    """How a threshold is found and applied.

    Attributes:
        cpu: Finds it in a tally.
        jax: Finds it in a plane.
        correction: Factor on what is found.
        lowest: Of the product.
        highest: Likewise.
        sigma_px: Of the Gaussian that the image is blurred with before it is applied; 0 for none.
    """

    cpu: Callable[[Tally], float]
    jax: Callable[[Plane], Array]
    correction: float
    lowest: float
    highest: float
    sigma_px: float


# CellProfiler's smoothing scale of 1 holds half of the weight of this Gaussian.
NUCLEI = Method(cross_entropy_cpu, cross_entropy_jax, 1.0, 0.005, 1.0, sigma_px=0.5 / 0.6744)
CELLS = Method(three_classes_cpu, three_classes_jax, 0.7, 0.005, 0.06, sigma_px=0.0)


@dataclass(frozen=True)
class ThresholdCpu:
    """Thresholds a field, on the CPU.

    Attributes:
        method: How.
    """

    method: Method

    def __call__(self, signal: cpu.Signal) -> FieldThreshold:
        """Find the threshold, and judge it."""
        method, (pixels, _) = self.method, signal.once(summary_cpu)
        plane = np.ascontiguousarray(signal.plane)
        original = method.cpu(pixels)
        final = np.clip(original * method.correction, method.lowest, method.highest)
        is_bright = _blurred(plane, method.sigma_px) >= final
        judged = (np.nan, np.nan) if np.isnan(final) else _judged(plane, is_bright)
        return FieldThreshold(*np.array([final, original, *judged])[:, None])


def _blurred(plane: np.ndarray, sigma_px: float) -> np.ndarray:
    if not sigma_px:
        return plane
    return _filtered(plane, _gaussian(sigma_px).astype(np.float32)) / _inside(plane.shape, sigma_px)


@no_type_check
@cpu.compiled()
def _filtered(plane, weights):
    """Sums weighted along both axes; outside the image is black."""
    height, width = plane.shape
    reach = len(weights) // 2
    found = np.empty(plane.shape, np.float32)
    for y in range(height):
        row, beside = np.zeros(width + 2 * reach, np.float32), found[y]
        beside[:] = 0
        for v in range(max(y - reach, 0), min(y + reach + 1, height)):
            weight, line = weights[v - y + reach], plane[v]
            for x in range(width):
                row[x + reach] += weight * line[x]
        for step in range(len(weights)):
            for x in range(width):
                beside[x] += weights[step] * row[x + step]
    return found


@lru_cache(maxsize=4)
def _inside(shape: tuple[int, ...], sigma_px: float) -> np.ndarray:
    """How much of the Gaussian around each pixel is in the image, [height, width] float32."""
    weights = _gaussian(sigma_px)
    rows, columns = (np.convolve(np.ones(size), weights, "same") for size in shape)
    return np.outer(rows, columns).astype(np.float32)


def _gaussian(sigma_px: float) -> np.ndarray:
    reach = int(REACH * sigma_px + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    return weights / weights.sum()


@lru_cache(maxsize=4)
def _noise(shape: tuple[int, ...]) -> np.ndarray:
    """The noise that CellProfiler adds to every image of a shape, float32."""
    return np.random.RandomState(0).normal(size=shape).astype(np.float32)


def _judged(plane: np.ndarray, is_bright: np.ndarray) -> tuple[float, float]:
    """Sum of entropies and weighted variance, on the CPU."""
    lowest = plane.max() / np.float32(BINS)
    if not lowest > 0 or plane.min() == plane.max():
        return 0.0, 0.0  # all alike: rounding would decide what is bright
    logs = np.log(np.maximum(plane, lowest))
    dim = max(lowest, np.float32(DIM))
    more = np.log(np.clip(plane, dim, 1) + np.float32(DIM))
    entropies = _entropies(logs, more, np.log(dim), _noise(plane.shape), is_bright)
    return entropies, _variance_within(logs, is_bright) / np.log(2) ** 2


@no_type_check
@cpu.compiled()
def _variance_within(values, is_bright):
    """Of both sides, by the sums over all and over the bright one."""
    first, bright = values[0, 0], 0
    above = square = bright_above = bright_square = 0.0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            more, share = np.float64(values[y, x] - first), int(is_bright[y, x])
            above += more
            square += more * more
            bright += share
            bright_above += share * more
            bright_square += share * more * more
    dark, above, square = values.size - bright, above - bright_above, square - bright_square
    spread = max(square - above * above / max(dark, 1), 0.0)
    spread += max(bright_square - bright_above * bright_above / max(bright, 1), 0.0)
    return spread / values.size


@no_type_check
@cpu.compiled()
def _entropies(logs, more, lowest, noise, is_bright):
    low, high = np.inf, -np.inf
    noisy = np.empty(logs.shape, np.float32)
    for y in range(logs.shape[0]):
        for x in range(logs.shape[1]):
            lit = min(max(logs[y, x], lowest), np.float32(0))
            value = min(lit + (more[y, x] - lit) * noise[y, x], np.float32(0))
            low, high = min(low, value), max(high, value)
            noisy[y, x] = value
    if low == high:
        return np.log2(logs.size)
    counts, scale = np.zeros((2, BINS)), BINS / (high - low)
    for y in range(logs.shape[0]):
        for x in range(logs.shape[1]):
            at = min(int((noisy[y, x] - low) * scale), BINS - 1)
            counts[int(is_bright[y, x]), at] += 1
    total = 0.0
    for side in range(2):
        area = counts[side].sum()
        if area == 0:
            return 0.0
        for count in counts[side]:
            if count > 0:
                total += count / area * np.log2(count / area)
    return total


@dataclass(frozen=True)
class ThresholdJax:
    """Thresholds a field, on an accelerator.

    Attributes:
        method: How.
    """

    method: Method

    def __call__(self, signal: device.Signal) -> FieldThreshold:
        """Find the threshold, and judge it."""
        method, plane = self.method, signal.plane
        original = method.jax(plane)
        final = jnp.clip(original * method.correction, method.lowest, method.highest)
        is_bright = _blurred_jax(plane, method.sigma_px) >= final
        entropies, variance = (
            jnp.where(jnp.isnan(final), jnp.nan, value) for value in _judged_jax(plane, is_bright)
        )
        return FieldThreshold(*(jnp.reshape(v, 1) for v in (final, original, entropies, variance)))


def _blurred_jax(plane: Plane, sigma_px: float) -> Plane:
    if not sigma_px:
        return plane
    weights = _gaussian(sigma_px).tolist()
    reach, blurred = len(weights) // 2, plane
    for axis, size in enumerate(plane.shape):
        padded = jnp.pad(blurred, [(reach, reach) if i == axis else (0, 0) for i in range(2)])
        parts = [padded.take(jnp.arange(size) + i, axis) * w for i, w in enumerate(weights)]
        blurred = jnp.stack(parts).sum(axis=0)
    return blurred / _inside(plane.shape, sigma_px)


def _judged_jax(plane: Plane, is_bright: Bool[Array, "height width"]) -> tuple[Array, Array]:
    lowest = plane.max() / BINS
    sides = (is_bright, ~is_bright)
    logs = jnp.log2(jnp.maximum(plane, lowest))
    variance = jnp.stack([_spread(logs, side) for side in sides]).sum() / plane.size
    lit = jnp.clip(plane, jnp.maximum(lowest, DIM), 1)
    logs = jnp.log(lit)
    noisy = jnp.minimum(logs + (jnp.log(lit + DIM) - logs) * _noise(plane.shape), 0)
    edges = noisy.min() + (noisy.max() - noisy.min()) * jnp.arange(1, BINS) / BINS
    entropies = jnp.stack([_entropy(noisy, side, edges) for side in sides]).sum()
    entropies = jnp.where(is_bright.any() & ~is_bright.all(), entropies, 0)
    is_varied = (lowest > 0) & (plane.min() < plane.max())
    return jnp.where(is_varied, entropies, 0), jnp.where(is_varied, variance, 0)


def _spread(values: Array, inside: Array) -> Array:
    """Sum of squared distances from the mean."""
    above = jnp.where(inside, values - values[0, 0], 0)
    mean = above.sum() / jnp.maximum(inside.sum(), 1)
    return jnp.where(inside, (above - mean) ** 2, 0).sum()


def _entropy(values: Array, inside: Array, edges: Array) -> Array:
    ordered = jnp.sort(jnp.where(inside, values, jnp.inf).ravel())
    area = inside.sum()
    count = jnp.diff(jnp.searchsorted(ordered, edges), prepend=0, append=area)
    share = count / area
    return jnp.where(count > 0, share * jnp.log2(share), 0).sum()


@dataclass(frozen=True)
class Stain:
    """The one channel that is thresholded.

    Attributes:
        name: Its stain.
        is_needed: Whether a recipe without it is an error, or just has none of these columns.
    """

    name: str
    is_needed: bool

    def __call__(self, stains: tuple[str, ...]) -> tuple[str, ...]:
        """Choose it among the measured ones."""
        if self.is_needed:
            lookup(dict.fromkeys(stains), kind="measured channel to threshold", name=self.name)
        return (self.name,) if self.name in stains else ()


def threshold(*, nuclei: Any = None, cells: Any = None) -> tuple[FeatureFamily, ...]:
    """Threshold the stain of the nuclei and that of the cells, as JUMP's pipeline does.

    Args:
        nuclei: Stain of the nuclei; by default DNA, where that is measured.
        cells: Stain of the cells; by default RNA, where that is measured.

    Raises:
        BadRecipe: A stain that is not text.
        UnknownName: From the plan, a stain that is given and not measured.
    """
    return (
        _family("NucleiIncludingEdges", NUCLEI, _stain(nuclei, "DNA")),
        _family("CellsIncludingEdges", CELLS, _stain(cells, "RNA")),
    )


def _stain(given: Any, usual: str) -> Stain:
    if given is not None and not isinstance(given, str):
        raise BadRecipe(f"Threshold found {given!r}; expected a stain, as nuclei = 'DNA'.")
    return Stain(given or usual, is_needed=given is not None)


def _family(name: str, method: Method, stain: Stain) -> FeatureFamily:
    return FeatureFamily(
        "Threshold",
        Over.CHANNEL,
        # The braces take the stain and show none of it: there is one such column.
        tuple(f"{feature}_{name}{{:.0}}" for feature in FieldThreshold._fields),
        cpu=ThresholdCpu(method),
        jax=ThresholdJax(method),
        compartments=(IMAGE,),
        needs_px=2,
        choose=stain,
        about=FieldThreshold.__doc__ or "",
    )
