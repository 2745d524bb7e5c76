"""Networks on disk: safetensors for the numbers, a JSON card for what they are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load, save

from plates.errors import BadModel, UnknownName, lookup
from profiler.segment.catalogue import MODELS
from profiler.segment.confidence.calibration import Calibration
from profiler.segment.network.build import Network, build, check
from profiler.segment.network.config import NetworkConfig


@dataclass(frozen=True)
class Card:
    """What a network is, was trained on, and scores.

    Attributes:
        name: As recipes call it.
        architecture: Fields of `NetworkConfig`; what an old card lacks has its default.
        sha256: Of the weights file, which must match.
        about: Data, licences, split, schedule and scores, for people.
        diameter_px: What its training images' median nuclei were brought to; None if they
            kept their sizes.
        calibration: How likely its nuclei are right, fields of `Calibration`; None if unknown.
    """

    name: str
    architecture: Mapping[str, Any]
    sha256: str
    about: Mapping[str, Any]
    diameter_px: float | None = None
    calibration: Mapping[str, Any] | None = None


def save_network(
    path: Path,
    model: Network,
    config: NetworkConfig,
    *,
    about: Mapping,
    diameter_px: float | None = None,
) -> Card:
    """Write weights (`path`, .safetensors) and their card (`path` with .json)."""
    blob = save({name: np.asarray(value) for name, value in _tensors(model).items()})
    found = hashlib.sha256(blob).hexdigest()
    card = Card(path.stem, asdict(config), found, about, diameter_px)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    _write_card(path, card)
    return card


def save_calibration(path: Path, calibration: Calibration | None, *, note: str) -> Card:
    """Put a calibration, or that there is none, on the card of a network that is on disk.

    Args:
        path: The weights; they stay as they are.
        calibration: Its fields go to the card.
        note: What it was fitted on, or why there is none.

    Raises:
        BadModel: The network's files cannot be used.
    """
    card = _read(path)[0]
    about = {**card.about, "calibration": note}
    card = replace(card, about=about, calibration=calibration and asdict(calibration))
    _write_card(path, card)
    return card


def _write_card(path: Path, card: Card) -> None:
    path.with_suffix(".json").write_text(json.dumps(asdict(card), indent=2) + "\n")


def load_network(name: str | Path) -> tuple[Network, NetworkConfig, Card]:
    """Read a network, ready for inference.

    Args:
        name: A shipped model, or the path of a .safetensors file with its card beside it.

    Raises:
        UnknownName: No shipped model is called that.
        BadModel: The file or its card is missing, cut short, edited, or of another architecture.
    """
    path = Path(name) if str(name).endswith(".safetensors") else None
    path = path or lookup(MODELS, kind="segmentation model", name=str(name))
    card, tensors = _read(path)
    config = _architecture(card, path)
    # Abstract first: drawing random weights only to replace them would cost a second.
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    _fill(model, tensors, path)
    model.eval()
    return model, config, card


def with_new_head(model: Network, config: NetworkConfig, *, rngs: nnx.Rngs) -> Network:
    """Give a network the head that `config` names, untrained; the rest keeps its weights."""
    fresh = build(config, rngs=rngs)
    kept = [(key, leaf) for key, leaf in _flat(model) if key[0] != "head"]
    nnx.update(fresh, nnx.from_flat_state(kept))
    return fresh


def _read(path: Path) -> tuple[Card, Mapping[str, np.ndarray]]:
    try:
        blob = path.read_bytes()
        card = Card(**json.loads(path.with_suffix(".json").read_text()))
    except OSError as error:
        raise BadModel(
            f"Cannot read {error.filename}: {error.strerror}. A model is two files, "
            "NAME.safetensors and its card NAME.json; keep them side by side."
        ) from None
    except (ValueError, TypeError) as error:
        raise BadModel(f"{path.with_suffix('.json')} is not a model card: {error}.") from None
    found = hashlib.sha256(blob).hexdigest()
    if found != card.sha256:
        raise BadModel(
            f"{path} was changed or cut short: its sha256 starts {found[:12]}, its card says "
            f"{card.sha256[:12]}. Copy both files again from where they came."
        )
    try:
        return card, load(blob)
    except SafetensorError as error:
        raise BadModel(f"{path} is not a safetensors file: {error}.") from None


def _architecture(card: Card, path: Path) -> NetworkConfig:
    try:
        widths = tuple(int(width) for width in card.architecture["widths"])
        config = NetworkConfig(**{**card.architecture, "widths": widths})
        check(config)
    except (KeyError, TypeError, ValueError, UnknownName) as error:
        raise BadModel(
            f"The card of {path} describes another architecture: {dict(card.architecture)}; "
            f"expected fields of NetworkConfig ({error})."
        ) from None
    return config


def _fill(model: Network, tensors: Mapping[str, np.ndarray], path: Path) -> None:
    state = _flat(model)
    wanted = {_name(key): leaf.shape for key, leaf in state}
    if wanted != {name: value.shape for name, value in tensors.items()}:
        odd = sorted(set(wanted) ^ set(tensors)) or ["shapes differ"]
        raise BadModel(f"{path} does not fit the architecture on its card ({odd[0]}).")
    filled = [(key, leaf.replace(jnp.asarray(tensors[_name(key)]))) for key, leaf in state]
    nnx.update(model, nnx.from_flat_state(filled))


def _tensors(model: Network) -> dict[str, np.ndarray]:
    """Parameters and running averages by path; random-number state is left out."""
    return {_name(key): np.asarray(leaf[...]) for key, leaf in _flat(model)}


def _flat(model: Network) -> Any:
    return nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))


def _name(key: tuple) -> str:
    return "/".join(str(part) for part in key)
