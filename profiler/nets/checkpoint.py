"""Training, set down and taken up again: numbers in safetensors, what they belong to in JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from plates.errors import BadModel
from profiler.nets.state import TrainState


def save_state(path: Path, state: TrainState, about: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all.

    Args:
        path: The checkpoint, .safetensors.
        state: What to go on from.
        about: What the run was asked to do and has seen, JSON values; `load_state` gives it back.
    """
    tensors = {name: np.asarray(leaf) for name, leaf in _named(state).items()}
    draft = path.with_name(path.name + ".part")
    save_file(tensors, draft, metadata={"about": json.dumps(about)})
    draft.replace(path)


def read_about(path: Path) -> dict[str, Any]:
    """Read what was noted with a state; its numbers are not read.

    Raises:
        BadModel: The file is cut short, or no checkpoint.
    """
    return _read(path, with_tensors=False)[0]


def load_state(path: Path, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """Read a state back, and what was noted with it.

    Args:
        path: The checkpoint.
        like: A state of the same network and optimiser, for the shape of things.

    Raises:
        BadModel: The file is cut short, no checkpoint, or of another network.
    """
    about, tensors = _read(path, with_tensors=True)
    wanted = _named(like)
    odd = [n for n in wanted.keys() | tensors.keys() if not _fits(wanted.get(n), tensors.get(n))]
    if odd:
        raise BadModel(
            f"{path} is a checkpoint of another network ({min(odd)} differs). Delete it to start "
            "again from the beginning, or train with the settings it was begun with."
        )
    leaves = [jnp.asarray(tensors[name]) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), about


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["about"])
            names = file.keys() if with_tensors else ()
            return about, {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadModel(
            f"{path} is no checkpoint that training can go on from ({error}). Delete it to start "
            "again from the beginning."
        ) from None


def _fits(wanted: Any, found: Any) -> bool:
    return wanted is not None and found is not None and np.shape(wanted) == found.shape


def _named(state: TrainState) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
