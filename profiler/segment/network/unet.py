"""A U-Net whose skips are added."""

from itertools import pairwise
from typing import Any

from flax import nnx

from profiler.segment.heads import HEADS
from profiler.segment.network.blocks import BLOCKS
from profiler.segment.network.config import NetworkConfig
from profiler.segment.network.encoder import double, encode, make_encoder
from profiler.shapes import Images


class UNet(nnx.Module):
    """Ronneberger et al. 2015 (arXiv:1505.04597), with padded convolutions and added skips.

    Skips are added, as in LinkNet (arXiv:1707.03718), not concatenated: the widest
    convolution, at full resolution, becomes three times cheaper.
    """

    def __init__(self, config: NetworkConfig, *, rngs: nnx.Rngs):
        make, upwards = BLOCKS[config.block].make, list(pairwise(config.widths[::-1]))
        self.stem, down = make_encoder(config, rngs=rngs)
        self.down = nnx.List(down)
        self.dropout = nnx.Dropout(config.dropout, broadcast_dims=(1, 2))
        self.narrow = nnx.List([nnx.Conv(a, b, (1, 1), rngs=rngs) for a, b in upwards])
        self.up = nnx.List([make(b, b, norm=config.norm, rngs=rngs) for _, b in upwards])
        self.kind = config.head
        self.head = HEADS[config.head].make(config.widths, rngs)

    def __call__(self, images: Images, *, rngs: nnx.Rngs | None = None) -> Any:
        """Predict a batch whose sides are multiples of the stride; `rngs` is for dropout."""
        skips = encode(images, stem=self.stem, down=self.down, dropout=self.dropout, rngs=rngs)
        levels = [skips.pop()]
        for narrow, block in zip(self.narrow, self.up, strict=True):
            levels.insert(0, block(double(narrow(levels[0])) + skips.pop()))
        return HEADS[self.kind].read(self.head, tuple(levels))

    @staticmethod
    def reach(stride: int, *, block: int) -> int:
        """How far the way up sees, in pixels: a block at every level but the coarsest."""
        return block * (stride - 1)
