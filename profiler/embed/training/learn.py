"""The training loop: crops in, ever better weights out, whatever interrupts it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from plates.errors import BadRecipe, lookup
from profiler.classify.trust.imbalance import prior_offsets
from profiler.embed.network.build import Model, with_classes
from profiler.embed.network.config import ModelConfig
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.begun import (
    BEGUN,
    KEY,
    begun_of,
    check_same,
    checkpoint_path,
    key_of,
)
from profiler.embed.training.checks import check_examples, check_settings, usable
from profiler.embed.training.events import Learnt, Started, Trained, TrainEvent
from profiler.embed.training.examples import Examples, drawn_by_step
from profiler.embed.training.objectives import OBJECTIVES, Objective, ObjectiveConfig
from profiler.embed.training.objectives.objective import Batch
from profiler.embed.training.pair import begin_pair, first
from profiler.embed.training.step import Schedule, Task, begin
from profiler.embed.training.thaw import check_thaw
from profiler.embed.weights import check_name, save_model
from profiler.nets.checkpoint import load_state, save_state
from profiler.nets.finite import check_finite
from profiler.nets.state import TrainState, finished


@dataclass(frozen=True)
class Lesson:
    """What is learnt from, and how.

    Attributes:
        examples: Crops with labels and groups; those without a label serve only objectives that
            need none on every cell.
        objective: What is asked of the network.
        schedule: How far and how fast.
        augment: How crops are varied.
        seed: Of everything random: the same gives the same weights on the same device.
        about: For the card: data, licences, split.
        drawn: Names the examples, such as a hash of which cells they are, where that is known
            before they are made; see `begun.check_begun`.
    """

    examples: Examples
    objective: ObjectiveConfig = ObjectiveConfig()
    schedule: Schedule = Schedule()
    augment: AugmentConfig = AugmentConfig()
    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    drawn: str = ""

    @property
    def task(self) -> Task:
        """All settings that a step depends on."""
        return Task(self.objective, self.schedule, self.augment, self.seed)


def learn(model: Model, config: ModelConfig, lesson: Lesson, *, out: Path) -> Iterator[TrainEvent]:
    """Train a model, going on from its checkpoint if there is one.

    The last step's averaged weights are saved: nothing is chosen by data kept apart, so that
    such data can judge.

    Args:
        model: The model to begin with; its weights are not changed in place. Where two networks
            learn side by side, the other begins with its encoder, and it is this one that is saved.
        config: What it is.
        lesson: What is learnt from, and how. An objective without labels leaves an encoder
            without classes.
        out: Weights to write, .safetensors; a card and, until training is through, a checkpoint
            are written beside it.

    Yields:
        `Started`, then `Learnt` as it goes, `Trained` at the end.

    Raises:
        BadLabels: Labels or weights that nothing can be learnt from, or not one for each crop.
        BadModel: `out` is no .safetensors file, or the checkpoint beside it is damaged, or of
            another model, other data or settings.
        BadRecipe: The crops are not what the model takes, settings are out of range or contradict
            each other.
        Diverged: The loss or the weights are no longer finite; no model is written, and the last
            checkpoint, whose numbers are, is kept.
        UnknownName: There is no such objective.
    """
    objective = lookup(OBJECTIVES, kind="objective", name=lesson.objective.name)
    examples = _checked(lesson, config, objective, out)
    begun = begun_of(model, config, lesson.task, drawn=lesson.drawn)
    if objective.prepare:
        config = replace(config, classes=())
        model = objective.prepare(model, config, lesson.objective, nnx.Rngs(lesson.seed))
    schedule, task = lesson.schedule, lesson.task
    kept = {KEY: key_of(model, config, task, lesson.examples), BEGUN: begun}
    check_thaw(schedule.thaw, nnx.state(model, nnx.Param), frozen=schedule.frozen)
    offsets = _offsets(examples, config, lesson.objective)
    is_pair = lesson.objective.forget > 0
    if is_pair:
        other = with_classes(model, config, classes=config.classes, rngs=nnx.Rngs(lesson.seed + 1))
        state, step = begin_pair(model, other[0], task, offsets=offsets)
    else:
        state, step = begin(model, task, offsets=offsets)
    state = _resume(checkpoint_path(out), state, kept[KEY])
    out.parent.mkdir(parents=True, exist_ok=True)
    groups = len(np.unique(examples.groups))
    at, seen, batch_of = int(state.step), [], _batches(examples, lesson)
    yield Started(len(examples.crops), groups, at, schedule.steps)
    while at < schedule.steps:
        state, loss = step(state, batch_of(at), at=at)
        at += 1
        seen.append(loss)
        is_last = at == schedule.steps
        is_kept = at % schedule.save_every == 0 or is_last
        if is_kept or at % schedule.report_every == 0:
            numbers = (seen, state) if is_kept else seen
            check_finite(numbers, step=at, checkpoint=checkpoint_path(out))
        if at % schedule.report_every == 0 or is_last:
            yield Learnt(at, float(np.mean(jax.device_get(seen))))
            seen.clear()
        if is_kept and not is_last:
            save_state(checkpoint_path(out), state, kept)
    done = finished(model, first(state) if is_pair else state)
    if objective.prepare:
        done.head = None
    save_model(out, done, config, about=_about(lesson, examples))
    checkpoint_path(out).unlink(missing_ok=True)
    yield Trained(out, at)


def _checked(lesson: Lesson, config: ModelConfig, objective: Objective, out: Path) -> Examples:
    """What is learnt from, once all that was asked for has been looked at."""
    check_name(out)
    asked = lesson.objective
    check_settings(asked, lesson.schedule, lesson.augment, objective=objective)
    if lesson.seed < 0:
        raise BadRecipe(f"Found Lesson.seed = {lesson.seed}; expected 0 or more.")
    check_examples(lesson.examples, config)
    return usable(lesson.examples, config, asked=asked, objective=objective)


def _offsets(examples: Examples, config: ModelConfig, objective: ObjectiveConfig) -> Array:
    classes = len(config.classes)
    if not classes:
        return jnp.zeros(0)
    found = prior_offsets(examples.labels, classes=classes, strength=objective.prior)
    return jnp.asarray(found, jnp.float32)


def _batches(examples: Examples, lesson: Lesson) -> Callable[[int], Batch]:
    """From a step to what it learns from."""
    asked, sources = lesson.objective, examples.sources
    draw = drawn_by_step(
        examples.labels,
        seed=lesson.seed,
        batch=lesson.schedule.batch,
        balance=asked.balance,
        sources=sources,
        balance_sources=asked.balance_sources,
    )

    def batch(step: int) -> Batch:
        rows = draw(step)
        own = examples.at(rows)
        crops, labels, origin = map(jnp.asarray, (own.crops, own.labels, sources[rows]))
        weights = None if own.weights is None else jnp.asarray(own.weights, jnp.float32)
        return Batch(crops, labels, origin, weights)

    return batch


def _resume(path: Path, state: TrainState, key: str) -> TrainState:
    if not path.exists():
        return state
    state, about = load_state(path, state)
    check_same(path, about.get(KEY), key)
    return state


def _about(lesson: Lesson, examples: Examples) -> dict[str, Any]:
    return {
        **lesson.about,
        "cells": len(examples.crops),
        "groups": len(np.unique(examples.groups)),
        "objective": asdict(lesson.objective),
        "schedule": asdict(lesson.schedule),
        "augmentation": asdict(lesson.augment),
        "seed": lesson.seed,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
