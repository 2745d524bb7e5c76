"""Fill in what is hidden of a crop, for transformers: half of the patches are shown.

Source:
    Masked autoencoders, He et al. 2021 (arXiv:2111.06377): the encoder sees only what is shown, a
    light decoder gets gaps for the rest, and only the gaps count. What is filled in is the crop as
    the encoder is shown it, its pattern brought to variance 1 (`network.intensity`).
"""

import jax.numpy as jnp
from flax import nnx
from jax import random
from jaxtyping import Array, Bool, Float, Int

from plates.errors import BadRecipe
from profiler.embed.network.build import Model
from profiler.embed.network.config import ModelConfig
from profiler.embed.network.encoder import CropBatch, Encoder
from profiler.embed.network.intensity import SCALES
from profiler.embed.network.layers import Map
from profiler.embed.network.vit import PATCH_PX, Block, Tokens, ViT
from profiler.embed.training.objectives.objective import (
    Objective,
    ObjectiveConfig,
    PerCrop,
    Scene,
)

WIDTH = 64  # of the decoder

Order = Int[Array, "batch patch"]
Patches = Float[Array, "batch patch pixel"]
Some = Float[Array, "batch patch feature"]


class Decoder(nnx.Module):
    """One transformer block from what is shown, and gaps, to pixels."""

    def __init__(self, width: int, *, tokens: int, planes: int, rngs: nnx.Rngs):
        self.narrow = nnx.Linear(width, WIDTH, rngs=rngs)
        self.gap = nnx.Param(0.02 * rngs.params.normal((1, 1, WIDTH)))
        self.place = nnx.Param(0.02 * rngs.params.normal((1, tokens, WIDTH)))
        self.block = Block(WIDTH, rngs=rngs)
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.paint = nnx.Linear(WIDTH, PATCH_PX**2 * planes, rngs=rngs)

    def __call__(self, shown: Tokens, order: Order) -> Patches:
        """Pixels of all patches, from the tokens of the first of them in `order`."""
        narrow = self.narrow(shown)
        batch, tokens = order.shape
        gaps = jnp.broadcast_to(self.gap[...], (batch, tokens - shown.shape[1], WIDTH))
        mixed = jnp.concatenate([narrow, gaps.astype(narrow.dtype)], axis=1)
        place = jnp.broadcast_to(self.place[...], mixed.shape).astype(narrow.dtype)
        return self.paint(self.norm(self.block(_taken(mixed, order.argsort(1)) + place)))


def patches(planes: Map) -> Patches:
    """Cut [batch, side, side, plane] into the pixels of each patch, row by row."""
    batch, side, _, count = planes.shape
    across = side // PATCH_PX
    cut = planes.reshape(batch, across, PATCH_PX, across, PATCH_PX, count)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, across**2, PATCH_PX**2 * count)


def gaps_filled(painted: Patches, truth: Patches, is_hidden: Bool[Array, "batch patch"]) -> PerCrop:
    """Mean squared error over the pixels of the hidden patches."""
    off = ((painted - truth) ** 2).mean(-1)
    return (off * is_hidden).sum(1) / is_hidden.sum(1)


def _losses(scene: Scene) -> PerCrop:
    encoder, decoder = scene.pupil.encoder, scene.pupil.head
    assert isinstance(decoder, Decoder)
    assert isinstance(encoder.backbone, ViT)
    planes = _shown_planes(encoder, scene.view())
    truth = patches(planes)
    batch, tokens, _ = truth.shape
    order = random.uniform(scene.keys.extra, (batch, tokens)).argsort(1)
    shown = round((1 - scene.config.hidden) * tokens)
    found = _encoded(encoder.backbone, planes.astype(scene.kind), order[:, :shown])
    painted = decoder(found, order).astype(jnp.float32)
    losses = gaps_filled(painted, truth, order.argsort(1) >= shown)
    return losses.reshape(len(scene.batch.crops), -1).mean(1)


def _shown_planes(encoder: Encoder, crops: CropBatch) -> Map:
    """Each stain alone, as `Encoder` shows it to its backbone."""
    batch, side, _, channels = crops.shape
    alone = jnp.moveaxis(crops, -1, 1).reshape(batch * channels, side, side, 1)
    show, _ = SCALES[encoder.scale]
    return show(alone)


def _encoded(backbone: ViT, planes: Map, rows: Order) -> Some:
    """What the transformer makes of some of the patches alone."""
    stem = backbone.stem(planes)
    tokens = stem.reshape(len(planes), -1, stem.shape[-1])
    tokens = tokens + jnp.broadcast_to(backbone.place[...], tokens.shape).astype(planes.dtype)
    tokens = _taken(tokens, rows)
    for layer in backbone.layers:
        tokens = layer(tokens)
    return backbone.norm(tokens)


def _taken(tokens: Tokens, rows: Order) -> Some:
    return jnp.take_along_axis(tokens, rows[:, :, None], axis=1)


def _prepare(model: Model, config: ModelConfig, asked: ObjectiveConfig, rngs: nnx.Rngs) -> Model:
    own = config.encoder
    if own.kind != "vit":
        raise BadRecipe(
            f"The objective 'masked' hides patches from a transformer; found an encoder "
            f"{own.kind!r}. Take 'vit', or another objective: 'dino' and 'simclr' teach any."
        )
    tokens = (config.crops.side // PATCH_PX) ** 2
    if not 0 < round((1 - asked.hidden) * tokens) < tokens:
        raise BadRecipe(
            f"Found hidden = {asked.hidden} for crops of {tokens} patches; at least one must be "
            "hidden and one shown."
        )
    _, planes = SCALES[own.scale]
    return Model(model.encoder, Decoder(own.widths[0], tokens=tokens, planes=planes, rngs=rngs))


MASKED = Objective(_losses, _prepare, uses_labels=False)
