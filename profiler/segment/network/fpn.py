"""A feature pyramid: few features, the same number at every level."""

from typing import Any

from flax import nnx

from profiler.segment.heads import HEADS
from profiler.segment.network.blocks import Layer
from profiler.segment.network.config import NetworkConfig
from profiler.segment.network.encoder import double, encode, make_encoder
from profiler.shapes import Images


class FPN(nnx.Module):
    """Lin et al. 2017 (arXiv:1612.03144), down to full resolution."""

    def __init__(self, config: NetworkConfig, *, rngs: nnx.Rngs):
        widths = config.widths
        width = widths[min(1, len(widths) - 1)]
        self.stem, down = make_encoder(config, rngs=rngs)
        self.down = nnx.List(down)
        self.dropout = nnx.Dropout(config.dropout, broadcast_dims=(1, 2))
        self.lateral = nnx.List([nnx.Conv(each, width, (1, 1), rngs=rngs) for each in widths])
        smooth = [Layer(width, width, 3, norm=config.norm, rngs=rngs) for _ in widths]
        self.smooth = nnx.List(smooth)
        self.kind = config.head
        self.head = HEADS[config.head].make((width,) * len(widths), rngs)

    def __call__(self, images: Images, *, rngs: nnx.Rngs | None = None) -> Any:
        """Predict a batch whose sides are multiples of the stride; `rngs` is for dropout."""
        seen = encode(images, stem=self.stem, down=self.down, dropout=self.dropout, rngs=rngs)
        flat = [lateral(x) for lateral, x in zip(self.lateral, seen, strict=True)]
        levels = [flat.pop()]
        while flat:
            levels.insert(0, flat.pop() + double(levels[0]))
        smooth = (layer(x) for layer, x in zip(self.smooth, levels, strict=True))
        return HEADS[self.kind].read(self.head, tuple(smooth))

    @staticmethod
    def reach(stride: int, *, block: int) -> int:
        """How far the way up sees, in pixels: one 3x3 convolution at the coarsest level."""
        return stride
