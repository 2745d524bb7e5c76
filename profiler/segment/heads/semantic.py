"""Semantic only: nucleus or not. Nuclei that touch become one."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from jax.nn import sigmoid
from jaxtyping import Array, Float

from profiler.segment.confidence.belief import Belief
from profiler.segment.decoding.nuclei import Nuclei, connected, number
from profiler.segment.heads.head import Head, pixelwise
from profiler.segment.heads.losses import entropy
from profiler.segment.score import SPECK_PX


class Prediction(NamedTuple):
    """What a network says about every pixel: the logit of belonging to any nucleus."""

    foreground: Float[Array, "*batch height width"]


class Targets(NamedTuple):
    """1 inside nuclei, 0 outside, [height, width] float32."""

    foreground: Any


class Losses(NamedTuple):
    """What is minimised."""

    foreground: Float[Array, ""]


@dataclass(frozen=True)
class Settings:
    """Logit above which a pixel belongs to a nucleus; smaller objects are specks."""

    foreground: float = 0.0
    min_area_px: int = SPECK_PX


def read(layer: nnx.Module, levels: tuple) -> Prediction:
    """Predict from the finest level."""
    return Prediction(layer(levels[0])[..., 0])


def targets(labels: np.ndarray) -> Targets:
    """Make the target of one label image."""
    return Targets((labels > 0).astype(np.float32))


def losses(
    predicted: Prediction, target: Targets, weight: Float[Array, "batch height width"]
) -> Losses:
    """Compare a prediction with the truth."""
    return Losses(entropy(predicted.foreground, target.foreground, weight))


def decode(prediction: Prediction, settings: Settings) -> Nuclei:
    """Make a nucleus of every connected stretch of foreground."""
    roots = connected(prediction.foreground > settings.foreground)
    return number(roots, min_area_px=settings.min_area_px)


def believe(prediction: Prediction) -> Belief:
    """Say how sure a prediction is: all it tells is the foreground."""
    foreground = sigmoid(prediction.foreground)
    return Belief(foreground, foreground)


SEMANTIC = Head(
    name="semantic",
    suits="confluence and areas, or nuclei that never touch; the fastest",
    make=pixelwise(1),
    read=read,
    targets=targets,
    parts=Losses._fields,
    losses=losses,
    decode=decode,
    settings=Settings(),
    believe=believe,
    resizable=True,
)
