"""Boundary: every pixel is background, a nucleus's inside, or the rim that keeps nuclei apart."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import optax
from flax import nnx
from jax.nn import softmax
from jaxtyping import Array, Float
from scipy import ndimage

from profiler.segment.confidence.belief import Belief
from profiler.segment.decoding.nuclei import Nuclei, connected, number, rescue, spread
from profiler.segment.heads.head import Head, pixelwise
from profiler.segment.heads.losses import weighted_mean
from profiler.segment.score import SPECK_PX

BACKGROUND, INSIDE, RIM = range(3)
RIM_PX = 2  # width of the rim, inside each nucleus
RIM_WEIGHT = 10.0  # of the rim in the loss, as Caicedo et al. weigh it


class Prediction(NamedTuple):
    """What a network says about every pixel: logits of background, inside and rim."""

    classes: Float[Array, "*batch height width 3"]


class Targets(NamedTuple):
    """Index of each pixel's class, [height, width] int32."""

    classes: Any


class Losses(NamedTuple):
    """What is minimised."""

    classes: Float[Array, ""]


@dataclass(frozen=True)
class Settings:
    """Smaller objects are specks."""

    min_area_px: int = SPECK_PX


def read(layer: nnx.Module, levels: tuple) -> Prediction:
    """Predict from the finest level."""
    return Prediction(layer(levels[0]))


def targets(labels: np.ndarray) -> Targets:
    """Make the target of one label image; the field's border is no rim."""
    side = 2 * RIM_PX + 1
    most = ndimage.maximum_filter(labels, side, mode="nearest")
    least = ndimage.minimum_filter(labels, side, mode="nearest")
    inside = (most == labels) & (least == labels)
    classes = np.where(labels > 0, np.where(inside, INSIDE, RIM), BACKGROUND)
    return Targets(classes.astype(np.int32))


def losses(
    predicted: Prediction, target: Targets, weight: Float[Array, "batch height width"]
) -> Losses:
    """Compare a prediction with the truth."""
    error = optax.softmax_cross_entropy_with_integer_labels(predicted.classes, target.classes)
    dear = 1.0 + (RIM_WEIGHT - 1.0) * (target.classes == RIM)
    return Losses(weighted_mean(error, weight * dear))


def decode(prediction: Prediction, settings: Settings) -> Nuclei:
    """Found a nucleus on every connected inside, and let it grow over its rim.

    A rim without any inside, as slivers at the border have, is a nucleus of its own.

    Source:
        Caicedo et al. 2019 (Cytometry A 95:952), whose nuclei are dilated by the rim's width;
        growing stops where two nuclei meet.
    """
    best = prediction.classes.argmax(-1)
    ground = best != BACKGROUND
    roots = spread(connected(best == INSIDE), ground)
    roots = rescue(roots, ground, ground.astype(prediction.classes.dtype), least=0.0)
    return number(roots, min_area_px=settings.min_area_px)


def believe(prediction: Prediction) -> Belief:
    """Say how sure a prediction is: of no background, and of the inside."""
    share = softmax(prediction.classes)
    return Belief(1.0 - share[..., BACKGROUND], share[..., INSIDE])


BOUNDARY = Head(
    name="boundary",
    suits="nuclei of any shape with clear gaps; thin or small ones lose their inside",
    make=pixelwise(3),
    read=read,
    targets=targets,
    parts=Losses._fields,
    losses=losses,
    decode=decode,
    settings=Settings(),
    believe=believe,
    resizable=True,
)
