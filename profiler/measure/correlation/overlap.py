"""How far two channels are bright in the same pixels of each object, pair by pair."""

from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np

from profiler.measure import cpu, device
from profiler.measure.correlation.ranks import ranks_cpu, ranks_jax


class Overlap(NamedTuple):
    """Agreement of two channels over an object's bright pixels.

    A pixel is bright in a channel where it has at least `threshold_percent` of the object's
    highest value there. All but Overlap are of one channel towards another: the columns of
    K_first_second are K_AGP_DNA, and of K_second_first K_DNA_AGP. "Both" are the pixels that are
    bright in both channels; where there is none, Overlap and K are NaN.

    Source: CellProfiler 4.2.8, MeasureColocalization. Where no object of a compartment has such a
    pixel, CellProfiler writes 0 for Overlap and K; for any fewer objects NaN, as here.

    Attributes:
        Overlap: Sum of first times second over the root of the sum of first squared times that
            of second squared, over both; 0 to 1.
        K_first_second: Sum of first times second over that of first squared, over both.
        K_second_first: The same over that of second squared.
        Manders_first_second: Part of the first channel's intensity in its bright pixels that is
            in both, 0 to 1; NaN where the first channel is 0 throughout.
        Manders_second_first: The same of the second channel.
        RWC_first_second: The same, but each pixel of both counts with the weight 1 - d / n: d is
            the distance between its ranks in the two channels, among the distinct values of
            all the compartment's objects in this field; n is the larger number of such values.
        RWC_second_first: The same of the second channel.
    """

    Overlap: Any
    K_first_second: Any
    K_second_first: Any
    Manders_first_second: Any
    Manders_second_first: Any
    RWC_first_second: Any
    RWC_second_first: Any


def overlap_jax(first: device.Signal, second: device.Signal, *, fraction: float) -> Overlap:
    """Compare the bright pixels of two channels in every object, on an accelerator."""
    bright_a, bright_b = (_bright_jax(signal, fraction) for signal in (first, second))
    ranks_a, ranks_b = (signal.derive(ranks_jax) for signal in (first, second))
    count = jnp.maximum(ranks_a.count, ranks_b.count)
    weight = 1 - jnp.abs(ranks_a.of_pixel - ranks_b.of_pixel) / count
    a, b = (jnp.where(bright_a & bright_b, signal.values, 0) for signal in (first, second))
    sums = (a * b, a * a, b * b, a, b, a * weight, b * weight)
    own = (jnp.where(bright_a, first.values, 0), jnp.where(bright_b, second.values, 0))
    total = first.objects.total
    return _ratios([total(each) for each in sums], [total(each) for each in own])


def _bright_jax(signal: device.Signal, fraction: float) -> Any:
    """Whether each pixel is bright in its object."""
    highest = -signal.objects.lowest(-signal.values)
    return signal.values >= signal.objects.spread(jnp.float32(fraction) * highest)


def overlap_cpu(first: cpu.Signal, second: cpu.Signal, *, fraction: float) -> Overlap:
    """Compare the bright pixels of two channels in every object, on the CPU."""
    signals = (first, second)
    floors, totals = zip(*(one.derive(_bright, fraction=fraction) for one in signals), strict=True)
    ranks, counts = zip(*(one.derive(ranks_cpu) for one in signals), strict=True)
    values = tuple(one.values for one in signals)
    return _ratios(_sums(values, floors, ranks, max(counts), first.objects.offsets), totals)


def _ratios(sums: Any, totals: Any) -> Overlap:
    ab, aa, bb, a, b, weighted_a, weighted_b = sums
    return Overlap(
        ab / (aa**0.5 * bb**0.5),
        ab / aa,
        ab / bb,
        a / totals[0],
        b / totals[1],
        weighted_a / totals[0],
        weighted_b / totals[1],
    )


def _bright(signal: cpu.Signal, *, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Where each object's bright pixels begin, and their integrated intensity; [cell] each."""
    return _floors(signal.values, signal.objects.offsets, np.float32(fraction))


@no_type_check
@cpu.compiled(fastmath={"reassoc"})  # additions in any order: several at a time
def _floors(values, offsets, fraction):
    # In float32 as CellProfiler: a pixel of just 15% of the highest must fall on its side.
    floors, totals = np.zeros(len(offsets) - 1, np.float32), np.zeros(len(offsets) - 1)
    for cell in range(len(floors)):
        own = values[offsets[cell] : offsets[cell + 1]]
        if len(own):
            floor, total = fraction * own.max(), 0.0
            for value in own:
                total += value if value >= floor else 0
            floors[cell], totals[cell] = floor, total
    return floors, totals


@no_type_check
@cpu.compiled(fastmath={"reassoc"})
def _sums(values, floors, ranks, count, offsets):
    """Of a b, a a, b b, a, b, and the last two weighted, over the pixels bright in both."""
    found = np.empty((7, len(offsets) - 1))
    step = 1 / max(count, 1)
    for cell in range(len(offsets) - 1):
        own = slice(offsets[cell], offsets[cell + 1])
        first, second = values[0][own], values[1][own]
        rank_a, rank_b = ranks[0][own], ranks[1][own]
        low_a, low_b = floors[0][cell], floors[1][cell]
        ab = aa = bb = a = b = weighted_a = weighted_b = 0.0
        for i in range(len(first)):
            is_both = (first[i] >= low_a) & (second[i] >= low_b)
            x = np.float64(first[i]) if is_both else 0.0
            y = np.float64(second[i]) if is_both else 0.0
            weight = 1 - abs(np.float64(rank_a[i]) - rank_b[i]) * step
            ab += x * y
            aa += x * x
            bb += y * y
            a += x
            b += y
            weighted_a += x * weight
            weighted_b += y * weight
        found[:, cell] = ab, aa, bb, a, b, weighted_a, weighted_b
    return found
