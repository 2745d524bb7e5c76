"""The stage's driver: a batch of fields and their labels in, a vector for every cell out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Shaped

from plates.errors import BadLabels, BadModel, BadRecipe
from profiler.embed.crops import CropConfig, cut_crops, zoom_for
from profiler.embed.network.build import Model, as_unit, check_levels
from profiler.embed.weights import Card, check_stains, load_model
from profiler.shapes import Image, Images, LabelImages, Labels

# Cells through the network at a time, so that none depends on its company: a CPU is fastest with
# few (`benchmarks.embed_share`).
BATCH, BATCH_CPU = 128, 32

AnyArray: TypeAlias = Shaped[Array | np.ndarray, "..."]


class Embedding(NamedTuple):
    """What a model says of the cells of a field; row i is label i + 1, NaN if it does not occur.

    Attributes:
        vectors: [..., cell, feature].
        logits: Of the classes, before the softmax, [..., cell, class]; no columns without classes.
        is_padded: Whether the cell's crop reaches beyond its field, [..., cell].
    """

    vectors: Float[Array, "*batch cell feature"]
    logits: Float[Array, "*batch cell class"]
    is_padded: Bool[Array, "*batch cell"]


@dataclass(frozen=True)
class Embedder:
    """A loaded model, compiled for one shape of fields.

    Attributes:
        card: What the model is.
        columns: Names of the vectors' features, "Embedding_0000" first.
        embed: Images [batch, height, width, channel], their label images [batch, height, width]
            and, where crops are of a stated one, `pixel_size_um` of the fields, to an `Embedding`
            with a batch axis, all on the device. Integer images are divided by their type's
            maximum; images of floats must be 0 to 1 (of those on a device the first batch of a
            shape is looked at). Compiled for each shape of fields. Raises `BadLabels` where labels
            do not fit the images, `BadModel` where there are other channels than stains,
            `BadRecipe` where crops are larger than the fields, the pixel size is needed and not
            given, or pixels are of a wide type or grey levels as floats.
        crops: What it is shown. Where it sees the cell alone (`is_masked`), labels are better those
            of whole cells.
    """

    card: Card
    columns: tuple[str, ...]
    embed: Callable[..., Embedding]
    crops: CropConfig


def load_embedder(name: str, *, stains: Sequence[str], max_cells: int) -> Embedder:
    """Load a model and build the stage around it.

    Args:
        name: Shipped model, or path of a .safetensors file.
        stains: Channels of the images, in their order.
        max_cells: Rows of the tables to come, 1 or more; labels above have none.

    Raises:
        UnknownName: No such model.
        BadModel: Its files cannot be used, or it was trained on other stains.
        BadRecipe: `max_cells` leaves no rows.
    """
    if max_cells < 1:
        raise BadRecipe(
            f"Found max_cells = {max_cells}; expected 1 or more: the rows of the tables to come."
        )
    model, config, card = load_model(name)
    check_stains(config, stains, name=card.name)
    graph, state = nnx.split(model)
    fields = _program(graph, config.crops, max_cells)
    seen: set[tuple] = set()

    def embed(
        images: AnyArray, labels: AnyArray, *, pixel_size_um: float | None = None
    ) -> Embedding:
        _check_fields(images, labels, stains=stains, name=card.name)
        shape = labels.shape[1], labels.shape[2]
        kind = shape, images.dtype
        # What is on a device is looked at once: looking waits for it.
        if isinstance(images, np.ndarray) or kind not in seen:
            check_levels(images)
            seen.add(kind)
        asked = {"config": config.crops, "pixel_size_um": pixel_size_um, "model": card.name}
        units, cells = as_unit(jnp.asarray(images)), jnp.asarray(labels, jnp.int32)
        return fields(state, units, cells, zoom=zoom_for(shape, **asked))

    size = config.encoder.widths[-1]
    size *= 1 if config.encoder.stains == "mean" else len(stains)
    columns = tuple(f"Embedding_{number:04d}" for number in range(size))
    return Embedder(card, columns, embed, config.crops)


@lru_cache(maxsize=8)  # compiled programs hold memory
def _program(graph: nnx.GraphDef, crops: CropConfig, max_cells: int) -> Callable[..., Embedding]:
    cut = partial(cut_crops, config=crops, max_cells=max_cells)

    @partial(jax.jit, static_argnames="zoom")
    def fields(state: Any, images: Images, labels: LabelImages, *, zoom: float) -> Embedding:
        one = partial(embed_field, nnx.merge(graph, state), cut=partial(cut, zoom=zoom))
        # One field after the other: a batch of fields is many batches of cells already.
        return jax.lax.map(lambda field: one(*field), (images, labels))

    return fields


def _check_fields(images: AnyArray, labels: AnyArray, *, stains: Sequence[str], name: str) -> None:
    """Compare shapes and types alone: pixels may be on a device, and stay there."""
    if images.ndim != 4 or images.shape[-1] != len(stains):
        raise BadModel(
            f"Found images of shape {images.shape}; the encoder {name!r} was loaded for [batch, "
            f"height, width, {len(stains)}]: {', '.join(stains)}. Give a batch axis and one "
            "channel for each stain, in this order."
        )
    if labels.shape != images.shape[:3] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise BadLabels(
            f"Found labels of shape {labels.shape} and type {labels.dtype} for images of shape "
            f"{images.shape}; expected integers of shape {images.shape[:3]}, 0 for background. "
            "Label the images as they are, before they are cut or scaled."
        )


def embed_field(model: Model, image: Image, labels: Labels, *, cut: Callable) -> Embedding:
    """Cut the cells of one field and look at them, a batch at a time, up to the highest label.

    Args:
        model: A model for inference.
        image: Intensities scaled to 0 to 1, [height, width, channel].
        labels: 0 for background, consecutive ids of cells, [height, width].
        cut: `cut_crops` with its options.
    """
    crops = cut(image, labels)
    cells = len(crops.present)
    batch = BATCH_CPU if jax.default_backend() == "cpu" else BATCH
    short = -cells % batch
    pixels = jnp.pad(crops.pixels, ((0, short), (0, 0), (0, 0), (0, 0)))

    def see(start: Array) -> tuple[Array, Array]:
        vectors = model.encoder(jax.lax.dynamic_slice_in_dim(pixels, start, batch))
        return vectors, model.head(vectors) if model.head else vectors[:, :0]

    def put(number: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        start = number * batch
        new = see(start)
        write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return write(found[0], new[0]), write(found[1], new[1])

    kinds = jax.eval_shape(see, jnp.int32(0))
    empty = tuple(jnp.full((cells + short, kind.shape[1]), jnp.nan) for kind in kinds)
    batches = (jnp.clip(labels.max(), 0, cells) + batch - 1) // batch
    found = jax.lax.fori_loop(0, batches, put, empty)
    vectors, logits = (jnp.where(crops.present[:, None], x[:cells], jnp.nan) for x in found)
    return Embedding(vectors, logits, crops.is_padded)
