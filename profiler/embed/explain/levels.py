"""The last level of each backbone that still knows where things are."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from plates.errors import BadModel
from profiler.embed.network.efficientnet import EfficientNet
from profiler.embed.network.layers import Map, halve_mean
from profiler.embed.network.layers import fold as folded
from profiler.embed.network.resnet import ResNet

LevelMap = Float[Array, "plane height width feature"]


def _resnet(backbone: ResNet, x: Map) -> Map:
    x = backbone.stem(folded(x))
    for number, level in enumerate(backbone.levels):
        x = halve_mean(x) if number else x
        for block in level:
            x = block(x)
    return x


def _efficientnet(backbone: EfficientNet, x: Map) -> Map:
    x = backbone.stem(x)
    for layer in backbone.layers:
        x = layer(x)
    return backbone.last(x)


# Each ends in the mean over its last level, which tests/embed/explain/test_cam.py holds it to.
LEVELS: dict[type, Callable[[Any, Map], Map]] = {ResNet: _resnet, EfficientNet: _efficientnet}


def last_level(backbone: Any, planes: Map) -> LevelMap:
    """What a convolutional backbone finds, and where, before it takes the mean.

    Raises:
        BadModel: The backbone has no such level.
    """
    if type(backbone) not in LEVELS:
        known = ", ".join(kind.__name__ for kind in LEVELS)
        raise BadModel(
            f"Grad-CAM needs a last convolutional level; the backbone {type(backbone).__name__} "
            f"has none ({known} do). Use attention rollout for a ViT, or integrated gradients."
        )
    return LEVELS[type(backbone)](backbone, planes)
