"""What a sort would say of a plane, without sorting it."""

import math
from functools import partial

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32, Int32

Keys = Int32[Array, " pixel"]  # whole numbers in the order of the numbers they stand for
LARGEST = jnp.iinfo(jnp.int32).max


def percentile(plane: Float32[Array, "*shape"], percent: float) -> Float32[Array, ""]:
    """The value below which `percent` of the pixels lie, interpolated between two of them.

    A sort of every pixel for one of them is what normalising a field would mostly cost on a CPU.

    Args:
        plane: Numbers, of any shape.
        percent: 0 to 100.

    Returns:
        That value; NaN if any pixel is.

    Source:
        Bisection over the bits of the answer, 32 rounds of counting; checked against
        numpy.percentile in tests/segment/test_order.py.
    """
    keys = _keys(plane.ravel())
    place = percent / 100 * (keys.size - 1)
    rank = math.floor(place)
    low = _at_rank(keys, rank)
    above = jnp.where(keys > low, keys, LARGEST).min()
    is_alone = (keys <= low).sum(dtype=jnp.int32) == rank + 1
    high = jnp.where(is_alone & (rank + 1 < keys.size), above, low)
    found = _value(low)
    if place > rank:
        found = found + (place - rank) * (_value(high) - found)
    return jnp.where(jnp.isnan(plane).any(), jnp.nan, found)


def _at_rank(keys: Keys, rank: int) -> Int32[Array, ""]:
    """The smallest key that more than `rank` keys do not exceed."""
    ends = jnp.int32(-LARGEST - 1), jnp.int32(LARGEST)
    return lax.fori_loop(0, 32, partial(_halve, keys, rank), ends)[0]


def _halve(keys: Keys, rank: int, _, ends: tuple[Array, Array]) -> tuple[Array, Array]:
    low, high = ends
    middle = (low & high) + ((low ^ high) >> 1)  # their mean, rounded down, without overflow
    is_enough = (keys <= middle).sum(dtype=jnp.int32) > rank
    return jnp.where(is_enough, low, middle + 1), jnp.where(is_enough, middle, high)


def _keys(values: Float32[Array, " pixel"]) -> Keys:
    return _turn(lax.bitcast_convert_type(values, jnp.int32))


def _value(key: Int32[Array, ""]) -> Float32[Array, ""]:
    return lax.bitcast_convert_type(_turn(key), jnp.float32)


def _turn(bits: Int32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Turn the order of negative numbers around: their bits grow with their size."""
    return jnp.where(bits < 0, bits ^ LARGEST, bits)
