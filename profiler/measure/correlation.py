"""How the channels of each object go together, pair by pair."""

from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np

from profiler.measure import cpu, device
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
    return Correlation(_pearson(first.values, second.values, first.objects.offsets))


@no_type_check
@cpu.compiled()
def _pearson(first, second, offsets):
    found = np.full(len(offsets) - 1, np.nan)
    for cell in range(len(found)):
        start, stop = offsets[cell], offsets[cell + 1]
        if start == stop:
            continue
        a0, b0 = first[start], second[start]  # from these, a constant object is exactly 0
        a = b = aa = bb = ab = 0.0
        for i in range(start, stop):
            a += first[i] - a0
            b += second[i] - b0
        a /= stop - start
        b /= stop - start
        for i in range(start, stop):
            da, db = first[i] - a0 - a, second[i] - b0 - b
            aa += da * da
            bb += db * db
            ab += da * db
        if aa > 0 and bb > 0:
            found[cell] = min(max(ab / np.sqrt(aa * bb), -1.0), 1.0)
    return found


CORRELATION = FeatureFamily(
    "Correlation",
    Over.PAIR,
    Correlation._fields,
    cpu=correlation_cpu,
    jax=correlation_jax,
    about=Correlation.__doc__ or "",
)
