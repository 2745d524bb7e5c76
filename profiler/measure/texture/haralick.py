"""How rough each object is: Haralick's features of pairs of pixels, one channel at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from plates.errors import BadRecipe
from profiler.measure import cpu, device
from profiler.measure.family import COMPARTMENTS, IMAGE, FeatureFamily, Over
from profiler.measure.texture.cooccurrence import pairs_cpu
from profiler.measure.texture.pairs import DIRECTIONS, LEVELS, Pairs, pairs_jax


class Haralick(NamedTuple):
    """Features of how often grey levels meet, by scale and direction.

    Intensities from 0 to 1 are rounded to the levels 0 to 255; where fewer are wanted, those are
    scaled and rounded down. Two pixels of an object form a pair if they lie `scale` steps apart:
    in a row (direction 00), down to the right (01), in a column (02) or down to the left (03).
    Both orders of a pair count. Pixels of level 0 form no pairs in objects, but do in the Image.

    NaN, in all directions of a scale, where an object has no pair in one of them: it is smaller
    than the scale, or black. CellProfiler arrives at the same, and writes 0 instead.

    Source: Haralick et al. 1973, doi:10.1109/TSMC.1973.4309314; CellProfiler 4.2.8,
    MeasureTexture, and mahotas, its `haralick`.

    Attributes:
        AngularSecondMoment: Sum of squared probabilities of pairs of levels; 1 if uniform.
        Contrast: Mean square of the difference of a pair's levels.
        Correlation: Pearson's, of the levels of pairs; 1 if all are one level.
        Variance: Of the level.
        InverseDifferenceMoment: Mean of 1 / (1 + squared difference).
        SumAverage: Mean of the sum of a pair's levels.
        SumVariance: Variance of that sum.
        SumEntropy: Entropy of that sum, in bits.
        Entropy: Entropy of pairs of levels, in bits.
        DifferenceVariance: Variance of the probabilities of the differences from 0 to the
            object's highest level.
        DifferenceEntropy: Entropy of the difference, in bits.
        InfoMeas1: What one level tells about the other, as a part of its entropy, with a minus:
            0 if nothing, -1 if all; 0 too if all are one level.
        InfoMeas2: Root of 1 - exp(-2 x what one level tells about the other, in bits).
    """

    AngularSecondMoment: Any
    Contrast: Any
    Correlation: Any
    Variance: Any
    InverseDifferenceMoment: Any
    SumAverage: Any
    SumVariance: Any
    SumEntropy: Any
    Entropy: Any
    DifferenceVariance: Any
    DifferenceEntropy: Any
    InfoMeas1: Any
    InfoMeas2: Any


def haralick(pairs: Pairs) -> Haralick:
    """Derive the features; on the CPU or traced."""
    xp = pairs.number.__array_namespace__()
    # Where one of these divisors is 0, so is what it divides.
    variance = xp.where(pairs.variance > 0, pairs.variance, 1)
    entropy = xp.where(pairs.entropy_of_level > 0, pairs.entropy_of_level, 1)
    return Haralick(
        AngularSecondMoment=pairs.concentration,
        Contrast=pairs.contrast,
        Correlation=1 - pairs.contrast / (2 * variance),
        Variance=pairs.variance,
        InverseDifferenceMoment=pairs.homogeneity,
        SumAverage=2 * pairs.mean,
        SumVariance=4 * pairs.variance - pairs.contrast,
        SumEntropy=pairs.entropy_of_sum,
        Entropy=pairs.entropy,
        DifferenceVariance=pairs.spread_of_difference,
        DifferenceEntropy=pairs.entropy_of_difference,
        InfoMeas1=-pairs.shared_entropy / entropy,
        InfoMeas2=xp.sqrt(xp.clip(-xp.expm1(-2 * pairs.shared_entropy), 0, 1)),
    )


@dataclass(frozen=True)
class Options:
    """How to count.

    Attributes:
        scales: Distances in pixels.
        levels: Grey levels, at most `LEVELS`.
        skips_zeros: Whether pixels of level 0 form no pairs.
    """

    scales: tuple[int, ...]
    levels: int
    skips_zeros: bool


@dataclass(frozen=True)
class OnCpu:
    """The CPU's kernel; equal options make equal kernels."""

    options: Options

    def __call__(self, signal: cpu.Signal) -> Any:
        """Measure every object, [feature, cell]."""
        grey = signal.once(grey_cpu, levels=self.options.levels)
        scales, skips_zeros = self.options.scales, self.options.skips_zeros
        return _columns(pairs_cpu(grey, signal.objects, scales=scales, skips_zeros=skips_zeros))


@dataclass(frozen=True)
class OnDevice:
    """The accelerator's kernel."""

    options: Options

    def __call__(self, signal: device.Signal) -> Any:
        """Measure every object, [feature, cell]."""
        grey = signal.once(grey_jax, levels=self.options.levels)
        scales, skips_zeros = self.options.scales, self.options.skips_zeros
        return _columns(pairs_jax(grey, signal.objects, scales=scales, skips_zeros=skips_zeros))


def _columns(pairs: Pairs) -> Any:
    """Lay out the features of [scale, direction, cell] pairs as [feature, cell]."""
    xp = pairs.number.__array_namespace__()
    is_complete = (pairs.number > 0).all(axis=1)[:, None, None]
    features = xp.where(is_complete, xp.stack(haralick(pairs), axis=2), xp.nan)
    return features.reshape(-1, features.shape[-1])


def grey_jax(plane: Float[Array, "height width"], *, levels: int) -> Int[Array, "height width"]:
    """Give each pixel its grey level, on an accelerator."""
    finest = jnp.rint(plane * (LEVELS - 1))
    finest = jnp.where(finest > 0, jnp.minimum(finest, LEVELS - 1), 0)  # 0, too, what is NaN
    return jnp.asarray(_coarser(levels), jnp.int32)[finest.astype(jnp.int32)]


def grey_cpu(plane: np.ndarray, *, levels: int) -> np.ndarray:
    """Give each pixel its grey level, [height, width] uint8, on the CPU."""
    finest = _finest(np.ascontiguousarray(plane).ravel()).reshape(plane.shape)
    return finest if levels == LEVELS else _coarser(levels)[finest]


@no_type_check
@cpu.compiled()
def _finest(values):
    found = np.empty(len(values), np.uint8)
    highest = np.float32(LEVELS - 1)
    for i in range(len(values)):
        level = np.rint(values[i] * highest)
        found[i] = np.uint8(np.int32(min(level, highest) if level > 0 else np.float32(0)))
    return found


def _coarser(levels: int) -> np.ndarray:
    """CellProfiler's level for each of the finest."""
    finest = np.arange(LEVELS)
    if levels < LEVELS:
        finest = finest / (LEVELS - 1) * (levels - 1)
    return finest.astype(np.uint8)


def texture(
    *, scales: Any = (3, 5, 10), levels: Any = LEVELS
) -> tuple[FeatureFamily, FeatureFamily]:
    """Make the families of objects and of the Image.

    Args:
        scales: Distances between the pixels of a pair, in pixels.
        levels: Grey levels, 2 to 256.

    Raises:
        BadRecipe: Scales that are not different whole numbers from 1, or levels out of range.
    """
    is_list = isinstance(scales, Sequence) and len(scales) > 0
    if not is_list or not all(_is_whole(scale) and scale >= 1 for scale in scales):
        raise BadRecipe(
            f"Texture's scales are {scales!r}; expected a list of distances in pixels, whole "
            "numbers from 1."
        )
    if len(set(scales)) < len(scales):
        raise BadRecipe(f"Texture's scales are {scales!r}; expected each of them once.")
    if not _is_whole(levels) or not 2 <= levels <= LEVELS:
        raise BadRecipe(
            f"Texture's levels are {levels!r}; expected a whole number from 2 to {LEVELS}."
        )
    of_objects = Options(tuple(scales), levels, skips_zeros=True)
    of_image = Options(tuple(scales), levels, skips_zeros=False)
    return _family(of_objects, COMPARTMENTS), _family(of_image, (IMAGE,))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _family(options: Options, compartments: tuple[str, ...]) -> FeatureFamily:
    return FeatureFamily(
        "Texture",
        Over.CHANNEL,
        tuple(
            f"{feature}_{{}}_{scale}_{way:02d}_{options.levels}"
            for scale in options.scales
            for way in range(len(DIRECTIONS))
            for feature in Haralick._fields
        ),
        cpu=OnCpu(options),
        jax=OnDevice(options),
        compartments=compartments,
        needs_px=max(options.scales) + 1,
        about=Haralick.__doc__ or "",
    )
