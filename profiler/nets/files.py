"""A network on disk: safetensors for the numbers, beside it a JSON card of what they are."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load, save

from plates.errors import BadModel

Card = TypeVar("Card")


def write_weights(path: Path, model: nnx.Module) -> str:
    """Write a network's weights, and give their SHA-256 for the card."""
    blob = save({_name(key): np.asarray(leaf[...]) for key, leaf in flat(model)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    return hashlib.sha256(blob).hexdigest()


def write_card(path: Path, card: Any) -> None:
    """Write a card, a dataclass, beside its weights."""
    path.with_suffix(".json").write_text(json.dumps(asdict(card), indent=2) + "\n")


def read_weights(
    path: Path, make: Callable[..., Card], *, what: str
) -> tuple[Card, Mapping[str, np.ndarray]]:
    """Read a card and the weights that it speaks of.

    Args:
        path: The weights, .safetensors.
        make: Makes a card with `sha256` from the JSON's fields.
        what: The kind of card, for the message: "a model card".

    Raises:
        BadModel: A file is missing, cut short or edited.
    """
    beside = path.with_suffix(".json")
    try:
        blob, card = path.read_bytes(), make(**json.loads(beside.read_text()))
    except OSError as error:
        raise BadModel(
            f"Cannot read {error.filename}: {error.strerror}. A model is two files, "
            "NAME.safetensors and its card NAME.json; keep them side by side."
        ) from None
    except (ValueError, TypeError) as error:
        raise BadModel(f"{beside} is not {what}: {error}.") from None
    found, wanted = hashlib.sha256(blob).hexdigest(), getattr(card, "sha256", "")
    if found != wanted:
        raise BadModel(
            f"{path} was changed or cut short: its sha256 starts {found[:12]}, its card says "
            f"{wanted[:12]}. Copy both files again from where they came."
        )
    try:
        return card, load(blob)
    except SafetensorError as error:
        raise BadModel(f"{path} is not a safetensors file: {error}.") from None


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
