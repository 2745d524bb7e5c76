"""What a trained model says of crops: vectors, and probabilities of classes."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from plates.errors import BadModel, BadRecipe
from profiler.embed.network.build import Model, as_unit, check_levels
from profiler.embed.network.config import ModelConfig

BATCH = 128  # crops; one program for any number of cells, so that none depends on its company
VIEWS = 8  # the crop turned by quarters, and mirrored


class Seen(NamedTuple):
    """What a model says of cells; row i is crop i.

    Attributes:
        vectors: [cell, feature] float32.
        logits: Before the softmax, mean over the views, [cell, class]; no columns without classes.
    """

    vectors: np.ndarray
    logits: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """[cell, class], rows adding up to 1."""
        return np.asarray(jax.nn.softmax(self.logits, axis=-1))


Look = Callable[[np.ndarray], Seen]


def make_look(
    model: Model, config: ModelConfig, *, views: int = 1, batch: int = BATCH, name: str = "given"
) -> Look:
    """Compile a model for crops.

    Args:
        model: With its weights.
        config: What it is.
        views: 1, or up to 8 turned and mirrored views of a crop, over which vectors and logits
            are averaged: steadier, and that many times slower.
        batch: Crops at a time.
        name: Of the model, for messages.

    Returns:
        A function of crops [cell, side, side, channel], integers of 8 or 16 bits or floats from 0
        to 1.

    Raises:
        BadRecipe: `views` is not 1 to 8.
    """
    check_views(views)
    model.eval()
    graph, state = nnx.split(model)
    run = partial(_program(graph, views), state)

    def look(crops: np.ndarray) -> Seen:
        check_crops(crops, config, name)
        return Seen(*in_batches(run, crops, batch=batch))

    return look


@lru_cache(maxsize=8)  # compiled programs hold memory
def _program(graph: nnx.GraphDef, views: int) -> Callable[[Any, jax.Array], tuple]:
    return jax.jit(partial(see, graph, views))


def see(graph: Any, views: int, state: Any, crops: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Vectors and logits of one batch, means over its views; no logits without classes."""
    model, units = nnx.merge(graph, state), as_unit(crops)
    vectors = [model.encoder(_view(units, number)) for number in range(views)]
    head = model.head or (lambda each: each[:, :0])
    logits = [head(each) for each in vectors]
    return jnp.stack(vectors).mean(0), jnp.stack(logits).mean(0)


def in_batches(run: Callable, crops: np.ndarray, *, batch: int) -> tuple[np.ndarray, ...]:
    """Outputs for any number of crops, by one program: the last batch is padded.

    Args:
        run: From `batch` crops to arrays with a row for each.
        crops: [cell, ...]; without any, outputs have no rows.
        batch: Crops at a time.
    """
    starts = range(0, max(1, len(crops)), batch)
    parts = [_padded(run, crops[start : start + batch], batch) for start in starts]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def check_views(views: int) -> None:
    """Refuse more views than there are turns and mirrors.

    Raises:
        BadRecipe: `views` is not 1 to 8.
    """
    if not 1 <= views <= VIEWS:
        raise BadRecipe(f"Found {views} views of a crop; expected 1 to {VIEWS}.")


def check_crops(crops: np.ndarray, config: ModelConfig, name: str) -> None:
    """Refuse crops of another size or of other stains, and pixels that are no intensities.

    Raises:
        BadModel: Says what the model takes.
        BadRecipe: As `check_levels`.
    """
    side, stains = config.crops.side, config.stains
    is_square = crops.ndim == 4 and crops.shape[1:3] == (side, side)
    channels = 1 if config.sees_one else len(stains)
    if not is_square or (channels and crops.shape[-1] != channels):
        raise BadModel(
            f"Found crops of shape {crops.shape}; the model {name!r} takes [cell, {side}, {side}, "
            f"{channels or 'channel'}]{': ' + ', '.join(stains) if stains else ''}. Cut the "
            "crops at its size and with its stains."
        )
    check_levels(crops)


def _view(crops: jax.Array, number: int) -> jax.Array:
    mirrored = crops[:, :, ::-1] if number >= VIEWS // 2 else crops
    return jnp.rot90(mirrored, number % (VIEWS // 2), axes=(1, 2))


def _padded(run: Callable, crops: np.ndarray, batch: int) -> list[np.ndarray]:
    count = len(crops)
    crops = np.pad(crops, ((0, batch - count), (0, 0), (0, 0), (0, 0)))
    return [np.asarray(found)[:count] for found in run(crops)]
