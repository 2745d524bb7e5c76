"""What a level of the network convolves with: one small module each, all of one kind.

A block is made by `(inputs, outputs, *, norm, rngs)` and maps [batch, height, width, inputs] to
[batch, height, width, outputs].
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from profiler.segment.network.norms import NORMS

Map = Float[Array, "batch _ _ _"]  # sides and features are each layer's own


class Layer(nnx.Module):
    """A convolution, a normalisation, and a rectifier unless it is left to the block."""

    def __init__(self, inputs: int, outputs: int, side: int, *, norm: str, rngs, **options):
        options = {"use_bias": False, "rngs": rngs} | options
        self.conv = nnx.Conv(inputs, outputs, (side, side), **options)
        self.norm = NORMS[norm](outputs, rngs=rngs)

    def __call__(self, x: Map, *, rectify: bool = True) -> Map:
        """Convolve; height and width stay."""
        x = self.norm(self.conv(x))
        return nnx.relu(x) if rectify else x


class Plain(nnx.Module):
    """Two 3x3 convolutions, as in the first U-Net."""

    def __init__(self, inputs: int, outputs: int, *, norm: str, rngs: nnx.Rngs):
        conv = {"kernel_size": (3, 3), "use_bias": False, "rngs": rngs}
        self.conv1 = nnx.Conv(inputs, outputs, **conv)
        self.norm1 = NORMS[norm](outputs, rngs=rngs)
        self.conv2 = nnx.Conv(outputs, outputs, **conv)
        self.norm2 = NORMS[norm](outputs, rngs=rngs)

    def __call__(self, x: Map) -> Map:
        """Convolve twice."""
        x = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(self.norm2(self.conv2(x)))


class Residual(nnx.Module):
    """Two 3x3 convolutions added to their input (He et al. 2015, arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, *, norm: str, rngs: nnx.Rngs):
        how = {"norm": norm, "rngs": rngs}
        self.first = Layer(inputs, outputs, 3, **how)
        self.second = Layer(outputs, outputs, 3, **how)
        self.shortcut = Layer(inputs, outputs, 1, **how) if inputs != outputs else None

    def __call__(self, x: Map) -> Map:
        """Convolve twice, and add what came in."""
        same = x if self.shortcut is None else self.shortcut(x, rectify=False)
        return nnx.relu(self.second(self.first(x), rectify=False) + same)


class Dense(nnx.Module):
    """Two 3x3 convolutions that see all before them (Huang et al. 2017, arXiv:1608.06993)."""

    def __init__(self, inputs: int, outputs: int, *, norm: str, rngs: nnx.Rngs):
        growth, how = max(outputs // 2, 1), {"norm": norm, "rngs": rngs}
        self.first = Layer(inputs, growth, 3, **how)
        self.second = Layer(inputs + growth, growth, 3, **how)
        self.fuse = Layer(inputs + 2 * growth, outputs, 1, **how)

    def __call__(self, x: Map) -> Map:
        """Convolve twice, keeping everything, then fuse."""
        x = jnp.concatenate([x, self.first(x)], axis=-1)
        return self.fuse(jnp.concatenate([x, self.second(x)], axis=-1))


class Dilated(nnx.Module):
    """A 3x3 convolution and one with gaps of one pixel (Yu & Koltun 2016, arXiv:1511.07122)."""

    def __init__(self, inputs: int, outputs: int, *, norm: str, rngs: nnx.Rngs):
        how = {"norm": norm, "rngs": rngs}
        self.near = Layer(inputs, outputs, 3, **how)
        self.far = Layer(outputs, outputs, 3, kernel_dilation=(2, 2), **how)

    def __call__(self, x: Map) -> Map:
        """Look near, then far."""
        return self.far(self.near(x))


class Separable(nnx.Module):
    """Twice a 3x3 convolution of each feature and a 1x1 one across (Chollet, arXiv:1610.02357)."""

    def __init__(self, inputs: int, outputs: int, *, norm: str, rngs: nnx.Rngs):
        alone = {"use_bias": False, "rngs": rngs}
        self.each1 = nnx.Conv(inputs, inputs, (3, 3), feature_group_count=inputs, **alone)
        self.across1 = Layer(inputs, outputs, 1, norm=norm, rngs=rngs)
        self.each2 = nnx.Conv(outputs, outputs, (3, 3), feature_group_count=outputs, **alone)
        self.across2 = Layer(outputs, outputs, 1, norm=norm, rngs=rngs)

    def __call__(self, x: Map) -> Map:
        """Convolve in space and across features in turn, twice."""
        return self.across2(self.each2(self.across1(self.each1(x))))


@dataclass(frozen=True)
class Block:
    """A kind of block.

    Attributes:
        make: Its module.
        reach: How far an output pixel sees, in pixels of its level.
    """

    make: Callable[..., nnx.Module]
    reach: int


BLOCKS = {
    "plain": Block(Plain, 2),
    "residual": Block(Residual, 2),
    "dense": Block(Dense, 2),
    "dilated": Block(Dilated, 3),
    "separable": Block(Separable, 2),
}
