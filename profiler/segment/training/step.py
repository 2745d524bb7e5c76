"""One update of a network, as a pure function of its state."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array

from profiler.nets.state import TrainState, adamw, running_average, unless_frozen
from profiler.segment.heads import HEADS
from profiler.segment.network.build import Network
from profiler.segment.training.example import Example

ENCODER = ("stem", "down")  # what stays as it was while the encoder is frozen


@dataclass(frozen=True)
class Schedule:
    """How far and how fast a network learns.

    Attributes:
        steps: Batches to learn from.
        batch: Crops in each.
        warmup: Steps in which the learning rate rises to its peak, before its cosine decay.
        learning_rate: Its peak.
        weight_decay: AdamW's.
        average: Share of the running average of the weights that a step keeps; the average
            is what is validated and saved.
        frozen: Steps in which the encoder stays as it was.
        bfloat16: Compute in half precision: faster on GPUs, slower on CPUs.
        report_every: Steps between two lines of the log, each of which leaves a checkpoint.
        validate_every: Steps between two validations.
        patience: Validations in a row without a better one that end the training.
    """

    steps: int = 2_000
    batch: int = 6
    warmup: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    average: float = 0.99
    frozen: int = 0
    bfloat16: bool = False
    report_every: int = 20
    validate_every: int = 100
    patience: int = 8


Step = Callable[[TrainState, Example], tuple[TrainState, Any]]


def begin(model: Network, schedule: Schedule) -> tuple[TrainState, Step]:
    """Take a network apart into its first state and the compiled step that advances it."""
    model.train()
    graph, params, statistics = nnx.split(model, nnx.Param, nnx.BatchStat)
    moments = adamw(schedule).init(params)
    state = TrainState(jnp.int32(0), params, statistics, moments, params)
    return state, partial(_advance, graph=graph, schedule=_compiled(schedule))


def _compiled(schedule: Schedule) -> Schedule:
    """A schedule less what no step depends on, so that those which differ in it share a program."""
    usual = Schedule()
    told = {"report_every": usual.report_every, "validate_every": usual.validate_every}
    return replace(schedule, batch=usual.batch, patience=usual.patience, **told)


@partial(jax.jit, static_argnames=("graph", "schedule"))
def _advance(
    state: TrainState, example: Example, *, graph: nnx.GraphDef, schedule: Schedule
) -> tuple[TrainState, Any]:
    objective = partial(_objective, state, example, graph, schedule)
    grads, (parts, statistics) = jax.grad(objective, has_aux=True)(state.params)
    updates, moments = adamw(schedule).update(grads, state.moments, state.params)
    thawed = state.step >= schedule.frozen
    kept = partial(unless_frozen, thawed=thawed, is_frozen=ENCODER.__contains__)
    params = kept(optax.apply_updates(state.params, updates), state.params)
    statistics = kept(statistics, state.statistics)
    average = running_average(state.average, params, schedule.average, state.step)
    return TrainState(state.step + 1, params, statistics, moments, average), parts


def _objective(
    state: TrainState, example: Example, graph: nnx.GraphDef, schedule: Schedule, params: Any
) -> tuple[Array, tuple[Any, Any]]:
    kind = jnp.bfloat16 if schedule.bfloat16 else jnp.float32
    weights = jax.tree.map(lambda x: x.astype(kind), params)
    # A copy, because a network updates its running averages in place.
    network = nnx.merge(graph, weights, state.statistics, copy=True)
    chance = nnx.Rngs(dropout=jax.random.fold_in(jax.random.key(0), state.step))
    predicted = network(example.images.astype(kind), rngs=chance)
    predicted = jax.tree.map(lambda x: x.astype(jnp.float32), predicted)
    parts = HEADS[network.kind].losses(predicted, example.target, example.weight)
    return jnp.stack(parts).sum(), (parts, nnx.state(network, nnx.BatchStat))
