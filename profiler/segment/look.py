"""What a network sees in a field: compiled once for an architecture, whatever its weights."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeAlias

import jax
from flax import nnx

from profiler.segment.heads.head import Head
from profiler.segment.joining.joints import Grey, grey_of
from profiler.segment.network.config import NetworkConfig
from profiler.segment.normalise import normalise
from profiler.segment.sizes import Seen, see_at
from profiler.segment.tiles import predict
from profiler.shapes import Stains

Program: TypeAlias = Callable[[tuple[Any, ...], Stains, float], tuple[Seen, Grey]]


@lru_cache(maxsize=8)  # compiled programs hold memory
def program(graph: nnx.GraphDef, config: NetworkConfig, head: Head) -> Program:
    """Compile what a network sees, for each size of fields and each scale.

    Networks of one architecture share it: a second plate's, another notebook cell's, and the
    states of one training are not traced anew.

    Args:
        graph: Of the network, as `nnx.split` gives it.
        config: Its architecture.
        head: How its predictions become nuclei.

    Returns:
        A function of the network's states, a field as it was read and a scale, to what is seen,
        and the grey levels that `joining` looks at.
    """

    @partial(jax.jit, static_argnums=2)
    def look(states: tuple[Any, ...], field: Stains, scale: float) -> tuple[Seen, Grey]:
        network = nnx.merge(graph, *states)
        network.eval()
        scaled = normalise(field)
        run = partial(predict, network, config=config)
        return see_at(run, scaled, head, scale=scale), grey_of(scaled)

    return look
