"""One update of a model, as a pure function of its state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import random
from jaxtyping import Array, Float

from profiler.embed.network.build import Model
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.objectives import OBJECTIVES, ObjectiveConfig
from profiler.embed.training.objectives.objective import Batch, Keys, Scene, keys_of
from profiler.embed.training.thaw import graphs_by_start, keep_frozen
from profiler.nets.state import TrainState, adamw, running_average


@dataclass(frozen=True)
class Schedule:
    """How far and how fast a model learns.

    Attributes:
        steps: Batches to learn from.
        batch: Crops in each.
        warmup: Steps in which the learning rate rises to its peak, before its cosine decay.
        learning_rate: Its peak.
        weight_decay: AdamW's.
        average: Share of the running average of the weights that a step keeps; the average
            is what is validated and saved.
        frozen: Steps in which the encoder stays as it was, running averages included, and only
            the head learns.
        thaw: For fine-tuning in stages, instead of `frozen`: the step from which the head learns,
            then the outermost level of the encoder, and so on inwards; the last holds for all
            that is further in. (0, 500) is `frozen=500`.
        bfloat16: Compute in half precision: faster on GPUs, slower on CPUs.
        report_every: Steps between two lines of the log.
        save_every: Steps between two checkpoints.
    """

    steps: int = 2_000
    batch: int = 64
    warmup: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    average: float = 0.99
    frozen: int = 0
    bfloat16: bool = False
    report_every: int = 50
    save_every: int = 200
    thaw: tuple[int, ...] = ()

    @property
    def starts(self) -> tuple[int, ...]:
        """The step from which each level learns, from the head inwards."""
        return self.thaw or (0, self.frozen)


@dataclass(frozen=True)
class Task:
    """What is learnt, and how: all settings that a step depends on.

    Attributes:
        objective: What is learnt.
        schedule: How fast.
        augment: How crops are varied.
        seed: Of everything random.
    """

    objective: ObjectiveConfig
    schedule: Schedule
    augment: AugmentConfig
    seed: int


Offsets = Float[Array, " class"]


@dataclass(frozen=True)
class Step:
    """What advances a state: one compiled program for each stage of the thaw.

    Attributes:
        advance: From a state and a batch to the next state and the loss.
        graphs: The network without its numbers, by the step from which each holds.
        offsets: What the loss adds to the logit of each class.
        task: What is learnt, less what no step depends on.
        key: Of everything random.
    """

    advance: Callable[..., tuple[TrainState, Array]]
    graphs: Mapping[int, Any]
    offsets: Offsets
    task: Task
    key: Array

    def __call__(self, state: TrainState, batch: Batch, *, at: int) -> tuple[TrainState, Array]:
        """Learn from a batch.

        Args:
            state: Before; it is used up.
            batch: What is learnt from.
            at: The state's step, known to the host: asking the device would wait for it.
        """
        graph = self.graphs[max(first for first in self.graphs if first <= at)]
        return self.advance(
            state, batch, key=self.key, offsets=self.offsets, graph=graph, task=self.task
        )


def begin(model: Model, task: Task, *, offsets: Offsets) -> tuple[TrainState, Step]:
    """Take a model apart into its first state and the compiled step that advances it.

    Args:
        model: The model to begin with; it stays as it is.
        task: What is learnt, and how fast.
        offsets: What the loss adds to the logit of each class; empty without labels.

    Returns:
        The state, and the step that takes it and a batch, and gives the next state and the loss.
    """
    _, params, statistics = nnx.split(model, nnx.Param, nnx.BatchStat)
    moments = adamw(task.schedule).init(params)
    state = TrainState(jnp.int32(0), params, statistics, moments, params)
    # Copies, because a step gives its state's memory back.
    state = jax.tree.map(partial(jnp.array, copy=True), state)
    graphs = graphs_by_start(model, task.schedule.starts)
    return state, Step(_advance, graphs, offsets, _compiled(task), random.key(task.seed))


def _compiled(task: Task) -> Task:
    """A task less what no step depends on: members of an ensemble, say, are compiled once."""
    usual = Schedule()
    told = {"report_every": usual.report_every, "save_every": usual.save_every}
    return replace(task, schedule=replace(task.schedule, batch=usual.batch, **told), seed=0)


@partial(jax.jit, static_argnames=("graph", "task"), donate_argnums=0)
def _advance(
    state: TrainState, batch: Batch, *, key: Array, offsets: Offsets, graph: Any, task: Task
) -> tuple[TrainState, Array]:
    keys = keys_of(key, state.step)
    see = partial(judge, batch=batch, offsets=offsets, graph=graph, task=task)

    def loss(params: Any) -> tuple[Array, Any]:
        found, statistics = see(state._replace(params=params), keys)
        found = found if batch.weights is None else found * batch.weights
        return found.mean(), statistics

    (found, statistics), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    return moved(state, grads, statistics, task=task), found


def judge(
    state: TrainState, keys: Keys, *, batch: Batch, offsets: Offsets, graph: Any, task: Task
) -> tuple[Array, Any]:
    """How far a network is from what is asked.

    Args:
        state: Of the network.
        keys: What is random.
        batch: What it is to learn from.
        offsets: What the loss adds to the logit of each class.
        graph: The network without its numbers.
        task: What is asked.

    Returns:
        The loss of each crop, or of the batch; and the running averages, the batch included.
    """
    kind = jnp.dtype(jnp.bfloat16 if task.schedule.bfloat16 else jnp.float32)

    def network(weights: Any) -> Model:
        weights = jax.tree.map(lambda x: x.astype(kind), weights)
        # A copy, because a network updates its running averages in place.
        return nnx.merge(graph, weights, state.statistics, copy=True)

    pupil, teacher = network(state.params), network(state.average)
    own = (task.objective, task.augment, kind, keys)
    found = OBJECTIVES[task.objective.name].loss(Scene(pupil, teacher, batch, offsets, *own))
    return found, nnx.state(pupil, nnx.BatchStat)


def moved(state: TrainState, grads: Any, statistics: Any, *, task: Task) -> TrainState:
    """The next state, with what is frozen as it was."""
    schedule = task.schedule
    updates, moments = adamw(schedule).update(grads, state.moments, state.params)
    keep = partial(keep_frozen, step=state.step, starts=schedule.starts)
    params = keep(optax.apply_updates(state.params, updates), state.params)
    if OBJECTIVES[task.objective.name].has_teacher:
        average = optax.incremental_update(params, state.average, 1 - schedule.average)
    else:
        average = running_average(state.average, params, schedule.average, state.step)
    statistics = keep(statistics, state.statistics)
    return TrainState(state.step + 1, params, statistics, moments, average)
