"""The training loop: crops in, ever better weights out, whatever interrupts it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from plates.errors import BadModel, BadRecipe, lookup
from profiler.classify.trust.imbalance import prior_offsets
from profiler.embed.network.build import Model, with_projector
from profiler.embed.network.config import ModelConfig
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.events import Learnt, Started, Trained, TrainEvent
from profiler.embed.training.examples import Draws, Examples, check_labels, drawn_by_step
from profiler.embed.training.objectives import OBJECTIVES, ObjectiveConfig
from profiler.embed.training.step import Schedule, Task, begin
from profiler.embed.weights import save_model
from profiler.nets.checkpoint import load_state, save_state
from profiler.nets.state import TrainState, finished


@dataclass(frozen=True)
class Lesson:
    """What is learnt from, and how.

    Attributes:
        examples: Crops with labels and groups; those without a label serve only objectives that
            need none.
        objective: What is asked of the network.
        schedule: How far and how fast.
        augment: How crops are varied.
        seed: Of everything random: the same gives the same weights on the same device.
        about: For the card: data, licences, split.
    """

    examples: Examples
    objective: ObjectiveConfig = ObjectiveConfig()
    schedule: Schedule = Schedule()
    augment: AugmentConfig = AugmentConfig()
    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)

    def key(self, model: Model, config: ModelConfig) -> str:
        """Hash of all that the steps depend on: a checkpoint of another lesson is refused."""
        digest = hashlib.blake2b(digest_size=16)
        settings = (config, self.objective, self.schedule, self.augment, self.seed)
        digest.update(repr(settings).encode())
        weights = jax.tree.leaves(nnx.state(model, (nnx.Param, nnx.BatchStat)))
        for part in (self.examples.crops, self.examples.labels, *weights):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def checkpoint_path(out: Path) -> Path:
    """Where a run that is not yet through lies: beside its weights."""
    return out.with_name(f"{out.stem}.training.safetensors")


def learn(model: Model, config: ModelConfig, lesson: Lesson, *, out: Path) -> Iterator[TrainEvent]:
    """Train a model, going on from its checkpoint if there is one.

    The last step's averaged weights are saved: nothing is chosen by data kept apart, so that
    such data can judge.

    Args:
        model: The model to begin with; its weights are not changed in place.
        config: What it is.
        lesson: What is learnt from, and how. An objective without labels leaves an encoder
            without classes.
        out: Weights to write, .safetensors; a card and, until training is through, a checkpoint
            are written beside it.

    Yields:
        `Started`, then `Learnt` as it goes, `Trained` at the end.

    Raises:
        BadLabels: Labels that nothing can be learnt from.
        BadModel: The checkpoint beside `out` is damaged, or of another model, other data or
            settings.
        BadRecipe: The crops are not what the model takes.
        UnknownName: There is no such objective.
    """
    needs_labels = lookup(OBJECTIVES, kind="objective", name=lesson.objective.name).needs_labels
    examples = _usable(lesson.examples, config, needs_labels=needs_labels)
    if not needs_labels:
        config = replace(config, classes=())
        outputs, rngs = lesson.objective.outputs, nnx.Rngs(lesson.seed)
        model = with_projector(model, config, outputs=outputs, rngs=rngs)
    schedule, key = lesson.schedule, lesson.key(model, config)
    task = Task(lesson.objective, schedule, lesson.augment, lesson.seed)
    state, step = begin(model, task, offsets=_offsets(examples, config, lesson.objective))
    state = _resume(checkpoint_path(out), state, key)
    out.parent.mkdir(parents=True, exist_ok=True)
    groups = len(np.unique(examples.groups))
    at, seen, rows_of = int(state.step), [], _draws(examples, lesson)
    yield Started(len(examples.crops), groups, at, schedule.steps)
    while at < schedule.steps:
        rows = rows_of(at)
        state, loss = step(state, examples.crops[rows], examples.labels[rows])
        at += 1
        seen.append(loss)
        if at % schedule.report_every == 0 or at == schedule.steps:
            yield Learnt(at, float(np.mean(jax.device_get(seen))))
            seen.clear()
        if at % schedule.save_every == 0 and at < schedule.steps:
            save_state(checkpoint_path(out), state, {"key": key})
    done = finished(model, state)
    if not needs_labels:
        done.head = None
    save_model(out, done, config, about=_about(lesson, examples))
    checkpoint_path(out).unlink(missing_ok=True)
    yield Trained(out, at)


def _usable(examples: Examples, config: ModelConfig, *, needs_labels: bool) -> Examples:
    side, channels = config.crops.side, max(1, len(config.stains))
    if examples.crops.shape[1:] != (side, side, channels):
        raise BadRecipe(
            f"Found crops of shape {examples.crops.shape}; the model takes [cell, {side}, {side}, "
            f"{channels}] with the stains {', '.join(config.stains) or 'of any one channel'}."
        )
    if not needs_labels:
        return examples
    check_labels(examples.labels, config.classes)
    return examples.at(np.flatnonzero(examples.labels >= 0))


def _offsets(examples: Examples, config: ModelConfig, objective: ObjectiveConfig) -> Array:
    classes = len(config.classes)
    if not classes:
        return jnp.zeros(0)
    found = prior_offsets(examples.labels, classes=classes, strength=objective.prior)
    return jnp.asarray(found, jnp.float32)


def _draws(examples: Examples, lesson: Lesson) -> Draws:
    batch, balance = lesson.schedule.batch, lesson.objective.balance
    return drawn_by_step(examples.labels, seed=lesson.seed, batch=batch, balance=balance)


def _resume(path: Path, state: TrainState, key: str) -> TrainState:
    if not path.exists():
        return state
    state, about = load_state(path, state)
    if about.get("key") != key:
        raise BadModel(
            f"{path} is from a run on another model, other cells, labels or settings. Start that "
            "run again to go on with it, or delete the file to begin anew."
        )
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
