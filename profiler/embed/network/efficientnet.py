"""Inverted bottlenecks with depthwise convolutions: EfficientNet-Lite's blocks, for small crops."""

from itertools import pairwise

from flax import nnx
from jaxtyping import Array, Float

from profiler.embed.network.config import EncoderConfig
from profiler.embed.network.layers import Depthwise, Layer, Map
from profiler.embed.network.norms import NORMS

EXPAND = 4  # features of the bottleneck for each that comes in


class Bottleneck(nnx.Module):
    """Widen, convolve each feature alone, narrow again (Tan & Le 2019, arXiv:1905.11946).

    As in the Lite variants, rectifiers are clipped at 6 and there is no squeeze-and-excitation.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, norm: str, rngs: nnx.Rngs):
        inner = EXPAND * inputs
        self.widen = Layer(inputs, inner, 1, norm=norm, rngs=rngs)
        self.each = Depthwise(inner, 3, stride=stride, rngs=rngs)
        self.norm = NORMS[norm](inner, rngs=rngs)
        self.narrow = Layer(inner, outputs, 1, norm=norm, rngs=rngs)
        self.is_added = stride == 1 and inputs == outputs

    def __call__(self, x: Map) -> Map:
        """Add what was found, where shapes allow."""
        inner = nnx.relu6(self.widen(x, rectify=False))
        inner = nnx.relu6(self.norm(self.each(inner)))
        found = self.narrow(inner, rectify=False)
        return x + found if self.is_added else found


class EfficientNet(nnx.Module):
    """Bottlenecks at half the crop's resolution and below, a last widening, then the mean."""

    def __init__(self, config: EncoderConfig, *, planes: int, side: int, rngs: nnx.Rngs):
        *widths, last = config.widths
        norm = config.norm
        self.stem = Layer(planes, widths[0], 3, strides=2, norm=norm, rngs=rngs)
        steps = [(widths[0], widths[0], 1), *((a, b, 2) for a, b in pairwise(widths))]
        layers = []
        for (inputs, outputs, stride), count in zip(steps, config.blocks, strict=True):
            layers.append(Bottleneck(inputs, outputs, stride=stride, norm=norm, rngs=rngs))
            rest = range(count - 1)
            layers += [Bottleneck(outputs, outputs, stride=1, norm=norm, rngs=rngs) for _ in rest]
        self.layers = nnx.List(layers)
        self.last = Layer(widths[-1], last, 1, norm=norm, rngs=rngs)

    def __call__(self, x: Map) -> Float[Array, "batch feature"]:
        """Pool [batch, side, side, plane] to one vector each."""
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.last(x).mean((1, 2))
