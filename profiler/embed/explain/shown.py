"""An encoder cut in two: what it is shown of a crop, and what it makes of that.

Attribution starts from what is shown. Standardised, a crop fading to a plain grey is the same
picture all the way, then suddenly none: a path of pixels would put all change into one jump, which
no sum over steps finds. Between what is shown of both, the path is straight.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from profiler.embed.network.encoder import POOLS, CropBatch, Encoder, Vectors
from profiler.embed.network.intensity import SCALES

Shown = Float[Array, "batch channel side side plane"]


def show(encoder: Encoder, crops: CropBatch) -> Shown:
    """Lay out what the backbone sees of each stain, in one plane or two."""
    batch, side, _, channels = crops.shape
    planes = jnp.moveaxis(crops, -1, 1).reshape(batch * channels, side, side, 1)
    scale, _ = SCALES[encoder.scale]
    return scale(planes.astype(jnp.float32)).reshape(batch, channels, side, side, -1)


def see(encoder: Encoder, shown: Shown) -> Vectors:
    """Turn what is shown into vectors, as the encoder does."""
    batch, channels, side, _, planes = shown.shape
    found = encoder.backbone(shown.reshape(batch * channels, side, side, planes))
    return POOLS[encoder.stains](found.reshape(batch, channels, -1))
