"""How the channels of each object go together, pair by pair."""

from functools import lru_cache, partial
from typing import Any, NamedTuple, get_args, no_type_check

import jax.numpy as jnp
import numpy as np

from plates.errors import BadRecipe
from profiler.measure import cpu, device
from profiler.measure.correlation.costes import Costes, costes_cpu, costes_jax
from profiler.measure.correlation.levels import STEPS
from profiler.measure.correlation.overlap import Overlap, overlap_cpu, overlap_jax
from profiler.measure.correlation.thresholds import Method
from profiler.measure.family import FeatureFamily, Over


class Correlation(NamedTuple):
    """Agreement of two channels over an object's pixels.

    Source: CellProfiler 4.2.8, MeasureColocalization.

    Attributes:
        Correlation: Pearson's coefficient, -1 to 1; NaN where a channel is constant.
    """

    Correlation: Any


def correlation_jax(first: device.Signal, second: device.Signal) -> Correlation:
    """Correlate two channels in every object, on an accelerator."""
    objects = first.objects
    a, b = (_centred(objects, signal.values) for signal in (first, second))
    power = objects.total(a * a) * objects.total(b * b)
    return Correlation(jnp.clip(objects.total(a * b) / jnp.sqrt(power), -1, 1))


def _centred(objects: device.Objects, values: jnp.ndarray) -> jnp.ndarray:
    # From the lowest: a constant object is centred to exactly 0.
    above = values - objects.spread(objects.lowest(values))
    centred = above - objects.spread(objects.total(above) / objects.area)
    # To 1: the product of two small variances would leave float32.
    return centred / objects.spread(jnp.sqrt(objects.total(centred**2)))


def correlation_cpu(first: cpu.Signal, second: cpu.Signal) -> Correlation:
    """Correlate two channels in every object, on the CPU."""
    (mean_a, power_a), (mean_b, power_b) = (one.derive(_moments) for one in (first, second))
    values, means = (first.values, second.values), (mean_a, mean_b)
    together = _products(values, means, first.objects.offsets)
    return Correlation(np.clip(together / np.sqrt(power_a * power_b), -1, 1))


def _moments(signal: cpu.Signal) -> tuple[np.ndarray, np.ndarray]:
    """Each object's mean, and its sum of squares about it; [cell] each."""
    values, offsets = signal.values, signal.objects.offsets
    means = _means(values, offsets)
    return means, _products((values, values), (means, means), offsets)


# "reassoc": additions in any order, so as many at a time as the processor can.
@no_type_check
@cpu.compiled(fastmath={"reassoc"})
def _means(values, offsets):
    means = np.zeros(len(offsets) - 1)
    for cell in range(len(means)):
        own = values[offsets[cell] : offsets[cell + 1]]
        if len(own):
            start, above = np.float64(own[0]), 0.0
            for value in own:
                above += value - start  # exactly 0 in a constant object
            means[cell] = start + above / len(own)
    return means


@no_type_check
@cpu.compiled(fastmath={"reassoc"})
def _products(values, means, offsets):
    totals = np.zeros(len(offsets) - 1)
    for cell in range(len(totals)):
        own = slice(offsets[cell], offsets[cell + 1])
        first, second = values[0][own], values[1][own]
        total, mean_a, mean_b = 0.0, means[0][cell], means[1][cell]
        for i in range(len(first)):
            total += (first[i] - mean_a) * (second[i] - mean_b)
        totals[cell] = total
    return totals


CORRELATION = FeatureFamily(
    "Correlation",
    Over.PAIR,
    Correlation._fields,
    cpu=correlation_cpu,
    jax=correlation_jax,
    about=Correlation.__doc__ or "",
)


def correlation(
    *,
    threshold_percent: Any = 15,
    costes: Any = True,
    costes_method: Any = "faster",
    scale_max: Any = 65535,
) -> tuple[FeatureFamily, ...]:
    """How two channels go together: by Pearson, by overlap of what is bright, and by Costes.

    Args:
        threshold_percent: Part of an object's highest value from which a pixel is bright, 0 to
            below 100.
        costes: Whether to measure Costes' coefficients.
        costes_method: How their thresholds are searched: "faster", "fast" or "accurate". The
            last two have no kernel for accelerators.
        scale_max: Steps between 0 and 1 that are searched, 2 to 65535: the largest integer of the
            images' files, 255 for 8 bits.

    Returns:
        The families, the same for the same options.

    Raises:
        BadRecipe: An option of another type or out of range.
    """
    if type(threshold_percent) not in (int, float) or not 0 <= threshold_percent < 100:
        raise BadRecipe(
            f"Correlation's threshold_percent is {threshold_percent!r}; expected a number from 0 "
            "to below 100."
        )
    if type(costes) is not bool:
        raise BadRecipe(f"Correlation's costes is {costes!r}; expected true or false.")
    if costes_method not in get_args(Method):
        raise BadRecipe(
            f"Correlation's costes_method is {costes_method!r}; expected one of "
            f"{', '.join(get_args(Method))}."
        )
    if type(scale_max) is not int or not 2 <= scale_max <= STEPS:
        raise BadRecipe(
            f"Correlation's scale_max is {scale_max!r}; expected a whole number from 2 to {STEPS}."
        )
    families = CORRELATION, _overlap(threshold_percent / 100)
    return (*families, _costes(costes_method, scale_max)) if costes else families


@lru_cache
def _overlap(fraction: float) -> FeatureFamily:
    return FeatureFamily(
        "Correlation",
        Over.PAIR,
        _features(Overlap._fields),
        cpu=partial(overlap_cpu, fraction=fraction),
        jax=partial(overlap_jax, fraction=fraction),
        about=Overlap.__doc__ or "",
    )


@lru_cache
def _costes(method: Method, scale_max: int) -> FeatureFamily:
    return FeatureFamily(
        "Correlation",
        Over.PAIR,
        _features(Costes._fields),
        cpu=partial(costes_cpu, method=method, scale_max=scale_max),
        jax=partial(costes_jax, scale_max=scale_max) if method == "faster" else None,
        about=Costes.__doc__ or "",
    )


def _features(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Names of columns: the channels' names go where the fields say which is which."""
    return tuple(name.replace("first", "{0}").replace("second", "{1}") for name in fields)
