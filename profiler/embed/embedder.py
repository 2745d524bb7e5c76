"""The stage's driver: a batch of fields and their labels in, a vector for every cell out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from profiler.embed.crops import cut_crops, zoom_for
from profiler.embed.network.build import Model
from profiler.embed.weights import Card, check_stains, load_model
from profiler.shapes import Image, Images, LabelImages, Labels

# Cells through the network at a time, so that none depends on its company: a CPU is fastest with
# few (`benchmarks.embed_speed`).
BATCH, BATCH_CPU = 128, 16


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
        embed: Images scaled to 0 to 1, [batch, height, width, channel], label images and, where
            crops are of a stated one, `pixel_size_um` of the fields, to an `Embedding` with a batch
            axis, all on the device. Raises `BadRecipe` where crops are larger than the fields, or
            the pixel size is needed and not given. Compiled for each shape of fields.
        is_masked: Whether it sees the cell alone: labels are better those of whole cells then.
    """

    card: Card
    columns: tuple[str, ...]
    embed: Callable[..., Embedding]
    is_masked: bool


def load_embedder(name: str, *, stains: Sequence[str], max_cells: int) -> Embedder:
    """Load a model and build the stage around it.

    Args:
        name: Shipped model, or path of a .safetensors file.
        stains: Channels of the images, in their order.
        max_cells: Rows of the tables to come; labels above have none.

    Raises:
        UnknownName: No such model.
        BadModel: Its files cannot be used, or it was trained on other stains.
    """
    model, config, card = load_model(name)
    check_stains(config, stains, name=card.name)
    graph, state = nnx.split(model)
    cut = partial(cut_crops, config=config.crops, max_cells=max_cells)

    @partial(jax.jit, static_argnames="zoom")
    def fields(state: Any, images: Images, labels: LabelImages, *, zoom: float) -> Embedding:
        one = partial(embed_field, nnx.merge(graph, state), cut=partial(cut, zoom=zoom))
        # One field after the other: a batch of fields is many batches of cells already.
        return jax.lax.map(lambda field: one(*field), (images, labels))

    def embed(
        images: Images, labels: LabelImages, *, pixel_size_um: float | None = None
    ) -> Embedding:
        shape = labels.shape[1], labels.shape[2]
        zoom = zoom_for(shape, config=config.crops, pixel_size_um=pixel_size_um)
        return fields(state, images, labels, zoom=zoom)

    size = config.encoder.widths[-1]
    size *= 1 if config.encoder.stains == "mean" else len(stains)
    columns = tuple(f"Embedding_{number:04d}" for number in range(size))
    return Embedder(card, columns, embed, config.crops.is_masked)


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
