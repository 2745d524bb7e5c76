"""The network that is asked, and whether the run's cells have its vectors already."""

from collections.abc import Mapping
from typing import NamedTuple

from plates.errors import BadRecipe
from profiler.embed.explain.cam import coarse_name
from profiler.embed.network.build import Model
from profiler.embed.network.config import ModelConfig
from profiler.embed.weights import Card, check_stains, load_model
from profiler.recipe import Recipe


class Network(NamedTuple):
    """An encoder, ready to be asked.

    Attributes:
        model: Its weights.
        config: What it is.
        card: What it is called, with the hash of its weights.
        stains: That it sees, in its order.
        pixel_sizes: Plate -> micrometres per pixel of its fields, None where nobody knows.
        is_runs_own: Whether the run's cells have its vectors.
    """

    model: Model
    config: ModelConfig
    card: Card
    stains: tuple[str, ...]
    pixel_sizes: Mapping[str, float | None]
    is_runs_own: bool

    @property
    def coarse(self) -> str:
        """What the coarse map is called."""
        return coarse_name(self.model)


def load_network(
    recipe: Recipe,
    *,
    model: str | None,
    embedder: str | None,
    pixel_sizes: Mapping[str, float | None],
) -> Network:
    """Load the encoder that is asked for, or else the run's own.

    Args:
        recipe: Of the run.
        model: Shipped encoder or .safetensors file; by default the recipe's.
        embedder: Hash of the network whose vectors the run's cells have.
        pixel_sizes: Plate -> micrometres per pixel, None where nobody knows, of all that are read.

    Raises:
        UnknownName: There is no such model.
        BadModel: Its files cannot be used, or it was trained on other stains.
        BadRecipe: There is no encoder, or its crops' pixel size is needed.
    """
    name = model or recipe.embed.model
    if name is None:
        raise BadRecipe(
            "The run's recipe names no encoder ([embed] model), so there is none to explain. Give "
            "one: --model NAME.safetensors."
        )
    loaded, config, card = load_model(name)
    stains = tuple(recipe.images.channels)
    own = tuple(stain for stain in config.stains if stain in stains)
    is_runs_own = card.sha256 == embedder
    asked = recipe.embed.channels if model is None or is_runs_own else ()
    seen = asked or own or stains
    is_known = not config.stains or seen == config.stains
    check_stains(config, seen if is_known else stains, name=card.name)
    unknown = [plate for plate, size in pixel_sizes.items() if size is None]
    if config.crops.pixel_size_um is not None and unknown:
        raise BadRecipe(
            f"The crops of {card.name!r} have {config.crops.pixel_size_um:g} um per pixel, and how "
            f"large the pixels of plate {unknown[0]} are is neither in the run's recipe ([embed] "
            "pixel_size_um) nor in its run.json, which keeps what the microscope said. Give it: "
            "--pixel-size UM."
        )
    return Network(loaded, config, card, seen, pixel_sizes, is_runs_own)
