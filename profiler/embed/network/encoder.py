"""Any number of stains through one backbone."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from profiler.embed.network.config import EncoderConfig
from profiler.embed.network.intensity import SCALES

CropBatch = Float[Array, "batch side side channel"]
Vectors = Float[Array, "batch _"]  # as long as the stains make it
ByStain = Float[Array, "batch channel feature"]
Shown = Float[Array, "batch channel side side plane"]


def concatenate(vectors: ByStain) -> Vectors:
    """One stain's features after the other's."""
    return vectors.reshape(len(vectors), -1)


def mean(vectors: ByStain) -> Vectors:
    """The mean over stains."""
    return vectors.mean(1)


# Concatenated, features still say which stain they are of, as CellProfiler's columns do, and a
# fragmented nucleus is not mistaken for a fragmented network of mitochondria. The mean is as long
# for one stain as for six, but forgets whose pattern it is. Neither sees where two stains overlap:
# the features of colocalisation are measured beside it.
POOLS: dict[str, Callable[[ByStain], Vectors]] = {"concatenate": concatenate, "mean": mean}


class Encoder(nnx.Module):
    """A bag of channels: each stain alone through the backbone, which all stains share."""

    def __init__(self, config: EncoderConfig, backbone: Callable[..., Vectors]):
        self.scale, self.stains = config.scale, config.stains
        self.backbone = backbone

    def __call__(self, crops: CropBatch) -> Vectors:
        """Turn crops, intensities 0 to 1, into vectors."""
        return self.see(self.show(crops))

    def show(self, crops: CropBatch) -> Shown:
        """Lay out what the backbone sees of each stain, in one plane or two."""
        batch, side, _, channels = crops.shape
        planes = jnp.moveaxis(crops, -1, 1).reshape(batch * channels, side, side, 1)
        scale, _ = SCALES[self.scale]
        shown = scale(planes.astype(jnp.float32)).astype(crops.dtype)
        return shown.reshape(batch, channels, side, side, -1)

    def see(self, shown: Shown) -> Vectors:
        """Turn what is shown into vectors."""
        batch, channels = shown.shape[:2]
        found = self.backbone(shown.reshape(batch * channels, *shown.shape[2:]))
        return POOLS[self.stains](found.reshape(batch, channels, -1))
