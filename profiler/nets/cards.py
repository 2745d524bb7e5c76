"""A model on disk: safetensors for the numbers, beside it a JSON card. Never JAX."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from plates.errors import BadModel

Card = TypeVar("Card")
Tensors = Mapping[str, np.ndarray]


def write_tensors(path: Path, tensors: Tensors) -> str:
    """Write a model's numbers, and give their SHA-256 for the card."""
    blob = save(dict(tensors))
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, blob)
    return hashlib.sha256(blob).hexdigest()


def write_card(path: Path, card: Any) -> None:
    """Write a card, a dataclass, beside its weights."""
    _replace(path.with_suffix(".json"), (json.dumps(asdict(card), indent=2) + "\n").encode())


def copy_weights(path: Path, other: Path) -> None:
    """Copy a model's numbers, whole or not at all; its card is another matter."""
    _replace(other, path.read_bytes())


def read_weights(path: Path, make: Callable[..., Card], *, what: str) -> tuple[Card, Tensors]:
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
        blob, card = path.read_bytes(), make(**_fields(beside.read_text()))
    except OSError as error:
        raise BadModel(
            f"Cannot read {error.filename}: {error.strerror}. A model is two files, "
            "NAME.safetensors and its card NAME.json; keep them side by side."
        ) from None
    except (ValueError, TypeError) as error:
        raise BadModel(f"{beside} is not {what}: {error}.") from None
    found, wanted = hashlib.sha256(blob).hexdigest(), getattr(card, "sha256", "")
    if not isinstance(wanted, str):
        raise BadModel(
            f"{beside}: its sha256 is {wanted!r}; expected the 64 letters and digits of the "
            "weights' own. Copy both files again from where they came."
        )
    if found != wanted:
        raise BadModel(
            f"{path} was changed or cut short: its sha256 starts {found[:12]}, its card says "
            f"{wanted[:12]}. Copy both files again from where they came."
        )
    try:
        return card, load(blob)
    except SafetensorError as error:
        raise BadModel(f"{path} is not a safetensors file: {error}.") from None


def _fields(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, not fields by name")
    return found


def _replace(path: Path, blob: bytes) -> None:
    """Write a file so that an interruption leaves the earlier one."""
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(blob)
    draft.replace(path)
