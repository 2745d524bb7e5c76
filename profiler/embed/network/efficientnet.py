"""EfficientNet-Lite: inverted bottlenecks with depthwise convolutions, as published."""

from math import prod
from typing import NamedTuple

from flax import nnx
from jaxtyping import Array, Float

from profiler.embed.network.config import EncoderConfig
from profiler.embed.network.layers import Depthwise, Layer, Map
from profiler.embed.network.norms import NORMS


class Level(NamedTuple):
    """What the bottlenecks of one level have in common.

    Attributes:
        side: Of the depthwise kernel, pixels.
        stride: Of the level's first bottleneck; the others have none.
        expand: Features inside a bottleneck for each that comes in.
    """

    side: int
    stride: int
    expand: int


# Table 1 of Tan & Le 2019; efficientnet_lite_builder.py, of which this is Lite0, has the same.
LEVELS = (
    Level(3, 1, 1),
    Level(3, 2, 6),
    Level(5, 2, 6),
    Level(3, 2, 6),
    Level(5, 1, 6),
    Level(5, 2, 6),
    Level(3, 1, 6),
)


def shrink(levels: int) -> int:
    """Pixels of a crop, each way, for one of the last of so many levels."""
    return 2 * prod(level.stride for level in LEVELS[:levels])


class Bottleneck(nnx.Module):
    """Widen, convolve each feature alone, narrow again (Tan & Le 2019, arXiv:1905.11946).

    As in the Lite variants, rectifiers are clipped at 6 and there is no squeeze-and-excitation.
    """

    def __init__(
        self, inputs: int, outputs: int, level: Level, *, stride: int, norm: str, rngs: nnx.Rngs
    ):
        inner, how = level.expand * inputs, {"norm": norm, "rngs": rngs}
        self.widen = Layer(inputs, inner, 1, rectifier=nnx.relu6, **how) if inner > inputs else None
        self.each = Depthwise(inner, level.side, stride=stride, rngs=rngs)
        self.norm = NORMS[norm](inner, rngs=rngs)
        self.narrow = Layer(inner, outputs, 1, **how)
        self.is_added = stride == 1 and inputs == outputs

    def __call__(self, x: Map) -> Map:
        """Add what was found, where shapes allow."""
        inner = x if self.widen is None else self.widen(x)
        inner = nnx.relu6(self.norm(self.each(inner)))
        found = self.narrow(inner, rectify=False)
        return x + found if self.is_added else found


class EfficientNet(nnx.Module):
    """A stem that halves, as many of the seven `LEVELS` as are named, a last widening, the mean.

    Widths are the stem's, the levels' and the last layer's. Where resolution halves, the odd zero
    stands after the last pixel, as in TensorFlow. Stochastic depth, which was part of the published
    training, is left out.

    Source:
        github.com/tensorflow/tpu, efficientnet/lite; checked against its weights in PyTorch and
        against NumPy in tests/embed/test_imagenet.py and tests/embed/network/test_efficientnet.py.
    """

    def __init__(self, config: EncoderConfig, *, planes: int, side: int, rngs: nnx.Rngs):
        first, *widths, last = config.widths
        how = {"norm": config.norm, "rngs": rngs}
        self.stem = Layer(planes, first, 3, strides=2, rectifier=nnx.relu6, **how)
        layers, inputs = [], first
        for outputs, count, level in zip(widths, config.blocks, LEVELS, strict=False):
            for stride in (level.stride, *[1] * (count - 1)):
                layers.append(Bottleneck(inputs, outputs, level, stride=stride, **how))
                inputs = outputs
        self.layers = nnx.List(layers)
        self.last = Layer(inputs, last, 1, rectifier=nnx.relu6, **how)

    def __call__(self, x: Map) -> Float[Array, "batch feature"]:
        """Pool [batch, side, side, plane] to one vector each."""
        return self.last_level(x).mean((1, 2))

    def last_level(self, x: Map) -> Map:
        """What is found, and where, before the mean."""
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.last(x)
