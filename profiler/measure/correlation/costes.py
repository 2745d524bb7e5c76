"""How much of two channels lies above Costes' thresholds together, pair by pair."""

from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np

from profiler.measure import cpu, device
from profiler.measure.correlation.bisection import thresholds_jax
from profiler.measure.correlation.levels import levels
from profiler.measure.correlation.thresholds import Method, thresholds_cpu


class Costes(NamedTuple):
    """Agreement of two channels over the pixels above Costes' thresholds.

    A field has one pair of thresholds for all its objects, on the line that is nearest to its
    pixels (orthogonal regression, without those that are 0 in both channels). Candidates are
    1 / `scale_max` apart in the first channel, and the line gives the second's. Of the pixels
    under either threshold, the two channels should no longer be correlated: `costes_method`
    "accurate" goes down from the brightest pixel to the first candidate where Pearson's
    coefficient is 0 or less, "fast" strides while it is high, and "faster" bisects. Where it
    never is, the thresholds end at the bottom of the first channel.

    The first channel is the first by name, in CellProfiler the first in the pipeline. In the
    other order the line is the same, but the candidates and where they end are not.

    Source: CellProfiler 4.2.8, MeasureColocalization, after Costes et al. 2004, Biophysical
    Journal 86. Where no object of a compartment has pixels above both thresholds, CellProfiler
    has 0 for all of them; here an object without pixels at the threshold is NaN all the same.

    Attributes:
        Costes_first_second: Part of the first channel's intensity at or above its threshold that
            lies in pixels above both, 0 to 1; NaN where there is no such intensity, or where
            either channel of the field is constant.
        Costes_second_first: The same of the second channel.
    """

    Costes_first_second: Any
    Costes_second_first: Any


def costes_jax(first: device.Signal, second: device.Signal, *, scale_max: int) -> Costes:
    """Compare two channels above the field's thresholds, on an accelerator; "faster" alone."""
    lows = thresholds_jax(first.plane, second.plane, scale_max=scale_max)
    values = first.values, second.values
    is_both = (values[0] > lows[0]) & (values[1] > lows[1])

    def share(value: Any, low: Any) -> Any:
        above = first.objects.total(jnp.where(value >= low, value, 0))
        return first.objects.total(jnp.where(is_both, value, 0)) / above

    return Costes(*map(share, values, lows))


def costes_cpu(first: cpu.Signal, second: cpu.Signal, *, method: Method, scale_max: int) -> Costes:
    """Compare two channels above the field's thresholds, on the CPU."""
    lows = first.once(
        thresholds_cpu,
        first=first.once(levels),
        second=second.once(levels),
        method=method,
        scale_max=scale_max,
    )
    sums = _sums_above((first.values, second.values), lows, first.objects.offsets)
    return Costes(sums[0] / sums[2], sums[1] / sums[3])


@no_type_check
@cpu.compiled(fastmath={"reassoc"})  # additions in any order: several at a time
def _sums_above(values, lows, offsets):
    """Of both channels, over the pixels above both thresholds, then at or above their own."""
    found = np.empty((4, len(offsets) - 1))
    for cell in range(len(offsets) - 1):
        own = slice(offsets[cell], offsets[cell + 1])
        first, second = values[0][own], values[1][own]
        both_a = both_b = own_a = own_b = 0.0
        for i in range(len(first)):
            a, b = first[i], second[i]
            is_both = (a > lows[0]) & (b > lows[1])
            both_a += a if is_both else 0.0
            both_b += b if is_both else 0.0
            own_a += a if a >= lows[0] else 0.0
            own_b += b if b >= lows[1] else 0.0
        found[:, cell] = both_a, both_b, own_a, own_b
    return found
