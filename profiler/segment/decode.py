"""From per-pixel predictions to nuclei, entirely on the device."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.ops import segment_max, segment_sum
from jaxtyping import Array, Bool, Float, Int

from profiler.segment.components import ascend, components
from profiler.segment.prediction import Prediction
from profiler.shapes import Labels


@dataclass(frozen=True)
class DecodeConfig:
    """Where nuclei begin and end.

    Attributes:
        foreground: Logit above which a pixel belongs to a nucleus.
        seed: Distance above which a pixel belongs to a nucleus's core; cores that do not
            touch are different nuclei.
        faint: Distance that foreground without a core must reach to be a nucleus of its own.
        min_area_px: Smaller objects are specks.
    """

    foreground: float = 0.0
    seed: float = 0.5
    faint: float = 0.35
    min_area_px: int = 25


class Nuclei(NamedTuple):
    """The nuclei of one field.

    Attributes:
        labels: 1 to `count` in reading order of their first core pixel, 0 background.
        count: How many there are, however few rows later stages have.
    """

    labels: Labels
    count: Int[Array, ""]


def decode(prediction: Prediction, config: DecodeConfig) -> Nuclei:
    """Turn one field's prediction into nuclei: a seeded watershed without a queue.

    Connected cores found the nuclei; every foreground pixel climbs the distance map to
    a core. The few that climb to a minor hill instead join the nucleus beside them, and
    foreground without any core is a nucleus of its own, or dropped where it is faint.

    Args:
        prediction: One field, [height, width] (no batch axis).
        config: Thresholds.

    Source:
        Deep watershed (Bai & Urtasun 2017, arXiv:1611.08303), by pointer jumping.
    """
    foreground = prediction.foreground > config.foreground
    height = _smooth(prediction.distance)
    size = foreground.size

    cores = components(foreground & (height > config.seed))
    hills = ascend(height, foreground)
    roots = jnp.append(cores, jnp.int32(size))[hills]
    roots = _spread(roots.reshape(foreground.shape), foreground)
    roots = _rescue(roots, foreground, height, least=config.faint)
    return _number(roots, min_area=config.min_area_px)


def _smooth(distance: Float[Array, "height width"]) -> Float[Array, "height width"]:
    total = lax.reduce_window(distance, 0.0, lax.add, (3, 3), (1, 1), "SAME")
    return total / 9.0


def _spread(
    roots: Int[Array, "height width"], foreground: Bool[Array, "height width"]
) -> Int[Array, "height width"]:
    """Let nuclei grow, a pixel a round, into foreground that no core was reached from."""
    size = roots.size

    def grow(state):
        now, _ = state
        beside = lax.reduce_window(now, size, lax.min, (3, 3), (1, 1), "SAME")
        later = jnp.where(foreground & (now == size), beside, now)
        return later, jnp.any(later != now)

    return lax.while_loop(lambda state: state[1], grow, (roots, jnp.array(True)))[0]


def _rescue(
    roots: Int[Array, "height width"],
    foreground: Bool[Array, "height width"],
    height: Float[Array, "height width"],
    *,
    least: float,
) -> Int[Array, "height width"]:
    """Make a nucleus of every stretch of foreground that no core lies in, if it peaks at all."""
    size = roots.size
    alone = components(foreground & (roots == size))
    peak = segment_max(height.ravel(), alone, size + 1)
    kept = jnp.where(peak[alone] > least, alone, size).reshape(roots.shape)
    return jnp.where(roots == size, kept, roots)


def _number(roots: Int[Array, "height width"], *, min_area: int) -> Nuclei:
    """Number the roots from 1 in reading order, dropping specks."""
    flat, size = roots.ravel(), roots.size
    area = segment_sum(jnp.ones_like(flat), flat, size + 1)[:-1]
    kept = area >= min_area
    number = jnp.where(kept, jnp.cumsum(kept, dtype=jnp.int32), 0)
    labels = jnp.append(number, jnp.int32(0))[flat]
    return Nuclei(labels.reshape(roots.shape), kept.sum(dtype=jnp.int32))
