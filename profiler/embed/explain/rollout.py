"""Attention rollout: which patches of a crop reach the vector of a vision transformer."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from profiler.embed.explain.line import Line
from profiler.embed.network.build import Model
from profiler.embed.network.encoder import POOLS, CropBatch
from profiler.embed.network.layers import Map
from profiler.embed.network.vit import Block, Tokens

Attention = Float[Array, "plane token token"]


def rollout(model: Model, line: Line, crops: CropBatch) -> Float[Array, "batch rows rows channel"]:
    """Follow attention from what speaks for a line back to the patches it came from.

    Args:
        model: For inference, with a ViT as its backbone.
        line: What is explained.
        crops: Intensities from 0 to 1, [batch, side, side, channel].

    Returns:
        0 and above, one value per patch and stain. A last token counts as much as it adds to
        the line (gradient times token, where that speaks for it).

    Source:
        Abnar & Zuidema 2020 (arXiv:2005.00928), equation 1, heads averaged; the class's part as
        gradient times input, since the mean over tokens stands in for a class token.
    """
    batch, _, _, channels = crops.shape
    shown = model.encoder.show(crops)
    tokens, flow = follow(model.encoder.backbone, shown.reshape(-1, *shown.shape[2:]))

    def place(tokens: Tokens) -> Float[Array, ""]:
        vectors = tokens.mean(1).reshape(batch, channels, -1)
        return line(POOLS[model.encoder.stains](vectors)).sum()

    adds = jax.nn.relu((jax.grad(place)(tokens) * tokens).sum(-1))
    reached = jnp.einsum("pt,pts->ps", adds, flow)
    rows = round(reached.shape[-1] ** 0.5)
    return jnp.moveaxis(reached.reshape(batch, channels, rows, rows), 1, -1)


def follow(backbone: Any, planes: Map) -> tuple[Tokens, Attention]:
    """Run a ViT, multiplying its blocks' attention.

    Args:
        backbone: The ViT.
        planes: What it is shown, [plane, side, side, kind].

    Returns:
        Its last tokens, whose mean is the vector; and from each of them, how much of it comes
        from each patch, rows adding up to 1.
    """
    patches = backbone.stem(planes)
    tokens = patches.reshape(len(planes), -1, patches.shape[-1])
    tokens = tokens + jnp.broadcast_to(backbone.place[...], tokens.shape)
    same = jnp.eye(tokens.shape[1])[None]
    flow = jnp.broadcast_to(same, (len(planes), *same.shape[1:]))
    for block in backbone.layers:
        flow = ((_attention(block, tokens) + same) / 2) @ flow
        tokens = block(tokens)
    return backbone.norm(tokens), flow


def _attention(block: Block, tokens: Tokens) -> Attention:
    """Mean attention of a block's heads, [plane, to, from]."""
    seen = block.norm1(tokens)
    query, key = block.attend.query(seen), block.attend.key(seen)  # [plane, token, head, feature]
    likeness = jnp.einsum("pthf,pshf->phts", query, key) / query.shape[-1] ** 0.5
    return jax.nn.softmax(likeness, axis=-1).mean(1)
