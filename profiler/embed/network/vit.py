"""A small vision transformer."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from profiler.embed.network.config import EncoderConfig
from profiler.embed.network.layers import Map

PATCH_PX = 8
HEAD_WIDTH = 32  # features an attention head looks at

Tokens = Float[Array, "batch token feature"]


class Block(nnx.Module):
    """Attention, then two dense layers, each added to what came in (pre-norm)."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        heads = max(1, width // HEAD_WIDTH)
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.widen = nnx.Linear(width, 4 * width, rngs=rngs)
        self.narrow = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        """Look around, then think."""
        x = x + self.attend(self.norm1(x))
        return x + self.narrow(nnx.gelu(self.widen(self.norm2(x))))


class ViT(nnx.Module):
    """Dosovitskiy et al. 2021 (arXiv:2010.11929), the mean of all patches as the vector."""

    def __init__(self, config: EncoderConfig, *, planes: int, side: int, rngs: nnx.Rngs):
        (width,), (depth,) = config.widths, config.blocks
        patch = (PATCH_PX, PATCH_PX)
        self.stem = nnx.Conv(planes, width, patch, strides=PATCH_PX, padding="VALID", rngs=rngs)
        tokens = (side // PATCH_PX) ** 2
        self.place = nnx.Param(0.02 * rngs.params.normal((1, tokens, width)))
        self.layers = nnx.List([Block(width, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(self, x: Map) -> Float[Array, "batch feature"]:
        """Pool [batch, side, side, plane] to one vector each."""
        patches = self.stem(x)
        tokens = patches.reshape(len(x), -1, patches.shape[-1])
        tokens = tokens + jnp.broadcast_to(self.place[...], tokens.shape).astype(x.dtype)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens).mean(1)
