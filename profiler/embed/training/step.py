"""One update of a model, as a pure function of its state."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import random
from jaxtyping import Array, Float

from profiler.embed.network.build import Model, as_unit
from profiler.embed.training.augment import AugmentConfig, augment
from profiler.embed.training.objectives import OBJECTIVES, ObjectiveConfig
from profiler.nets.state import TrainState, adamw, running_average, unless_frozen


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
        frozen: Steps in which the encoder stays as it was and only the head learns.
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

    def optimiser(self) -> optax.GradientTransformation:
        """AdamW with warm-up, cosine decay and clipping."""
        return adamw(
            steps=self.steps,
            warmup=self.warmup,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )


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


Step = Callable[[TrainState, Any, Any], tuple[TrainState, Array]]
Offsets = Float[Array, " class"]


def begin(model: Model, task: Task, *, offsets: Offsets) -> tuple[TrainState, Step]:
    """Take a model apart into its first state and the compiled step that advances it.

    Args:
        model: The model to begin with; it stays as it is.
        task: What is learnt, and how fast.
        offsets: What the loss adds to the logit of each class; empty without labels.

    Returns:
        The state, and a step that takes a state, crops [batch, side, side, channel] of any type
        and their labels [batch], and gives the next state and the loss. The state it was given
        is used up.
    """
    pupil = nnx.clone(model)
    pupil.train()
    graph, params, statistics = nnx.split(pupil, nnx.Param, nnx.BatchStat)
    moments = task.schedule.optimiser().init(params)
    state = TrainState(jnp.int32(0), params, statistics, moments, params)
    # Copies, because a step gives its state's memory back.
    state = jax.tree.map(partial(jnp.array, copy=True), state)
    return state, partial(_advance, offsets=offsets, graph=graph, task=task)


@partial(jax.jit, static_argnames=("graph", "task"), donate_argnums=0)
def _advance(
    state: TrainState, crops: Array, labels: Array, *, offsets: Offsets, graph: Any, task: Task
) -> tuple[TrainState, Array]:
    schedule = task.schedule

    def loss(params: Any) -> tuple[Array, Any]:
        kind = jnp.bfloat16 if schedule.bfloat16 else jnp.float32
        weights = jax.tree.map(lambda x: x.astype(kind), params)
        # A copy, because a network updates its running averages in place.
        network = nnx.merge(graph, weights, state.statistics, copy=True)
        key = random.fold_in(random.key(task.seed), state.step)
        found = _loss(network, crops, labels, offsets=offsets, task=task, key=key)
        return found, nnx.state(network, nnx.BatchStat)

    (found, statistics), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    updates, moments = schedule.optimiser().update(grads, state.moments, state.params)
    thawed = state.step >= schedule.frozen
    params = unless_frozen(
        optax.apply_updates(state.params, updates), state.params, thawed, is_frozen=_is_encoder
    )
    statistics = jax.tree.map(partial(jnp.where, thawed), statistics, state.statistics)
    average = running_average(state.average, params, schedule.average, state.step)
    return TrainState(state.step + 1, params, statistics, moments, average), found


def _loss(
    network: Model, crops: Array, labels: Array, *, offsets: Offsets, task: Task, key: Array
) -> Float[Array, ""]:
    view_key, other_key, mix_key, drop_key = random.split(key, 4)
    config = task.objective
    objective = OBJECTIVES[config.name]
    units = as_unit(crops)
    view = augment(view_key, units, config=task.augment)
    if objective.needs_labels:
        view, shares = _mixed(mix_key, view, _shares(labels, len(offsets), config), config.mixup)
        logits = _seen(network, view, task, drop_key)
        return objective.loss(logits + offsets[None], shares, config)
    other = augment(other_key, units, config=task.augment)
    both = _seen(network, jnp.concatenate([view, other]), task, drop_key)
    one, two = jnp.split(both, 2)
    return objective.loss(one, two, config)


def _seen(network: Model, crops: Array, task: Task, key: Array) -> Array:
    kind = jnp.bfloat16 if task.schedule.bfloat16 else jnp.float32
    return network(crops.astype(kind), rngs=nnx.Rngs(dropout=key)).astype(jnp.float32)


def _shares(labels: Array, classes: int, config: ObjectiveConfig) -> Array:
    smoothing = config.smoothing
    return (1 - smoothing) * jax.nn.one_hot(labels, classes) + smoothing / classes


def _mixed(key: Array, crops: Array, shares: Array, mixup: float) -> tuple[Array, Array]:
    """Mix a share of the crops with others of the batch (Zhang et al. 2018, arXiv:1710.09412)."""
    if not mixup:
        return crops, shares
    which_key, part_key = random.split(key)
    part = random.uniform(part_key, (len(crops), 1), maxval=0.5)
    part = part * (random.uniform(which_key, (len(crops), 1)) < mixup)
    image_part = part[:, :, None, None]
    crops = (1 - image_part) * crops + image_part * jnp.roll(crops, 1, axis=0)
    return crops, (1 - part) * shares + part * jnp.roll(shares, 1, axis=0)


def _is_encoder(part: str) -> bool:
    return part != "head"
