"""Cells of one crop laid over another: more that touch and overlap than images hold. On the device.

Light of cells that overlap adds up under a widefield microscope, so it is added here too.

Source:
    Ghiasi et al. 2021 (CVPR, "Simple copy-paste"); the winners of the 2018 Data Science Bowl
    copied nuclei onto one another for the same reason (Caicedo et al. 2019, Nat Methods 16:1247).
"""

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Bool, Float, Int

from profiler.segment.training.blur import blurred
from profiler.segment.training.example import Crops

MOST = 2048  # ids that are told apart; a crop has fewer
CHOSEN = 0.6  # share of the other crop's cells that stand alone
HALO_PX = 3  # how far a cell's own light reaches beyond its outline
HIDDEN = 0.35  # share of a cell that another may cover
BETWEEN_PX = 5  # side of the square in which two cells touch
BETWEEN_WEIGHT = 4.0  # of pixels there, as `fields` weighs them

Plane = Float[Array, "size size"]
Labels = Int[Array, "size size"]
Mask = Bool[Array, "size size"]


def paste(key: Array, crops: Crops, *, share: float) -> Crops:
    """Lay cells of each crop's neighbour in the batch over a share of the crops.

    Only cells that stand alone are taken, with their halo; one that would cover more than a third
    of itself in cells that are there already is left out. Where two overlap, the brighter one is
    in front; what is left of one that is mostly hidden counts in no loss.

    Args:
        key: Random.
        crops: Turned and scaled, on the normalised scale, whose background is near 0.
        share: Of the crops, that get cells.
    """
    others = jax.tree.map(lambda part: jnp.roll(part, 1, axis=0), crops)
    keys = random.split(key, crops.labels.shape[0])
    pasted = jax.vmap(_pasted)(keys, crops, others)
    is_pasted = random.uniform(random.fold_in(key, 1), crops.labels.shape[:1]) < share
    return jax.tree.map(
        lambda new, old: jnp.where(is_pasted.reshape(-1, *(1,) * (old.ndim - 1)), new, old),
        pasted,
        crops,
    )


def _pasted(key: Array, crop: Crops, other: Crops) -> Crops:
    pick_key, gain_key = random.split(key)
    is_picked = random.uniform(pick_key, (MOST,)) < CHOSEN
    is_picked &= ~_of_ids(
        _touching(other.labels, 2 * HALO_PX + 1), other.labels, jax.ops.segment_max
    )
    there = crop.labels > 0
    covered = _of_ids(there.astype(jnp.float32), other.labels) / _areas(other.labels)
    unknown = _of_ids((crop.weight == 0).astype(jnp.float32), other.labels)
    is_picked &= (covered <= HIDDEN) & (unknown == 0)
    picked = jnp.where(is_picked.at[0].set(False)[other.labels % MOST], other.labels, 0)

    gain = jnp.exp(random.uniform(gain_key, minval=-0.7, maxval=0.4))
    reach = _spread(picked > 0, HALO_PX)
    soft = blurred(reach.astype(jnp.float32), 1.0)[..., None]
    light = gain * jnp.clip(other.images - _ground(other)[None, None], 0.0, None) * soft

    mean = [
        (_of_ids(plane, labels) / _areas(labels))[labels % MOST]
        for plane, labels in (
            (crop.images[..., 0], crop.labels),
            (gain * other.images[..., 0], picked),
        )
    ]
    in_front = (picked > 0) & (~there | (mean[1] >= mean[0]))
    labels = jnp.where(in_front, picked + crop.labels.max(), crop.labels)
    hidden = _of_ids((in_front & there).astype(jnp.float32), crop.labels) / _areas(crop.labels)
    is_lost = (hidden > HIDDEN)[crop.labels % MOST] & there & ~in_front
    weight = jnp.where(_touching(labels, BETWEEN_PX), BETWEEN_WEIGHT, crop.weight)
    weight = jnp.where((crop.weight == 0) | is_lost, 0.0, weight)
    return Crops(crop.images + light, jnp.where(is_lost, 0, labels), weight)


def _ground(crop: Crops) -> Float[Array, " channel"]:
    """Mean of each stain where no cell lies."""
    is_bare = (crop.labels == 0)[..., None]
    bare = jnp.where(is_bare, crop.images, 0.0).sum((0, 1))
    return bare / jnp.maximum(is_bare.sum(), 1)


def _of_ids(plane: Array, labels: Labels, of=jax.ops.segment_sum) -> Array:
    """A sum or maximum over each id's pixels, [MOST]."""
    return of(plane.ravel(), labels.ravel() % MOST, num_segments=MOST)


def _areas(labels: Labels) -> Float[Array, " most"]:
    return jnp.maximum(_of_ids(jnp.ones(labels.shape), labels), 1.0)


def _touching(labels: Labels, side: int) -> Mask:
    """Pixels with two different cells in the square around them."""
    last = jnp.iinfo(labels.dtype).max
    most = _filtered(labels, side, jax.lax.max, 0)
    least = _filtered(jnp.where(labels > 0, labels, last), side, jax.lax.min, last)
    return (most > 0) & (most != least)


def _spread(mask: Mask, reach: int) -> Mask:
    return _filtered(mask.astype(jnp.int32), 2 * reach + 1, jax.lax.max, 0) > 0


def _filtered(labels: Labels, side: int, how, start: int) -> Labels:
    return jax.lax.reduce_window(labels, jnp.int32(start), how, (side, side), (1, 1), "SAME")
