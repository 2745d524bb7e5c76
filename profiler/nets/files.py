"""A network's weights, to and from the files of `cards.py`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from plates.errors import BadModel
from profiler.nets.cards import read_weights, write_card, write_tensors

__all__ = ["fill", "flat", "read_weights", "write_card", "write_weights"]


def write_weights(path: Path, model: nnx.Module) -> str:
    """Write a network's weights, and give their SHA-256 for the card."""
    return write_tensors(path, {_name(key): np.asarray(leaf[...]) for key, leaf in flat(model)})


def fill(model: nnx.Module, tensors: Mapping[str, np.ndarray], *, path: Path, what: str) -> None:
    """Give a network, which may be abstract, its weights.

    Args:
        model: As its card describes it.
        tensors: From `read_weights`.
        path: Where they were read, for the message.
        what: What the card describes, for the message: "network".

    Raises:
        BadModel: They are of another one.
    """
    state = flat(model)
    wanted = {_name(key): leaf.shape for key, leaf in state}
    if wanted != {name: value.shape for name, value in tensors.items()}:
        odd = sorted(set(wanted) ^ set(tensors)) or ["shapes differ"]
        raise BadModel(f"{path} does not fit the {what} on its card ({odd[0]}).")
    filled = [(key, leaf.replace(jnp.asarray(tensors[_name(key)]))) for key, leaf in state]
    nnx.update(model, nnx.from_flat_state(filled))


def flat(model: nnx.Module) -> Any:
    """Parameters and running averages by path; random-number state is left out."""
    return nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))


def _name(key: tuple) -> str:
    return "/".join(str(part) for part in key)
