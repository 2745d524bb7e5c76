"""Deep watershed: foreground, and how far each pixel is from its own nucleus's edge."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import edt
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.nn import sigmoid
from jaxtyping import Array, Float
from scipy import ndimage

from profiler.segment.confidence.belief import Belief
from profiler.segment.decoding.components import ascend, components
from profiler.segment.decoding.nuclei import Nuclei, number, rescue, smooth, spread
from profiler.segment.heads.head import Head, pixelwise
from profiler.segment.heads.losses import entropy, weighted_mean
from profiler.segment.score import SPECK_PX

DISTANCE_WEIGHT = 3.0  # brings both losses to one size after a few hundred steps


class Prediction(NamedTuple):
    """What a network says about every pixel.

    Attributes:
        foreground: Logit of belonging to any nucleus.
        distance: Distance to the nucleus's own edge over the largest such distance in
            that nucleus: 1 at its middle, 0 at its edge and in the background.
    """

    foreground: Float[Array, "*batch height width"]
    distance: Float[Array, "*batch height width"]


class Targets(NamedTuple):
    """Truth for `Prediction`, [height, width] each.

    Attributes:
        foreground: 1 inside nuclei, 0 outside, float32.
        distance: Distance to the own edge over its maximum in that nucleus, 0 to 1, float32.
    """

    foreground: Any
    distance: Any


class Losses(NamedTuple):
    """What is minimised: the sum of these."""

    foreground: Float[Array, ""]
    distance: Float[Array, ""]


@dataclass(frozen=True)
class Settings:
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
    min_area_px: int = SPECK_PX


def read(layer: nnx.Module, levels: tuple) -> Prediction:
    """Predict from the finest level."""
    out = layer(levels[0])
    return Prediction(out[..., 0], out[..., 1])


def targets(labels: np.ndarray) -> Targets:
    """Make the targets of one label image.

    Args:
        labels: 0 for background, one id per nucleus, integers, [height, width].

    Returns:
        Foreground and normalised distance. Touching nuclei are apart: each distance
        is measured to the nucleus's own edge, the field's border not counting as one (a
        nucleus that fills the field has no edge at all: 1 throughout).

    Source:
        The distance targets of deep watershed methods (Bai & Urtasun 2017,
        arXiv:1611.08303), checked against scipy in tests/segment/heads/test_watershed.py.
    """
    distance = edt.edt(np.ascontiguousarray(labels, np.uint32), black_border=False)
    distance = np.minimum(distance, np.hypot(*labels.shape).astype(np.float32))
    largest = ndimage.maximum(distance, labels, np.arange(labels.max() + 1))
    largest = np.maximum(np.asarray(largest, np.float32), 1.0)
    foreground = labels > 0
    normalised = np.where(foreground, distance / largest[labels], 0.0)
    return Targets(foreground.astype(np.float32), normalised.astype(np.float32))


def losses(
    predicted: Prediction, target: Targets, weight: Float[Array, "batch height width"]
) -> Losses:
    """Compare a prediction with the truth.

    Returns:
        Weighted means. Distance errors weigh twice inside nuclei: the background is easy,
        and most of the field.
    """
    error = optax.huber_loss(predicted.distance, target.distance, delta=0.1) / 0.1
    inside = weight * (1.0 + target.foreground)
    return Losses(
        entropy(predicted.foreground, target.foreground, weight),
        DISTANCE_WEIGHT * weighted_mean(error, inside),
    )


def decode(prediction: Prediction, settings: Settings) -> Nuclei:
    """Turn one field's prediction into nuclei: a seeded watershed without a queue.

    Connected cores found the nuclei; every foreground pixel climbs the distance map to
    a core. The few that climb to a minor hill instead join the nucleus beside them, and
    foreground without any core is a nucleus of its own, or dropped where it is faint.

    Args:
        prediction: One field, [height, width] (no batch axis).
        settings: Thresholds.

    Source:
        Deep watershed (Bai & Urtasun 2017, arXiv:1611.08303), by pointer jumping.
    """
    foreground = prediction.foreground > settings.foreground
    height = smooth(prediction.distance)
    cores = components(foreground & (height > settings.seed))
    hills = ascend(height, foreground)
    roots = jnp.append(cores, jnp.int32(foreground.size))[hills]
    roots = spread(roots.reshape(foreground.shape), foreground)
    roots = rescue(roots, foreground, height, least=settings.faint)
    return number(roots, min_area_px=settings.min_area_px)


def believe(prediction: Prediction) -> Belief:
    """Say how sure a prediction is: of the foreground, and of how deep a pixel lies in it."""
    return Belief(sigmoid(prediction.foreground), prediction.distance)


WATERSHED = Head(
    name="watershed",
    suits="compact nuclei, touching or not; learns in fewer steps than the others",
    make=pixelwise(2),
    read=read,
    targets=targets,
    parts=Losses._fields,
    losses=losses,
    decode=decode,
    settings=Settings(),
    believe=believe,
    resizable=True,
)
