"""Models on disk: safetensors for the numbers, a JSON card for what they are."""

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
    card = Card(path.stem, asdict(config), write_weights(path, model), about)
    write_card(path, card)
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
    card, tensors = read_weights(path, Card, what="the card of an embedding model")
    config = _config(card, path)
    # Abstract first: drawing random weights only to replace them would cost a second.
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    fill(model, tensors, path=path, what="network")
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
