"""Models on disk: safetensors for the numbers, a JSON card for what they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flax import nnx

from plates.errors import BadModel, BadRecipe, UnknownName, lookup
from profiler.embed.catalogue import MODELS
from profiler.embed.crops import CropConfig
from profiler.embed.network.build import Model, build, check
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.nets.files import fill, read_weights, write_card, write_weights

SUFFIX = ".safetensors"
OTHERS = {  # a field that only their cards have -> what else the project keeps in such files
    "kind": "a cell classifier, for `profiler classify RUN --model`",
    "phi": "a set aggregator, for [profile] aggregate",
    "architecture": "a segmenter, for [segment] model or cells_model",
}


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
    """Write weights (`path`, .safetensors) and their card (`path` with .json).

    Raises:
        BadModel: The name does not end in .safetensors.
    """
    check_name(path)
    card = Card(path.stem, asdict(config), write_weights(path, model), about)
    write_card(path, card)
    return card


def check_name(path: Path) -> None:
    """Refuse a name that `load_model` would not take for a file's, before hours of training.

    Raises:
        BadModel: It does not end in .safetensors.
    """
    if path.suffix != SUFFIX:
        raise BadModel(
            f"The model {path} ends in {path.suffix!r}; expected NAME{SUFFIX}. Its card NAME.json "
            "lies beside it."
        )


def load_model(name: str | Path) -> tuple[Model, ModelConfig, Card]:
    """Read a model, ready for inference.

    Args:
        name: A shipped model, or the path of a .safetensors file with its card beside it.

    Raises:
        UnknownName: No shipped model is called that.
        BadModel: The file or its card is missing, cut short, edited, or of another network.
    """
    path = Path(name) if str(name).endswith(SUFFIX) else None
    path = path or lookup(MODELS, kind="embedding model", name=str(name))
    card, tensors = read_weights(path, _card, what="the card of an embedding model")
    config = _config(card, path)
    # Abstract first: drawing random weights only to replace them would cost a second.
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    fill(model, tensors, path=path, what="network")
    model.eval()
    return model, config, card


def check_stains(config: ModelConfig, stains: Sequence[str], *, name: str) -> None:
    """Refuse channels that a model was not trained on, or in another order.

    Args:
        config: Of the model; one without stains takes any, but a classifier of one at a time one.
        stains: Channels of the images, in their order.
        name: Of the model, for the message.

    Raises:
        BadModel: Says which were expected.
    """
    found = tuple(stains)
    if not found or len(set(found)) < len(found):
        raise BadModel(
            f"The channels for the model {name!r} are {', '.join(found) or 'none'}; expected one "
            "or more, each once."
        )
    if len(found) > 1 and config.sees_one:
        raise BadModel(
            f"The channels for the model {name!r} are {', '.join(found)}; it tells classes apart "
            "by the vector of one stain. Name the one it was trained on: [embed] channels = "
            f"{json.dumps(found[:1])}, say."
        )
    if not config.stains or found == config.stains:
        return
    wanted = ", ".join(config.stains)
    there = f"The images' channels are {', '.join(found)}; the model {name!r}"
    in_recipe = f"[embed] channels = {json.dumps(config.stains)}"
    if sorted(found) == sorted(config.stains):
        raise BadModel(
            f"{there} takes the same ones as {wanted}. Order the recipe's channels like that "
            f"({in_recipe}): the model would take one stain for another."
        )
    if set(config.stains) < set(found):
        raise BadModel(
            f"{there} was trained on {wanted} alone. Have it see those: {in_recipe} in the recipe."
        )
    raise BadModel(
        f"{there} was trained on {wanted}. If the images have these stains by other names, name "
        f"them so in [images] channels, and {in_recipe}; else choose another model, or train one "
        "on these stains."
    )


def _card(**fields: Any) -> Card:
    known = set(Card.__dataclass_fields__)
    for mark, other in OTHERS.items():
        if mark in fields:
            raise ValueError(f"it is the card of {other}; expected an encoder, such as 'cells'")
    if odd := sorted(known ^ set(fields)):
        raise ValueError(f"expected the fields {', '.join(sorted(known))}; {', '.join(odd)} differ")
    return Card(**fields)


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
