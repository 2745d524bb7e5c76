"""Each object's pixels in blocks of its own, on an accelerator: sums without collisions.

An accelerator that adds a field's pixels to a few hundred objects waits at each of them, once for
every feature. In blocks, most of a sum is a dense product.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from profiler.measure import device

SLOTS = 128  # pixels of a block
BLOCKS = 256  # of a chunk: what is worked on at a time


@dataclass(frozen=True)
class Blocks:
    """The pixels of all objects, in blocks that hold one object's each, in chunks of blocks.

    Attributes:
        owner: Row of each block's object; the number of rows for a block that is not needed.
        pixel: Index in the flat image; the number of pixels for an empty slot.
        rows: Objects there may be.
    """

    owner: Int[Array, "chunk block"]
    pixel: Int[Array, "chunk block slot"]
    rows: int

    def spread(self, values: Array) -> Array:
        """Give each block its object's [cell] value, and 0 if it has none; [chunk, block, 1]."""
        return values.at[self.owner].get(mode="fill", fill_value=0)[..., None]

    def gather(self, values: Array) -> Array:
        """Put [pixel] values of the image in their slots, and 0 in empty ones."""
        return values.at[self.pixel].get(mode="fill", fill_value=0)

    def total(self, sums: Array) -> Array:
        """Add the blocks' [chunk, feature, block] sums of each object; [feature, cell]."""
        flat = jnp.moveaxis(sums, 1, 0).reshape(sums.shape[1], -1)
        add = partial(jax.ops.segment_sum, segment_ids=self.owner.ravel(), num_segments=self.rows)
        return jax.vmap(add)(flat)


def blocks(objects: device.Objects) -> Blocks:
    """Sort the pixels of the field into blocks."""
    cells, pixels = len(objects.offsets) - 1, len(objects.owner)
    place = jnp.arange(pixels, dtype=jnp.int32)
    order = lax.sort((objects.owner, place), num_keys=1, is_stable=True)[1]
    needed = -(-objects.area // SLOTS)
    end = jnp.cumsum(needed)
    chunks = -(-(pixels // SLOTS + cells) // BLOCKS)  # as many as there can be
    block = jnp.arange(chunks * BLOCKS, dtype=jnp.int32)
    owner = jnp.searchsorted(end, block, side="right", method="compare_all").astype(jnp.int32)

    def of_owner(values: Array) -> Array:
        return values.at[owner].get(mode="fill", fill_value=0)[:, None]

    slot = jnp.arange(SLOTS, dtype=jnp.int32)[None]
    rank = (block[:, None] - of_owner(end - needed)) * SLOTS + slot
    at = jnp.where(rank < of_owner(objects.area), of_owner(objects.offsets[:-1]) + rank, pixels)
    pixel = order.at[at].get(mode="fill", fill_value=pixels)
    return Blocks(owner.reshape(chunks, BLOCKS), pixel.reshape(chunks, BLOCKS, SLOTS), rows=cells)
