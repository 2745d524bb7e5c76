"""How often grey levels meet at a distance: what Haralick's features follow from.

Two pixels of an object form a pair if they lie a step apart. `cooccurrence.py` counts them on the
CPU.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, UInt32

from plates.errors import BadRecipe
from profiler.measure import device

LEVELS = 256
DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))  # steps down and to the right
LN_2 = float(np.log(2))
MOST_CELLS = 65535  # with two levels, so many fit into the 32 bits of a key
NOTHING = np.uint32(0xFFFFFFFF)


class Pairs(NamedTuple):
    """The pairs of every object by scale and direction, [scale, direction, cell].

    Both orders of a pair count alike. All but the number is undefined where there is no pair.

    Attributes:
        number: Of pairs; NaN, too, where there is none.
        mean: Of the level.
        variance: Of the level.
        contrast: Mean square of the difference of a pair's levels.
        homogeneity: Mean of 1 / (1 + that square).
        concentration: Sum of the squared probabilities of ordered pairs of levels.
        entropy: Of ordered pairs of levels; in bits, like all here.
        entropy_of_level: Of the level.
        entropy_of_sum: Of the sum of a pair's levels.
        entropy_of_difference: Of their difference without its sign.
        shared_entropy: What the level of one pixel tells about that of the other.
        spread_of_difference: Variance of the probabilities of the differences from 0 to the
            highest level of the object.
    """

    number: Any
    mean: Any
    variance: Any
    contrast: Any
    homogeneity: Any
    concentration: Any
    entropy: Any
    entropy_of_level: Any
    entropy_of_sum: Any
    entropy_of_difference: Any
    shared_entropy: Any
    spread_of_difference: Any


def pairs_jax(
    grey: Int[Array, "height width"],
    objects: device.Objects,
    *,
    scales: tuple[int, ...],
    skips_zeros: bool,
) -> Pairs:
    """Count the pairs of every object, on an accelerator.

    Args:
        grey: Level of each pixel.
        objects: Whose pairs, at most `MOST_CELLS`.
        scales: Distances in pixels.
        skips_zeros: Whether pixels of level 0 are as if outside their object.

    Raises:
        BadRecipe: More cells than that.
    """
    cells = len(objects.offsets) - 1
    if cells > MOST_CELLS:
        raise BadRecipe(
            f"Texture tells at most {MOST_CELLS} cells of a field apart on an accelerator; found "
            f"max_cells {cells}. Lower it, or measure on the CPU."
        )
    owner = objects.owner.reshape(grey.shape)
    is_out = (owner == cells) | ((grey == 0) & skips_zeros)
    place = jnp.where(is_out, NOTHING, (owner * LEVELS + grey).astype(jnp.uint32))
    pad = max(scales)
    around = jnp.pad(place, pad, constant_values=NOTHING)
    highest = -objects.lowest(-grey.ravel())

    def at(step: Int[Array, " 2"]) -> Pairs:
        partner = lax.dynamic_slice(around, step + pad, place.shape)
        return _describe(lax.sort(_keys(place, partner)), highest)

    # One step at a time: the arrays of all of them would fill the memory.
    steps = [(down * scale, along * scale) for scale in scales for down, along in DIRECTIONS]
    found = lax.map(at, jnp.array(steps, jnp.int32))
    return jax.tree.map(lambda field: field.reshape(len(scales), len(DIRECTIONS), cells), found)


def _keys(
    place: UInt32[Array, "height width"], partner: UInt32[Array, "height width"]
) -> UInt32[Array, " pixel"]:
    """One number for each pair: its owner in 16 bits, higher and lower level in 8 each."""
    is_pair = (place // LEVELS == partner // LEVELS) & (place != NOTHING)
    key = jnp.maximum(place, partner) * LEVELS + jnp.minimum(place, partner) % LEVELS
    return jnp.where(is_pair, key, NOTHING).ravel()


def _describe(keys: UInt32[Array, " pixel"], highest: Int[Array, " cell"]) -> Pairs:
    """Describe the pairs of every object by their sorted keys."""
    cells = len(highest)
    count = _run_lengths(keys)
    # Only the first of equal keys counts; the others, like what is no pair, belong to nobody.
    owner = jnp.where(count > 0, (keys // LEVELS**2).astype(jnp.int32), cells)
    high, low = ((keys // unit % LEVELS).astype(jnp.int32) for unit in (LEVELS, 1))

    def tally(values: Array, bins: Array, length: int) -> Array:
        """Sum by owner and bin, [cell, bin]."""
        whole = jax.ops.segment_sum(values, owner * length + bins, cells * length)
        return whole.reshape(cells, length)

    def total(values: Array) -> Array:
        """Sum by owner, by way of the higher level: long float32 sums would drift."""
        return tally(values, high, LEVELS).sum(axis=1)

    by_difference = tally(count, high - low, LEVELS)
    number = by_difference.sum(axis=1)
    by_level = tally(count, high, LEVELS) + tally(count, low, LEVELS)
    of_level = _share(by_level, 2 * number[:, None])
    of_sum = _share(tally(count, high + low, 2 * LEVELS - 1), number[:, None])
    of_difference = _share(by_difference, number[:, None])

    share = _share(count, number.at[owner].get(mode="fill", fill_value=1))
    ordered = jnp.where(high == low, share, share / 2)
    levels = [by_level.at[owner, bins].get(mode="fill", fill_value=1) for bins in (high, low)]
    twice = 2 * number.at[owner].get(mode="fill", fill_value=1)
    level = jnp.arange(LEVELS, dtype=jnp.float32)[None]
    mean = (of_level * level).sum(axis=1)
    span = (highest + 1)[:, None]
    unevenness = jnp.where(level < span, (of_difference - 1 / span) ** 2, 0)
    return Pairs(
        number=number,
        mean=mean,
        variance=(of_level * (level - mean[:, None]) ** 2).sum(axis=1),
        contrast=(of_difference * level**2).sum(axis=1),
        homogeneity=(of_difference / (1 + level**2)).sum(axis=1),
        concentration=total(share * ordered),
        entropy=-total(_weighted(share, ordered)),
        entropy_of_level=-(of_level * _bits(by_level, 2 * number[:, None])).sum(axis=1),
        entropy_of_sum=-_weighted(of_sum, of_sum).sum(axis=1),
        entropy_of_difference=-_weighted(of_difference, of_difference).sum(axis=1),
        # Not the difference of two entropies: of a small one, that would leave only noise.
        shared_entropy=total(share * _bits_shared(share, ordered, levels, twice)),
        spread_of_difference=unevenness.sum(axis=1) / span[:, 0],
    )


def _run_lengths(keys: UInt32[Array, " pixel"]) -> Int[Array, " pixel"]:
    """How many equal keys begin here; 0 within them, and for what is no pair."""
    place = jnp.arange(len(keys), dtype=jnp.int32)
    is_first = jnp.concatenate([jnp.array([True]), keys[1:] != keys[:-1]])
    first = jnp.where(is_first, place, len(keys))
    later = lax.cummin(first, reverse=True)
    after = jnp.concatenate([later[1:], jnp.array([len(keys)], jnp.int32)])
    return jnp.where(is_first & (keys != NOTHING), after - place, 0)


def _share(count: Array, whole: Array) -> Array:
    """A part of a whole, exactly 1 for all of it: compilers may divide by way of a reciprocal."""
    return jnp.where(count == whole, 1, count / whole)


def _bits(count: Array, whole: Array) -> Array:
    """Binary logarithm of a part of a whole, 0 for none of it; exact also of nearly all of it."""
    whole = jnp.broadcast_to(whole, count.shape)
    is_most = 2 * count > whole
    nearly = jnp.log1p(-jnp.where(is_most, whole - count, 0) / jnp.maximum(whole, 1)) / LN_2
    return jnp.where(is_most, nearly, jnp.log2(jnp.where(count > 0, count / whole, 1)))


def _bits_shared(share: Array, ordered: Array, levels: list[Array], twice: Array) -> Array:
    """Binary logarithm of how much likelier pairs are than by chance.

    Where one level is nearly all there is, the ratio is 1 but for what float32 leaves out: there
    it is made of what the pairs, and the levels, lack to the whole.
    """
    a, b = (level / twice for level in levels)
    usual = jnp.log2(jnp.where(share > 0, ordered / (a * b), 1))
    is_most = (2 * levels[0] > twice) & (2 * levels[1] > twice)  # then they are one level
    lacking = [jnp.where(is_most, twice - level, 0) for level in levels]
    pairs_lacking = jnp.where(is_most, twice - jnp.rint(share * twice).astype(jnp.int32), 0)
    more = (sum(lacking) - pairs_lacking) / twice - lacking[0] / twice * (lacking[1] / twice)
    return jnp.where(is_most, jnp.log1p(more / (a * b)) / LN_2, usual)


def _weighted(weight: Array, value: Array) -> Array:
    """Weight times the binary logarithm of a value, 0 where the weight is."""
    return weight * jnp.log2(jnp.where(weight > 0, value, 1))
