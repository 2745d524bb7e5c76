"""How bright a whole field is, and its background, one channel at a time."""

from collections.abc import Callable
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from profiler.measure import cpu, device
from profiler.measure.family import IMAGE, FeatureFamily, Over
from profiler.measure.image.tally import Tally, tally
from profiler.shapes import Plane


class FieldIntensity(NamedTuple):
    """Intensities of a field's pixels, in the units of the image (0 to 1 of the file's range).

    `_BackgroundOnly` are those of the pixels outside all cells; where there are none, all are 0,
    as CellProfiler's.

    Source: CellProfiler 4.2.8, MeasureImageIntensity. JUMP's pipeline names two stains'
    backgrounds with two underscores, AGP__BackgroundOnly and ER__BackgroundOnly; so do we.

    Attributes:
        TotalIntensity: Sum.
        MeanIntensity: Mean.
        MedianIntensity: Median; of an even number, the mean of the middle two.
        StdIntensity: Standard deviation, of the population.
        MADIntensity: Median distance from the median.
        MaxIntensity: Largest.
        MinIntensity: Smallest.
        TotalArea: Number of pixels.
        PercentMaximal: Share of the pixels that have the largest value, in percent.
        LowerQuartileIntensity: Quantile 1/4, by numpy's rank (n - 1) q.
        UpperQuartileIntensity: Quantile 3/4, likewise.
    """

    TotalIntensity: Any
    MeanIntensity: Any
    MedianIntensity: Any
    StdIntensity: Any
    MADIntensity: Any
    MaxIntensity: Any
    MinIntensity: Any
    TotalArea: Any
    PercentMaximal: Any
    LowerQuartileIntensity: Any
    UpperQuartileIntensity: Any


def in_field_cpu(signal: cpu.Signal) -> FieldIntensity:
    """Summarise the field in one channel, on the CPU."""
    _, found = signal.once(summary_cpu)
    return FieldIntensity(*np.array(found)[:, None])


def in_background_cpu(nuclei: Any, cells: cpu.Signal, cytoplasm: Any) -> FieldIntensity:
    """Summarise what is outside the cells in one channel, on the CPU."""
    del nuclei, cytoplasm
    pixels, _ = cells.once(summary_cpu)
    outside = pixels.without(tally(cells.values))
    return FieldIntensity(*np.array(_summary(outside))[:, None])


def summary_cpu(plane: np.ndarray) -> tuple[Tally, FieldIntensity]:
    """Count a plane's values, and summarise them, on the CPU."""
    pixels = tally(plane)
    return pixels, _summary(pixels)


def _summary(pixels: Tally) -> FieldIntensity:
    if not pixels.area:
        return FieldIntensity(*(0.0,) * len(FieldIntensity._fields))
    values, area = pixels.values, pixels.area
    mean, std = _moments(*pixels)
    lower, median, upper = (_quarter(pixels, k) for k in (1, 2, 3))
    smaller = pixels.up_to(np.nextafter(values[-1], -np.inf, dtype=np.float32))
    return FieldIntensity(
        mean * area,
        mean,
        median,
        std,
        _mad(pixels, median),
        values[-1],
        values[0],
        area,
        100 * (area - smaller) / area,
        lower,
        upper,
    )


def _quarter(pixels: Tally, k: int) -> np.floating:
    """The quantile k / 4."""
    low, part = divmod(k * (pixels.area - 1), 4)
    below, above = pixels.at(np.array([low, low + (part > 0)]))
    return below + (above - below) * np.float32(part / 4)


def _mad(pixels: Tally, median: np.floating) -> np.floating:
    """Median distance from the median."""
    middle = {(pixels.area + 1) // 2, pixels.area // 2 + 1}
    return np.mean([_reach(pixels, median, count) for count in middle], dtype=np.float32)


def _reach(pixels: Tally, median: np.floating, count: int) -> np.floating:
    """How far from the median the closest so many pixels are; they are one run of the sorted."""
    first, last = 0, pixels.area - count
    while first < last:
        at = (first + last) // 2
        below, above = pixels.at(np.array([at, at + count]))
        if median - below > above - median:
            first = at + 1
        else:
            last = at
    below, above = pixels.at(np.array([first, first + count - 1]))
    return max(median - below, above - median)


@no_type_check
@cpu.compiled()
def _moments(values, ends):
    """Mean and standard deviation."""
    above, square, area = 0.0, 0.0, 0
    for i in range(len(values)):
        more = np.float64(values[i]) - values[0]  # a constant field has a deviation of exactly 0
        above += more * (ends[i] - area)
        square += more * more * (ends[i] - area)
        area = ends[i]
    above /= area
    return values[0] + above, np.sqrt(max(square / area - above * above, 0.0))


def in_field_jax(signal: device.Signal) -> FieldIntensity:
    """Summarise the field in one channel, on an accelerator."""
    return FieldIntensity(*(value[None] for value in signal.once(summary_jax)))


def in_background_jax(nuclei: Any, cells: device.Signal, cytoplasm: Any) -> FieldIntensity:
    """Summarise what is outside the cells in one channel, on an accelerator."""
    del nuclei, cytoplasm
    found = _summary_jax(cells.plane, cells.objects.labels == 0)
    return FieldIntensity(*(value[None] for value in found))


def summary_jax(plane: Plane) -> FieldIntensity:
    """Summarise a plane, on an accelerator."""
    return _summary_jax(plane, jnp.ones(plane.shape, bool))


def _summary_jax(plane: Plane, inside: Bool[Array, "height width"]) -> FieldIntensity:
    area = inside.sum()
    ordered = jnp.sort(jnp.where(inside, plane, jnp.inf).ravel())
    lowest, highest = ordered[0], ordered[area - 1]
    # From the lowest: a constant field has a deviation of exactly 0.
    above = jnp.where(inside, plane - lowest, 0)
    mean = above.sum() / area
    variance = jnp.where(inside, (above - mean) ** 2, 0).sum() / area
    lower, median, upper = (_middle(ordered, k * (area - 1), 4) for k in (1, 2, 3))
    distance = jnp.sort(jnp.where(inside, jnp.abs(plane - median), jnp.inf).ravel())
    found = FieldIntensity(
        (lowest + mean) * area,
        lowest + mean,
        median,
        jnp.sqrt(variance),
        _middle(distance, 2 * (area - 1), 4),
        highest,
        lowest,
        area,
        100 * (inside & (plane == highest)).sum() / area,
        lower,
        upper,
    )
    return FieldIntensity(*(jnp.where(area > 0, value, 0) for value in found))


def _middle(ordered: Array, rank: Array, parts: int) -> jax.Array:
    """The value at a rank given in parts of a step between two values."""
    low, part = rank // parts, rank % parts / parts
    below, above = ordered[low], ordered[low + (part > 0)]
    return below + (above - below) * part


JUMPS_OWN = ("AGP", "ER")  # stains whose backgrounds JUMP's pipeline names otherwise


def _jumps_own(stains: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(stain for stain in stains if stain in JUMPS_OWN)


def _others(stains: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(stain for stain in stains if stain not in JUMPS_OWN)


def _background(suffix: str, choose: Callable[[tuple[str, ...]], tuple[str, ...]]) -> FeatureFamily:
    return FeatureFamily(
        "Intensity",
        Over.CELL,
        tuple(f"{name}_{{}}{suffix}" for name in FieldIntensity._fields),
        cpu=in_background_cpu,
        jax=in_background_jax,
        compartments=(IMAGE,),
        choose=choose,
        about=FieldIntensity.__doc__ or "",
    )


IMAGE_INTENSITY = (
    FeatureFamily(
        "Intensity",
        Over.CHANNEL,
        FieldIntensity._fields,
        cpu=in_field_cpu,
        jax=in_field_jax,
        compartments=(IMAGE,),
        about=FieldIntensity.__doc__ or "",
    ),
    _background("_BackgroundOnly", _others),
    _background("__BackgroundOnly", _jumps_own),
)
