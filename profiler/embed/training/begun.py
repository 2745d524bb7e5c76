"""What a training is of, so that it goes on from its own checkpoint and refuses another's."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from plates.errors import BadModel
from profiler.embed.network.build import Model
from profiler.embed.network.config import ModelConfig
from profiler.embed.training.examples import Examples
from profiler.embed.training.step import Task
from profiler.nets.checkpoint import read_about

KEY, BEGUN = "key", "begun"  # what a checkpoint keeps: of all, and of what is known beforehand


def checkpoint_path(out: Path) -> Path:
    """Where a run that is not yet through lies: beside its weights."""
    return out.with_name(f"{out.stem}.training.safetensors")


def key_of(model: Model, config: ModelConfig, task: Task, examples: Examples) -> str:
    """Hash of all that the steps depend on: a checkpoint of another lesson is refused."""
    trusted = () if examples.weights is None else (examples.weights,)
    data = (examples.crops, examples.labels, examples.sources, *trusted)
    return _hash(_settings(config, task), [*data, *_numbers(model)])


def begun_of(model: Model, config: ModelConfig, task: Task, *, drawn: str) -> str:
    """Hash of what is known before there are examples.

    Args:
        model: As handed to `learn`; its head is not looked at, and neither are the classes of
            `config`, which may turn out fewer once there are examples.
        config: What it is.
        task: What is asked.
        drawn: Names the examples to come.
    """
    settings = _settings(replace(config, classes=()), task)
    return _hash((*settings, drawn), _numbers(model.encoder))


def check_begun(model: Model, config: ModelConfig, task: Task, *, drawn: str, out: Path) -> None:
    """Refuse to begin beside another training's checkpoint, before examples are made.

    `learn` compares all once there are examples; this spares making them in vain. A checkpoint
    from before this was kept in it passes here.

    Args:
        model: As for `begun_of`, like `config`, `task` and `drawn`.
        config: What it is.
        task: What is asked.
        drawn: Names the examples to come.
        out: Weights to write.

    Raises:
        BadModel: The checkpoint is damaged, or of another model, other cells, labels or settings.
    """
    path = checkpoint_path(out)
    if not path.exists():
        return
    begun = read_about(path).get(BEGUN)
    if begun is not None:
        check_same(path, begun, begun_of(model, config, task, drawn=drawn))


def check_same(path: Path, found: str | None, wanted: str) -> None:
    """Refuse a checkpoint of another training.

    Raises:
        BadModel: What it keeps is not what is wanted.
    """
    if found != wanted:
        raise BadModel(
            f"{path} is from a run on another model, other cells, labels or settings. Start that "
            "run again to go on with it, or delete the file to begin anew."
        )


def _numbers(part: nnx.Module) -> list[Any]:
    return jax.tree.leaves(nnx.state(part, (nnx.Param, nnx.BatchStat)))


def _settings(config: ModelConfig, task: Task) -> tuple[Any, ...]:
    return config, task.objective, task.schedule, task.augment, task.seed


def _hash(settings: tuple[Any, ...], arrays: Iterable[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(settings).encode())
    for array in arrays:
        # As bytes, not copied: crops may be gigabytes.
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
