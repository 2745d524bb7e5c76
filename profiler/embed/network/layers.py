"""What backbones convolve with."""

from functools import reduce

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from profiler.embed.network.norms import NORMS

Map = Float[Array, "batch _ _ _"]  # sides and features are each layer's own


class Layer(nnx.Module):
    """A convolution, a normalisation, and a rectifier unless it is left to the block."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        side: int,
        *,
        norm: str,
        rectifier=nnx.relu,
        rngs,
        **options,
    ):
        options = {"use_bias": False, "rngs": rngs} | options
        self.conv = nnx.Conv(inputs, outputs, (side, side), **options)
        self.norm = NORMS[norm](outputs, rngs=rngs)
        self.rectifier = rectifier

    def __call__(self, x: Map, *, rectify: bool = True) -> Map:
        """Convolve and normalise."""
        x = self.norm(self.conv(x))
        return self.rectifier(x) if rectify else x


class Depthwise(nnx.Module):
    """A convolution of each feature alone, as shifted products.

    XLA's grouped convolution is 20 to 30 times slower on a CPU (jax#23713); the kernel has its
    layout, [side, side, 1, feature].
    """

    def __init__(self, features: int, side: int, *, stride: int, rngs: nnx.Rngs):
        draw = nnx.initializers.variance_scaling(2.0, "fan_in", "normal", in_axis=(0, 1))
        self.kernel = nnx.Param(draw(rngs.params(), (side, side, 1, features)))
        self.side, self.stride = side, stride

    def __call__(self, x: Map) -> Map:
        """Convolve with zeros beyond the border; a stride divides height and width."""
        reach, stride = self.side // 2, self.stride
        height, width = x.shape[1:3]
        # XLA's "SAME" puts the odd zero after the last pixel.
        before = reach if stride == 1 else (self.side - stride) // 2
        after = self.side - stride - before if stride > 1 else reach
        padded = jnp.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
        kernel = self.kernel[...].astype(x.dtype)
        parts = [
            padded[:, i : i + height : stride, j : j + width : stride] * kernel[i, j][None, None]
            for i in range(self.side)
            for j in range(self.side)
        ]
        return reduce(jnp.add, parts)


def halve_mean(x: Map) -> Map:
    """Mean of 2x2 pixels; slices, because XLA's window gradient is slow on a CPU."""
    rows = x[:, ::2] + x[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4


def fold(x: Map) -> Map:
    """Put the four pixels of each 2x2 square side by side as features."""
    parts = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return jnp.concatenate(parts, axis=-1)
