"""Otsu's thresholds of a plane's log intensities, in two classes or three.

Both kernels bring the sorted pixels to a `Ladder`, and the same arithmetic chooses a rung.

Source: centrosome.threshold, which CellProfiler 4.2.8's MeasureImageQuality calls. It leaves
negative pixels out; here they count as 0.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from profiler.measure import cpu
from profiler.measure.image.tally import Tally
from profiler.shapes import Plane

# Number of classes; of three, whether the middle is fore- or background; weighted variance.
KINDS = ("2W", "3FW", "3BW")
BINS = {"2": 256, "3": 128}
FAINT = float(np.finfo(np.float32).eps)


class Ladder(NamedTuple):
    """Sorted values at every so manieth rank, and the sums below.

    Attributes:
        ranks: From 0 in equal steps, [rung]; known before any pixel.
        values: Those at the ranks, [rung].
        following: Those at the ranks after, [rung].
        sums: Of values and of squares up to and with the ranks, [2, rung].
        total: Of all pixels, [2].
        area: Number of pixels.
    """

    ranks: np.ndarray
    values: Any
    following: Any
    sums: Any
    total: Any
    area: int


def otsu_cpu(pixels: Tally, *, kinds: Sequence[str]) -> list[Any]:
    """Find the thresholds of several kinds, on the CPU."""
    logs = Tally(_logs(pixels.values), pixels.ends)
    return [np.exp(_chosen(_climbed(logs, kind), kind)) for kind in kinds]


def _climbed(pixels: Tally, kind: str) -> Ladder:
    area = pixels.area
    ranks = _ranks(area, kind)
    *sums, total = _sums(*pixels, ranks)
    after = pixels.at(np.minimum(ranks + 1, area - 1))
    return Ladder(ranks, pixels.at(ranks), after, np.stack(sums), total, area)


@no_type_check
@cpu.compiled()
def _sums(values, ends, ranks):
    """Sums and sums of squares up to and with each rank, and of all."""
    sums, squares, total = np.empty(len(ranks)), np.empty(len(ranks)), np.zeros(2)
    rung = before = 0
    for i in range(len(values)):
        value = np.float64(values[i])
        while rung < len(ranks) and ranks[rung] < ends[i]:
            count = ranks[rung] + 1 - before
            sums[rung] = total[0] + count * value
            squares[rung] = total[1] + count * value * value
            rung += 1
        total[0] += (ends[i] - before) * value
        total[1] += (ends[i] - before) * value * value
        before = ends[i]
    return sums, squares, total


def otsu_jax(plane: Plane, *, kinds: Sequence[str]) -> list[Any]:
    """Find the thresholds of several kinds, on an accelerator."""
    logs = _logs(jnp.sort(plane.ravel()))
    middle = logs.mean()  # the sums are of what is above: in float32 they are long enough
    return [jnp.exp(middle + _chosen(_summed(logs - middle, kind), kind)) for kind in kinds]


def _summed(ordered: Float[Array, " pixel"], kind: str) -> Ladder:
    area = ordered.shape[0]
    ranks = _ranks(area, kind)
    last, step = int(ranks[-1]), _step(area, kind)
    powers = jnp.stack([ordered, ordered**2])
    steps = powers[:, 1 : last + 1].reshape(2, -1, step).sum(axis=2)
    sums = jnp.cumsum(jnp.concatenate([powers[:, :1], steps], axis=1), axis=1)
    total = sums[:, -1] + powers[:, last + 1 :].sum(axis=1)
    after = ordered[np.minimum(ranks + 1, area - 1)]
    return Ladder(ranks, ordered[ranks], after, sums, total, area)


def _logs(ordered: Any) -> Any:
    """Logarithms; those of the darkest 256th of the range are one."""
    xp = ordered.__array_namespace__()
    lit = xp.maximum(ordered, 0)
    return xp.log(xp.maximum(lit, lit[0] + (lit[-1] - lit[0]) / 256 + FAINT))


def _ranks(area: int, kind: str) -> np.ndarray:
    """Ranks of the candidates; of two classes, the second has a pixel at least."""
    end = max(area - 1, 1) if kind.startswith("2") else area
    return np.arange(0, end, _step(area, kind))


def _step(area: int, kind: str) -> int:
    return max(area // BINS[kind[0]], 1)


def _chosen(ladder: Ladder, kind: str) -> Any:
    return _two(ladder) if kind.startswith("2") else _three(ladder)["FB".index(kind[1])]


def _two(ladder: Ladder) -> Any:
    """The mean of the candidates beside the one that leaves the least variance."""
    above = ladder.area - 1 - ladder.ranks
    beyond = _spread(ladder.total[:, None] - ladder.sums, above) * _of_sample(above)
    best = (_spread(ladder.sums, ladder.ranks + 1) + beyond).argmin()
    xp, last = ladder.sums.__array_namespace__(), len(ladder.ranks) - 1
    return (
        ladder.following[xp.maximum(best - 1, 0)] + ladder.following[xp.minimum(best + 1, last)]
    ) / 2


def _three(ladder: Ladder) -> tuple[Any, Any]:
    """The two candidates that leave the least variance."""
    xp, ranks, values = ladder.sums.__array_namespace__(), ladder.ranks, ladder.values
    least = ladder.sums - xp.stack([values, values**2])  # below the ranks, without them
    high = _spread(ladder.total[:, None] - least, ladder.area - ranks)
    high = high * _of_sample(ladder.area - ranks)
    low = _spread(ladder.sums, ranks + 1)
    between = ranks[None, :] - ranks[:, None]
    middle = _spread(ladder.sums[:, None, :] - ladder.sums[:, :, None], between)
    # Centrosome looks one rung too low, unless the area is a multiple of the bins.
    rung = ranks * min(BINS["3"], ladder.area) // ladder.area
    score = low[rung][:, None] + xp.where(between > 0, middle, xp.inf) + high[rung][None, :]
    best = score.argmin()
    return values[best // len(ranks)], values[best % len(ranks)]


def _spread(sums: Any, count: np.ndarray) -> Any:
    """Sum of squared distances from the mean, of the sums of so many values and their squares."""
    return sums[1] - sums[0] ** 2 / np.maximum(count, 1).astype(np.float32)


def _of_sample(count: np.ndarray) -> np.ndarray:
    """What turns the population's variance into the sample's."""
    return (count / np.maximum(count - 1, 1)).astype(np.float32)
