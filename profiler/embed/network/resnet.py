"""A compact residual network for small crops."""

from flax import nnx
from jaxtyping import Array, Float

from profiler.embed.network.config import EncoderConfig
from profiler.embed.network.layers import Layer, Map, fold, halve_mean


class Block(nnx.Module):
    """Two 3x3 convolutions added to their input (He et al. 2015, arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, *, norm: str, rngs: nnx.Rngs):
        how = {"norm": norm, "rngs": rngs}
        self.first = Layer(inputs, outputs, 3, **how)
        self.second = Layer(outputs, outputs, 3, **how)
        self.shortcut = None if inputs == outputs else Layer(inputs, outputs, 1, **how)

    def __call__(self, x: Map) -> Map:
        """Convolve twice, and add what came in."""
        same = x if self.shortcut is None else self.shortcut(x, rectify=False)
        return nnx.relu(self.second(self.first(x), rectify=False) + same)


class ResNet(nnx.Module):
    """Blocks at the resolution of its patches and below, then the mean over what is left.

    Resolution halves by rearranging and by means, never by strided convolutions: their gradient
    is several times slower on a CPU, and means alias less.
    """

    def __init__(self, config: EncoderConfig, *, planes: int, side: int, rngs: nnx.Rngs):
        widths, norm, self.folds = config.widths, config.norm, config.patch_px.bit_length() - 1
        self.stem = Layer(planes * config.patch_px**2, widths[0], 3, norm=norm, rngs=rngs)
        levels = []
        for inputs, outputs, count in zip(
            (widths[0], *widths), widths, config.blocks, strict=False
        ):
            sides = [(inputs, outputs), *[(outputs, outputs)] * (count - 1)]
            levels.append(nnx.List([Block(a, b, norm=norm, rngs=rngs) for a, b in sides]))
        self.levels = nnx.List(levels)

    def __call__(self, x: Map) -> Float[Array, "batch feature"]:
        """Pool [batch, side, side, plane] to one vector each."""
        return self.last_level(x).mean((1, 2))

    def last_level(self, x: Map) -> Map:
        """What is found, and where, before the mean."""
        for _ in range(self.folds):
            x = fold(x)
        x = self.stem(x)
        for number, level in enumerate(self.levels):
            x = halve_mean(x) if number else x
            for block in level:
                x = block(x)
        return x
