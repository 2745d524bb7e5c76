"""From a configuration to its network."""

from typing import TypeAlias

from flax import nnx

from plates.errors import lookup
from profiler.segment.heads import HEADS
from profiler.segment.network.blocks import BLOCKS
from profiler.segment.network.config import NetworkConfig, check_fields
from profiler.segment.network.fpn import FPN
from profiler.segment.network.norms import NORMS
from profiler.segment.network.unet import UNet

NECKS = {"unet": UNet, "fpn": FPN}

Network: TypeAlias = UNet | FPN


def build(config: NetworkConfig, *, rngs: nnx.Rngs) -> Network:
    """Make a network with random weights.

    Raises:
        BadModel: A field is of another type, or out of range.
        UnknownName: There is no such block, norm, neck or head.
    """
    check(config)
    return NECKS[config.neck](config, rngs=rngs)


def check(config: NetworkConfig) -> None:
    """Look every word of a configuration up, and see that its fields can be.

    Raises:
        BadModel: A field is of another type, or out of range.
        UnknownName: There is no such block, norm, neck or head.
    """
    check_fields(vars(config))
    for kind, known in (("block", BLOCKS), ("norm", NORMS), ("neck", NECKS), ("head", HEADS)):
        lookup(known, kind=kind, name=getattr(config, kind))


def reach(config: NetworkConfig) -> int:
    """How far an output pixel can see, in pixels: the halo that makes tiles exact.

    A block on the way down at each level, what the neck adds on the way up, one more
    coarse pixel for the poolings, and what the head looks around itself.
    """
    block = BLOCKS[config.block].reach
    down = block * (2 * config.stride - 1)
    up = NECKS[config.neck].reach(config.stride, block=block)
    return down + up + config.stride * (1 + HEADS[config.head].context)
