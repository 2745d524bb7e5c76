"""Dense ranks: how many smaller values of its channel there are among a compartment's objects."""

from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np
from jax import lax

from profiler.measure import cpu, device
from profiler.measure.correlation.levels import levels


class Ranks(NamedTuple):
    """The ranks of one channel in one compartment.

    Attributes:
        of_pixel: Distinct smaller values among the pixels of all objects, [pixel].
        count: Distinct values among them.
    """

    of_pixel: Any
    count: Any


def ranks_cpu(signal: cpu.Signal) -> Ranks:
    """Rank the pixels of all objects together."""
    found = signal.once(levels)
    return Ranks(*_ranked(found.index, len(found.values), signal.objects.order))


@no_type_check
@cpu.compiled()
def _ranked(index, count, order):
    rank = np.zeros(count, np.int32)
    for pixel in order:
        rank[index[pixel]] = 1
    distinct = 0
    for level in range(count):
        occurs = rank[level]
        rank[level] = distinct
        distinct += occurs
    of_pixel = np.empty(len(order), np.int32)
    for i, pixel in enumerate(order):
        of_pixel[i] = rank[index[pixel]]
    return of_pixel, distinct


def ranks_jax(signal: device.Signal) -> Ranks:
    """Rank the pixels of all objects together, and background as if it were one value more."""
    order, is_new = signal.once(_ascending)
    is_inside = (signal.objects.owner < len(signal.objects.offsets) - 1)[order]
    # The first of an object among equals is where the rank goes up.
    inside = jnp.cumsum(is_inside) - is_inside
    before = lax.cummax(jnp.where(is_new, inside, 0))
    steps = is_inside & (inside == before)
    rank = jnp.cumsum(steps) - 1
    of_pixel = jnp.zeros_like(rank).at[order].set(rank, unique_indices=True)
    return Ranks(of_pixel, steps.sum())


def _ascending(plane: Any) -> tuple[Any, Any]:
    """The pixels by value, and whether each is the first of its value."""
    pixel = jnp.arange(plane.size, dtype=jnp.int32)
    values, order = lax.sort((plane.ravel(), pixel), num_keys=1)
    return order, jnp.concatenate([jnp.ones(1, bool), values[1:] != values[:-1]])
