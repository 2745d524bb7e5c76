"""How bright each object is, one channel at a time."""

from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np

from profiler.measure import cpu, device
from profiler.measure.family import FeatureFamily, Over
from profiler.measure.quantile import quantile


class Intensity(NamedTuple):
    """Intensities of an object's pixels, in the units of the image (0 to 1 of the file's range).

    Edge pixels are those with one of their 4 neighbours inside the image in another object or
    the background; an object that fills the image has none, and its edge features are NaN.

    Source: CellProfiler 4.2.8, MeasureObjectIntensity.

    Attributes:
        IntegratedIntensity: Sum.
        MeanIntensity: Mean.
        StdIntensity: Standard deviation, of the population.
        MinIntensity: Smallest.
        MaxIntensity: Largest.
        IntegratedIntensityEdge: Sum over edge pixels.
        MeanIntensityEdge: Mean over edge pixels.
        StdIntensityEdge: Standard deviation over edge pixels.
        MinIntensityEdge: Smallest of the edge pixels.
        MaxIntensityEdge: Largest of the edge pixels.
        MassDisplacement: Pixels from the centre of the object to its intensity-weighted centre;
            NaN where all of it is 0.
        LowerQuartileIntensity: Quantile 1/4, by CellProfiler's rank n q.
        MedianIntensity: Quantile 1/2, likewise.
        MADIntensity: Quantile 1/2 of the distance from the median, likewise.
        UpperQuartileIntensity: Quantile 3/4, likewise.
    """

    IntegratedIntensity: Any
    MeanIntensity: Any
    StdIntensity: Any
    MinIntensity: Any
    MaxIntensity: Any
    IntegratedIntensityEdge: Any
    MeanIntensityEdge: Any
    StdIntensityEdge: Any
    MinIntensityEdge: Any
    MaxIntensityEdge: Any
    MassDisplacement: Any
    LowerQuartileIntensity: Any
    MedianIntensity: Any
    MADIntensity: Any
    UpperQuartileIntensity: Any


def intensity_jax(signal: device.Signal) -> Intensity:
    """Summarise the pixels of every object in one channel, on an accelerator."""
    objects, values = signal.objects, signal.values
    deviation = jnp.abs(values - objects.spread(signal.quantile(0.5)))
    edge = objects._replace(
        owner=jnp.where(objects.is_edge, objects.owner, len(objects.offsets) - 1)
    )
    features = (
        *_moments(objects, values),
        *_moments(edge, values),
        jnp.hypot(*signal.shift),
        signal.quantile(0.25),
        signal.quantile(0.5),
        quantile(objects.ordered(deviation), objects.offsets, 0.5),
        signal.quantile(0.75),
    )
    return Intensity._make(features)


def _moments(objects: device.Objects, values: jax.Array) -> tuple[jax.Array, ...]:
    area = objects.total(jnp.ones_like(values))
    lowest = objects.lowest(values)
    # From the lowest: a constant object has a spread of exactly 0.
    above = values - objects.spread(lowest)
    mean = objects.total(above) / area
    variance = objects.total((above - objects.spread(mean)) ** 2) / area
    total = (lowest + mean) * area
    return total, lowest + mean, jnp.sqrt(variance), lowest, -objects.lowest(-values)


def intensity_cpu(signal: cpu.Signal) -> Intensity:
    """Summarise the pixels of every object in one channel, on the CPU."""
    objects = signal.objects
    edge = objects.is_edge
    edge_offsets = np.concatenate([[0], np.cumsum(edge)])[objects.offsets]
    features = (
        *_summarise(signal.values, objects.offsets),
        *_summarise(signal.values[edge], edge_offsets),
        np.hypot(*signal.shift),
        signal.quantile(0.25),
        signal.quantile(0.5),
        _mad(signal.ordered, objects.offsets, signal.quantile(0.5)),
        signal.quantile(0.75),
    )
    return Intensity._make(features)


@no_type_check
@cpu.compiled()
def _summarise(values, offsets):
    """Sum, mean, standard deviation, minimum and maximum of each object."""
    found = np.empty((5, len(offsets) - 1))
    for cell in range(len(offsets) - 1):
        start, area = offsets[cell], offsets[cell + 1] - offsets[cell]
        low, high, above, square = np.inf, -np.inf, 0.0, 0.0
        for i in range(start, start + area):
            low, high = min(low, values[i]), max(high, values[i])
        for i in range(start, start + area):
            above += values[i] - low  # a constant object has a deviation of exactly 0
        mean = above / area if area else np.nan
        for i in range(start, start + area):
            square += (values[i] - low - mean) ** 2
        found[0, cell], found[1, cell] = above + low * area, low + mean
        found[2, cell] = np.sqrt(square / area) if area else np.nan
        found[3, cell], found[4, cell] = low, high
    return found


@no_type_check
@cpu.compiled()
def _mad(ordered, offsets, medians):
    """Median distance from the median, by walking outwards from it: no second sort."""
    found = np.full(len(medians), np.nan)
    for cell in range(len(medians)):
        area = offsets[cell + 1] - offsets[cell]
        if area == 0:
            continue
        own, median = ordered[offsets[cell] : offsets[cell + 1]], medians[cell]
        left, right = area // 2, area // 2 + 1
        lower = higher = 0.0
        for _ in range(min(area // 2 + 2, area)):
            lower = higher
            if right >= area or (left >= 0 and median - own[left] <= own[right] - median):
                higher = median - own[left]
                left -= 1
            else:
                higher = own[right] - median
                right += 1
        part = area / 2 - area // 2 if area > 2 else 1.0
        found[cell] = lower * (1 - part) + higher * part
    return found


INTENSITY = FeatureFamily(
    "Intensity",
    Over.CHANNEL,
    Intensity._fields,
    cpu=intensity_cpu,
    jax=intensity_jax,
    about=Intensity.__doc__ or "",
)
