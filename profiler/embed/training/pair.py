"""Co-teaching: two networks that learn side by side, each from what the other finds easy.

Networks learn right labels before wrong ones, so that crops of a large loss are more often wrong;
where the other network chooses, one's own errors do not feed themselves.

Source:
    Han et al. 2018 (arXiv:1804.06872), algorithm 1. There the two begin with weights of their own;
    here with one encoder, which may be pre-trained, and heads of their own, and they see every
    crop varied differently.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Float, Int

from profiler.embed.network.build import Model
from profiler.embed.training.objectives.objective import Batch, ObjectiveConfig, keys_of
from profiler.embed.training.step import Offsets, Step, Task, begin, judge, moved
from profiler.nets.state import TrainState

PerNetwork = Float[Array, "network batch"]


def begin_pair(
    one: Model, other: Model, task: Task, *, offsets: Offsets
) -> tuple[TrainState, Step]:
    """Take two models apart, as `step.begin` does one.

    Returns:
        A state whose leaves, but for the step, hold first what is the one's, then the other's; and
        a step that advances both and gives the mean loss of what they learnt from.
    """
    state, step = begin(one, task, offsets=offsets)
    second, _ = begin(other, task, offsets=offsets)
    pair = jax.tree.map(lambda *leaves: jnp.stack(leaves), state, second)
    return pair._replace(step=state.step), replace(step, advance=_advance_pair)


def first(pair: TrainState) -> TrainState:
    """The state of the one model alone."""
    return _own(pair._replace(step=None), 0)._replace(step=pair.step)


def exchanged(losses: PerNetwork, *, step: Int[Array, ""], config: ObjectiveConfig) -> PerNetwork:
    """1 for the crops of a batch that each is to learn, as the other finds them easiest; else 0.

    All are learnt at first, then fewer and fewer until `config.forget` of them are left out.
    """
    share = config.forget * jnp.minimum(1.0, step / config.forget_over)
    ranks = losses.argsort(axis=1).argsort(axis=1)
    kept = ranks < jnp.round((1 - share) * losses.shape[1])
    return kept[::-1].astype(losses.dtype)


@partial(jax.jit, static_argnames=("graph", "task"), donate_argnums=0)
def _advance_pair(
    state: TrainState, batch: Batch, *, key: Array, offsets: Offsets, graph: Any, task: Task
) -> tuple[TrainState, Array]:
    keys = jax.tree.map(_two, keys_of(key, state.step))
    each = state._replace(step=jnp.tile(state.step, 2))
    see = partial(judge, batch=batch, offsets=offsets, graph=graph, task=task)

    def losses_of(params: Any) -> tuple[PerNetwork, Any]:
        # Written out: XLA is slow on a CPU at convolutions with two kernels at once, and slower
        # still at those inside a loop.
        both = (each._replace(params=params), keys)
        found = [see(*_own(both, number)) for number in range(2)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    losses, learn_from, statistics = jax.vjp(losses_of, state.params, has_aux=True)
    kept = exchanged(losses, step=state.step, config=task.objective)
    kept = kept if batch.weights is None else kept * batch.weights[None]
    counted = kept / jnp.maximum(kept.sum(1, keepdims=True), 1e-6)
    (grads,) = learn_from(counted)
    new = jax.vmap(partial(moved, task=task))(each, grads, statistics)
    return new._replace(step=new.step[0]), (losses * counted).sum(1).mean()


def _own(both: Any, number: int) -> Any:
    """What is one network's, of leaves that hold both."""
    return jax.tree.map(lambda leaf: leaf[number], both)


def _two(key: Array) -> Array:
    return jax.vmap(random.fold_in, in_axes=(None, 0))(key, jnp.arange(2))
