"""What changes without a stain, without the cell, or without all that lies around it."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from profiler.embed.explain.line import Line
from profiler.embed.network.build import Model
from profiler.embed.network.encoder import CropBatch

Masks = Bool[Array, "batch side side"]
PerCrop = Float[Array, " batch"]


class Places(NamedTuple):
    """Change of a line where part of the crop is blank.

    Attributes:
        cell: Without the cell itself.
        surroundings: Without all that is not the cell.
    """

    cell: PerCrop
    surroundings: PerCrop


def occlude_stains(
    model: Model, line: Line, crops: CropBatch, instead: CropBatch
) -> Float[Array, "batch channel"]:
    """Replace each stain in turn.

    Args:
        model: For inference.
        line: What is explained.
        crops: Intensities from 0 to 1, [batch, side, side, channel].
        instead: What each stain is replaced by: its background level, or another cell's.

    Returns:
        line(without the stain) - line(crop): below 0 where the stain speaks for the line.
    """
    is_stain = jnp.eye(crops.shape[-1], dtype=bool)[:, None, None, None]
    whole = line(model.encoder(crops))
    changed = [line(model.encoder(jnp.where(one, instead, crops))) - whole for one in is_stain]
    return jnp.stack(changed, axis=-1)


def occlude_places(
    model: Model, line: Line, crops: CropBatch, instead: CropBatch, *, inside: Masks
) -> Places:
    """Replace the cell, then its surroundings, in all stains.

    Args:
        model: For inference.
        line: What is explained.
        crops: Intensities from 0 to 1, [batch, side, side, channel].
        instead: What pixels are replaced by, the stains' background level.
        inside: Which pixels are the cell's.

    Returns:
        line(without) - line(crop). A network that goes by the cell changes with it; one that
        changes more without the surroundings looks at the neighbours.
    """
    whole, own = line(model.encoder(crops)), inside[..., None]
    return Places(
        line(model.encoder(jnp.where(own, instead, crops))) - whole,
        line(model.encoder(jnp.where(own, crops, instead))) - whole,
    )
