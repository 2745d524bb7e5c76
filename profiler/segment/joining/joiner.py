"""The step after a head's decoder: the kernel that suits the backend, behind one contract."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import numpy as np

from profiler.segment.confidence.evidence import most_nuclei
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.joining.join import Joining, join
from profiler.segment.joining.joints import Pixels, Sums, add_up, weigh
from profiler.segment.joining.joints_cpu import add_up_cpu

Joiner: TypeAlias = Callable[[Nuclei, Pixels, float], Nuclei]


def joiner(joining: Joining | None, *, min_area_px: int, is_cpu: bool) -> Joiner:
    """Make a function that puts pieces of one nucleus together.

    It takes the nuclei of a field, what is seen of them, and how many times larger than the field
    the network saw it.

    Args:
        joining: The network's own; None leaves nuclei as they are.
        min_area_px: None is smaller, so that there is room for no more.
        is_cpu: Whether it runs there.
    """
    if joining is None:
        return lambda nuclei, _pixels, _scale: nuclei
    return partial(_join_cpu if is_cpu else _join, joining, min_area_px)


@partial(jax.jit, static_argnums=(0, 1, 4))
def _join(
    joining: Joining, min_area_px: int, nuclei: Nuclei, pixels: Pixels, scale: float
) -> Nuclei:
    most = most_nuclei(pixels.labels.size, min_area_px)
    return join(nuclei, weigh(add_up(pixels, most=most), scale=scale), joining, most=most)


def _join_cpu(
    joining: Joining, min_area_px: int, nuclei: Nuclei, pixels: Pixels, scale: float
) -> Nuclei:
    most = most_nuclei(pixels.labels.size, min_area_px)
    sums = add_up_cpu(jax.tree.map(np.asarray, pixels), most=most)
    return _decide(joining, most, nuclei, sums, scale)


@partial(jax.jit, static_argnums=(0, 1, 4))
def _decide(joining: Joining, most: int, nuclei: Nuclei, sums: Sums, scale: float) -> Nuclei:
    return join(nuclei, weigh(sums, scale=scale), joining, most=most)
