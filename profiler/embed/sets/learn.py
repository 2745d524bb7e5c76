"""The training of an aggregator: sets of cells in, profiles that replicates share out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import random
from jaxtyping import Array

from profiler.embed.sets.examples import Deal, Dealt, Sets, check_sets, deal
from profiler.embed.sets.network import DeepSets, SetConfig, contrastive_loss
from profiler.embed.training.events import Learnt, Started, Trained, TrainEvent
from profiler.embed.training.ranges import (
    ABOVE_0,
    COUNT,
    COUNT_FROM_0,
    COUNT_FROM_2,
    FROM_0,
    PART,
    check_ranges,
)
from profiler.embed.weights import check_name
from profiler.nets.files import write_card, write_weights
from profiler.nets.finite import check_finite
from profiler.nets.state import adamw

PACE = {
    "steps": COUNT,
    "warmup": COUNT_FROM_0,
    "learning_rate": ABOVE_0,
    "weight_decay": FROM_0,
    "temperature": ABOVE_0,
    "dropout": PART,
    "report_every": COUNT,
}
DEALT = {"plates": COUNT, "labels": COUNT_FROM_2, "wells": COUNT_FROM_2, "cells": COUNT}


@dataclass(frozen=True)
class SetSchedule:
    """How far and how fast an aggregator learns.

    Attributes:
        steps: Batches to learn from.
        warmup: Steps in which the learning rate rises to its peak, before its cosine decay.
        learning_rate: Its peak.
        weight_decay: AdamW's.
        temperature: Of the loss.
        dropout: Share of the features that a batch does without, other ones each time.
        report_every: Steps between two lines of the log.
    """

    steps: int = 600
    warmup: int = 50
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    temperature: float = 0.2
    dropout: float = 0.1
    report_every: int = 50


@dataclass(frozen=True)
class SetLesson:
    """What is learnt from, and how.

    Attributes:
        sets: Wells to learn from.
        features: Names of the cells' columns.
        embedder: Hash of the encoder of their vectors; None without any.
        network: What the aggregator is made of.
        deal: What a batch is made of.
        schedule: How far and how fast.
        seed: Of everything random: the same gives the same weights on the same device.
        about: For the card: runs, split, scores.
    """

    sets: Sets
    features: tuple[str, ...]
    embedder: str | None = None
    network: SetConfig = SetConfig()
    deal: Deal = Deal()
    schedule: SetSchedule = SetSchedule()
    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Card:
    """The fields of `profiler.profile.wells.sets.SetCard`, which reads them."""

    name: str
    features: Sequence[str]
    phi: Sequence[int]
    rho: Sequence[int]
    embedder: str | None
    sha256: str
    about: Mapping[str, Any]


def learn_sets(lesson: SetLesson, *, out: Path) -> Iterator[TrainEvent]:
    """Train an aggregator; nothing is chosen by wells kept apart, so that these can judge.

    Args:
        lesson: What is learnt from, and how.
        out: Weights to write, .safetensors, with their card beside them.

    Yields:
        `Started`, then `Learnt` as it goes, `Trained` at the end.

    Raises:
        BadLabels: There are no replicates to learn from, or numbers that are not finite.
        BadModel: `out` is no .safetensors file.
        BadRecipe: A setting is out of range.
        Diverged: The loss or the weights are no longer finite; no model is written.
    """
    check_name(out)
    check_ranges(lesson.schedule, PACE)
    check_ranges(lesson.deal, DEALT)
    check_sets(lesson.sets, features=len(lesson.features))
    schedule, sets = lesson.schedule, lesson.sets
    model = DeepSets(len(lesson.features), lesson.network, rngs=nnx.Rngs(lesson.seed))
    graph, params = nnx.split(model)
    moments = adamw(schedule).init(params)
    yield Started(len(sets.cells), len(np.unique(sets.plates)), 0, schedule.steps)
    seen: list[Array] = []
    for step in range(schedule.steps):
        batch = deal(sets, lesson.deal, seed=lesson.seed, step=step)
        key = random.fold_in(random.key(lesson.seed), step)
        params, moments, loss = _advance(params, moments, batch, key, graph=graph, how=schedule)
        seen.append(loss)
        if (step + 1) % schedule.report_every == 0 or step + 1 == schedule.steps:
            check_finite((seen, params), step=step + 1)
            yield Learnt(step + 1, float(np.mean(jax.device_get(seen))))
            seen.clear()
    save_sets(out, nnx.merge(graph, params), lesson)
    yield Trained(out, schedule.steps)


def save_sets(out: Path, model: DeepSets, lesson: SetLesson) -> None:
    """Write an aggregator's weights and their card."""
    about = {
        **lesson.about,
        "cells": len(lesson.sets.cells),
        "wells": len(lesson.sets.labels),
        "treatments": len(np.unique(lesson.sets.labels)),
        "plates": len(np.unique(lesson.sets.plates)),
        "deal": asdict(lesson.deal),
        "schedule": asdict(lesson.schedule),
        "seed": lesson.seed,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    digest = write_weights(out, model)
    own = lesson.network
    card = _Card(out.stem, lesson.features, own.phi, own.rho, lesson.embedder, digest, about)
    write_card(out, card)


@partial(jax.jit, static_argnames=("graph", "how"))
def _advance(
    params: Any, moments: Any, batch: Dealt, key: Array, *, graph: Any, how: SetSchedule
) -> tuple[Any, Any, Array]:
    def loss(weights: Any) -> Array:
        kept = random.bernoulli(key, 1 - how.dropout, (1, 1, batch.cells.shape[-1]))
        cells = jnp.where(kept, batch.cells / (1 - how.dropout), 0.0)
        profiles = nnx.merge(graph, weights)(cells)
        labels, plates = jnp.asarray(batch.labels), jnp.asarray(batch.plates)
        return contrastive_loss(profiles, labels, plates, temperature=how.temperature)

    found, grads = jax.value_and_grad(loss)(params)
    updates, moments = adamw(how).update(grads, moments, params)
    return optax.apply_updates(params, updates), moments, found
