"""Models on disk: safetensors for the numbers, a JSON card for what they are."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load, save

from plates.errors import BadModel, BadRecipe, UnknownName, lookup
from profiler.embed.catalogue import MODELS
from profiler.embed.crops import CropConfig
from profiler.embed.network.build import Model, build, check
from profiler.embed.network.config import EncoderConfig, ModelConfig


@dataclass(frozen=True)
class Card:
    """What a model is, was trained on, and scores.

    Attributes:
        name: As recipes call it.
        model: Fields of `ModelConfig`.
        sha256: Of the weights file, which must match.
        about: Data, licences, split, schedule and scores, for people.
    """

    name: str
    model: Mapping[str, Any]
    sha256: str
    about: Mapping[str, Any]


def save_model(path: Path, model: Model, config: ModelConfig, *, about: Mapping) -> Card:
    """Write weights (`path`, .safetensors) and their card (`path` with .json)."""
    blob = save({_name(key): np.asarray(leaf[...]) for key, leaf in _flat(model)})
    card = Card(path.stem, asdict(config), hashlib.sha256(blob).hexdigest(), about)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    path.with_suffix(".json").write_text(json.dumps(asdict(card), indent=2) + "\n")
    return card


def load_model(name: str | Path) -> tuple[Model, ModelConfig, Card]:
    """Read a model, ready for inference.

    Args:
        name: A shipped model, or the path of a .safetensors file with its card beside it.

    Raises:
        UnknownName: No shipped model is called that.
        BadModel: The file or its card is missing, cut short, edited, or of another network.
    """
    path = Path(name) if str(name).endswith(".safetensors") else None
    path = path or lookup(MODELS, kind="embedding model", name=str(name))
    card, tensors = _read(path)
    config = _config(card, path)
    # Abstract first: drawing random weights only to replace them would cost a second.
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    _fill(model, tensors, path)
    model.eval()
    return model, config, card


def check_stains(config: ModelConfig, stains: Sequence[str], *, name: str) -> None:
    """Refuse channels that a model was not trained on, or in another order.

    Args:
        config: Of the model; one without stains takes any.
        stains: Channels of the images, in their order.
        name: Of the model, for the message.

    Raises:
        BadModel: Says which were expected.
    """
    found = tuple(stains)
    if not config.stains or found == config.stains:
        return
    wanted = ", ".join(config.stains)
    if sorted(found) == sorted(config.stains):
        raise BadModel(
            f"The images' channels are {', '.join(found)}; the model {name!r} takes the same ones "
            f"as {wanted}. Order the recipe's channels like that: the model would take one stain "
            "for another."
        )
    raise BadModel(
        f"The images' channels are {', '.join(found) or 'none'}; the model {name!r} was trained on "
        f"{wanted}. Name the channels so, choose another model, or train one on these stains."
    )


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
        raise BadModel(
            f"{path.with_suffix('.json')} is not the card of an embedding model: {error}."
        ) from None
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


def _config(card: Card, path: Path) -> ModelConfig:
    try:
        parts = dict(card.model)
        own = {key: _tuple(value) for key, value in parts.pop("encoder").items()}
        crops = CropConfig(**parts.pop("crops"))
        rest = {key: _tuple(value) for key, value in parts.items()}
        config = ModelConfig(encoder=EncoderConfig(**own), crops=crops, **rest)
        check(config)
    except (KeyError, TypeError, ValueError, AttributeError, UnknownName, BadRecipe) as error:
        raise BadModel(
            f"The card of {path} describes another kind of network: {card.model}; expected "
            f"fields of ModelConfig ({error})."
        ) from None
    return config


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _fill(model: Model, tensors: Mapping[str, np.ndarray], path: Path) -> None:
    state = _flat(model)
    wanted = {_name(key): leaf.shape for key, leaf in state}
    if wanted != {name: value.shape for name, value in tensors.items()}:
        odd = sorted(set(wanted) ^ set(tensors)) or ["shapes differ"]
        raise BadModel(f"{path} does not fit the network on its card ({odd[0]}).")
    filled = [(key, leaf.replace(jnp.asarray(tensors[_name(key)]))) for key, leaf in state]
    nnx.update(model, nnx.from_flat_state(filled))


def _flat(model: Model) -> Any:
    """Parameters and running averages; random-number state is left out."""
    return nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))


def _name(key: tuple) -> str:
    return "/".join(str(part) for part in key)
