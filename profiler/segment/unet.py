"""A small U-Net that predicts foreground and distance to the edge."""

from dataclasses import dataclass
from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from profiler.segment.prediction import Prediction
from profiler.shapes import Images

Activations = Float[Array, "batch height width _"]  # how many features is each layer's own
Map = Float[Array, "batch _ _ _"]


@dataclass(frozen=True)
class UNetConfig:
    """Size of the network.

    Attributes:
        channels: Planes it looks at.
        widths: Features at each level; every level halves the resolution.
    """

    channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 128, 128)

    @property
    def stride(self) -> int:
        """What heights and widths must be multiples of, in pixels."""
        return 2 ** (len(self.widths) - 1)

    @property
    def reach(self) -> int:
        """How far an output pixel can see, in pixels: the halo that makes tiles exact.

        Two 3x3 convolutions on the way down and two on the way up at each level,
        and one more coarse pixel for each pooling.
        """
        levels = len(self.widths) - 1
        convolutions = 4 * (2**levels - 1) + 2 * 2**levels
        return convolutions + 2**levels


class Block(nnx.Module):
    """Two 3x3 convolutions.

    BatchNorm, with its running averages at inference: unlike GroupNorm it leaves the
    network translation-equivariant, so that tiles with a halo give exactly what the
    whole field gives, and it costs nothing on a CPU.
    """

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        conv = {"kernel_size": (3, 3), "use_bias": False, "rngs": rngs}
        self.conv1 = nnx.Conv(inputs, outputs, **conv)
        self.norm1 = nnx.BatchNorm(outputs, momentum=0.95, rngs=rngs)
        self.conv2 = nnx.Conv(outputs, outputs, **conv)
        self.norm2 = nnx.BatchNorm(outputs, momentum=0.95, rngs=rngs)

    def __call__(self, x: Activations) -> Activations:
        """Convolve a batch; height and width stay."""
        x = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(self.norm2(self.conv2(x)))


class UNet(nnx.Module):
    """Ronneberger et al. 2015 (arXiv:1505.04597), with padded convolutions and added skips.

    Skips are added, as in LinkNet (arXiv:1707.03718), not concatenated: the widest
    convolution, at full resolution, becomes three times cheaper.
    """

    def __init__(self, config: UNetConfig, *, rngs: nnx.Rngs):
        widths = config.widths
        self.stem = Block(config.channels, widths[0], rngs=rngs)
        self.down = nnx.List([Block(a, b, rngs=rngs) for a, b in pairwise(widths)])
        upwards = list(pairwise(widths[::-1]))
        self.narrow = nnx.List([nnx.Conv(a, b, (1, 1), rngs=rngs) for a, b in upwards])
        self.up = nnx.List([Block(b, b, rngs=rngs) for _, b in upwards])
        self.head = nnx.Conv(widths[0], 2, (1, 1), rngs=rngs)

    def __call__(self, images: Images) -> Prediction:
        """Predict every pixel of a batch whose sides are multiples of the stride."""
        x, skips = self.stem(images), []
        for block in self.down:
            skips.append(x)
            x = block(_halve(x))
        for narrow, block in zip(self.narrow, self.up, strict=True):
            x = block(_double(narrow(x)) + skips.pop())
        out = self.head(x)
        return Prediction(out[..., 0], out[..., 1])


def _halve(x: Map) -> Map:
    """Max-pool 2x2; slices, because XLA's window gradient is slow on a CPU."""
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def _double(x: Map) -> Map:
    """Repeat every pixel 2x2; a broadcast, whose gradient is a plain sum."""
    batch, height, width, channel = x.shape
    wide = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channel))
    return wide.reshape(batch, 2 * height, 2 * width, channel)
