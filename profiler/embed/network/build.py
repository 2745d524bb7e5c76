"""From a configuration to its network."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Shaped

from plates.errors import BadRecipe, lookup
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.network.efficientnet import LEVELS, EfficientNet, shrink
from profiler.embed.network.encoder import POOLS, CropBatch, Encoder, Vectors
from profiler.embed.network.intensity import SCALES
from profiler.embed.network.norms import NORMS
from profiler.embed.network.resnet import ResNet
from profiler.embed.network.vit import PATCH_PX, ViT

WIDEST = 2  # bytes of an integer pixel
BRIGHTEST = 2.0  # mean of floats from 0 to 1, however unevenly the light was corrected


class Backbone(NamedTuple):
    """A kind of backbone, and the numbers it takes.

    Attributes:
        make: Its class.
        shrink: Pixels of a crop, each way, for one of its last map.
        beside: Widths it needs besides one for each level.
        most: Levels it may have.
    """

    make: Callable[..., nnx.Module]
    shrink: Callable[[EncoderConfig], int]
    beside: int = 0
    most: int = 8


BACKBONES = {
    "resnet": Backbone(ResNet, lambda own: own.patch_px * 2 ** (len(own.blocks) - 1)),
    "efficientnet": Backbone(
        EfficientNet, lambda own: shrink(len(own.blocks)), beside=2, most=len(LEVELS)
    ),
    "vit": Backbone(ViT, lambda _: PATCH_PX, most=1),
}
SIZES = {  # encoders by name, as recipes call them
    "resnet-tiny": EncoderConfig(widths=(32, 64, 128), blocks=(1, 1, 1), patch_px=4),
    "resnet-small": EncoderConfig(),
    "resnet": EncoderConfig(widths=(32, 64, 128, 256), blocks=(2, 2, 2, 2)),
    "efficientnet-lite0": EncoderConfig(
        kind="efficientnet",
        widths=(32, 16, 24, 40, 80, 112, 192, 320, 1280),
        blocks=(1, 2, 2, 3, 3, 4, 1),
        norm="batch-keras",
        dropout=0.2,
        scale="pattern",
    ),
    "vit": EncoderConfig(kind="vit", widths=(192,), blocks=(6,)),
}


class Classifier(nnx.Module):
    """One linear layer on a cell's vector."""

    def __init__(self, size: int, classes: int, *, dropout: float, rngs: nnx.Rngs):
        self.dropout = nnx.Dropout(dropout)
        self.linear = nnx.Linear(size, classes, rngs=rngs)

    def __call__(
        self, vectors: Vectors, *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch class"]:
        """Turn vectors into logits; `rngs` is for dropout."""
        return self.linear(self.dropout(vectors, rngs=rngs))


class Projector(nnx.Module):
    """Two dense layers between a vector and what self-supervised objectives compare."""

    def __init__(self, size: int, *, outputs: int, rngs: nnx.Rngs):
        self.widen = nnx.Linear(size, 2 * size, rngs=rngs)
        self.project = nnx.Linear(2 * size, outputs, rngs=rngs)

    def __call__(
        self, vectors: Vectors, *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch output"]:
        """Project vectors."""
        return self.project(nnx.relu(self.widen(vectors)))


class Model(nnx.Module):
    """An encoder, and what is asked of its vectors."""

    def __init__(self, encoder: Encoder, head: Callable[..., Float[Array, "batch _"]] | None):
        self.encoder, self.head = encoder, head

    def __call__(
        self, crops: CropBatch, *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch output"]:
        """Turn crops into what the head says of them, or into vectors without one."""
        vectors = self.encoder(crops)
        return vectors if self.head is None else self.head(vectors, rngs=rngs)


def build(config: ModelConfig, *, rngs: nnx.Rngs) -> Model:
    """Make a model with random weights: a classifier if it has classes.

    Raises:
        UnknownName: There is no such backbone, norm, scale or pool.
        BadRecipe: Widths, blocks or the crops' side do not fit the backbone.
    """
    check(config)
    own, classes = config.encoder, len(config.classes)
    _, planes = SCALES[own.scale]
    backbone = BACKBONES[own.kind].make(own, planes=planes, side=config.crops.side, rngs=rngs)
    made = Encoder(own, backbone)
    if not classes:
        return Model(made, None)
    return Model(made, Classifier(config.size, classes, dropout=own.dropout, rngs=rngs))


def with_projector(model: Model, config: ModelConfig, *, outputs: int, rngs: nnx.Rngs) -> Model:
    """Have a model's vectors projected, for an objective without labels."""
    return Model(model.encoder, Projector(config.size, outputs=outputs, rngs=rngs))


def with_classes(
    model: Model, config: ModelConfig, *, classes: tuple[str, ...], rngs: nnx.Rngs
) -> tuple[Model, ModelConfig]:
    """Give a model new classes to tell apart, untrained; the encoder keeps its weights."""
    wanted = replace(config, classes=classes)
    head = Classifier(wanted.size, len(classes), dropout=wanted.encoder.dropout, rngs=rngs)
    return Model(model.encoder, head), wanted


def check(config: ModelConfig) -> None:
    """Look every word of a configuration up, and see whether its numbers fit.

    Raises:
        UnknownName: There is no such backbone, norm, scale or pool.
        BadRecipe: Widths, blocks or the crops' side do not fit the backbone.
    """
    own = config.encoder
    for kind, known, name in (
        ("encoder", BACKBONES, own.kind),
        ("norm", NORMS, own.norm),
        ("intensity scale", SCALES, own.scale),
        ("pool of stains", POOLS, own.stains),
    ):
        lookup(known, kind=kind, name=name)
    kind = BACKBONES[own.kind]
    levels = min(len(own.blocks), kind.most)
    expected = levels + kind.beside
    if len(own.widths) != expected or len(own.blocks) != levels or not levels:
        raise BadRecipe(
            f"An encoder {own.kind!r} with blocks {own.blocks} needs {expected} widths; found "
            f"{own.widths}. Each of its 1 to {kind.most} levels has a width and a number of "
            "blocks; an efficientnet has two widths more, its stem's and its last layer's."
        )
    _check_patch(own)
    step = kind.shrink(own)
    if config.crops.side % step:
        raise BadRecipe(
            f"Crops of {config.crops.side} pixels do not divide by {step}, which this encoder "
            f"needs. Take {max(step, config.crops.side // step * step)}."
        )


def _check_patch(own: EncoderConfig) -> None:
    if own.patch_px < 1 or own.patch_px.bit_count() != 1:
        raise BadRecipe(f"patch_px is {own.patch_px}; expected a power of two, such as 2 or 4.")
    if own.kind != "resnet" and own.patch_px != EncoderConfig.patch_px:
        raise BadRecipe(
            f"patch_px is {own.patch_px}, which only a resnet has; an encoder {own.kind!r} has its "
            "own. Leave it out."
        )


def as_unit(crops: Array) -> Float[Array, "*shape"]:
    """Bring crops of any type to floats, integers divided by their type's maximum."""
    if jnp.issubdtype(crops.dtype, jnp.integer):
        return crops.astype(jnp.float32) / jnp.iinfo(crops.dtype).max
    return crops.astype(jnp.float32)


def check_levels(pixels: Shaped[Array | np.ndarray, "..."]) -> None:
    """Refuse pixels that `as_unit` would make black, or brighter than white.

    Args:
        pixels: Of crops or fields, as they were handed over.

    Raises:
        BadRecipe: Integers of 32 bits or more, or floats that cannot be 0 to 1, by their mean:
            single pixels may well be brighter once the light is corrected.
    """
    how = (
        "Divide grey levels by the largest that the camera gives, or hand over the integers of 8 "
        "or 16 bits that files have."
    )
    if jnp.issubdtype(pixels.dtype, jnp.integer) and pixels.dtype.itemsize > WIDEST:
        raise BadRecipe(
            f"Found pixels of type {pixels.dtype}; expected uint8, uint16 or floats from 0 to 1. "
            f"Integers are divided by their type's maximum, so these would all be black. {how}"
        )
    if jnp.issubdtype(pixels.dtype, jnp.floating) and pixels.size:
        mean = float(pixels.mean(dtype=jnp.float32))
        if mean > BRIGHTEST:
            raise BadRecipe(
                f"Found pixels of mean {mean:.4g} ({pixels.dtype}); expected floats from 0 to 1, "
                f"as networks learned from. {how}"
            )
