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

BATCH = 64  # cells through the network at a time, so that none depends on its company


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
        embed: Images scaled to 0 to 1, [batch, height, width, channel], and label images to an
            `Embedding` with a batch axis, all on the device.
    """

    card: Card
    columns: tuple[str, ...]
    embed: Callable[[Images, LabelImages], Embedding]


def load_embedder(
    name: str,
    *,
    stains: Sequence[str],
    shape: tuple[int, int],
    pixel_size_um: float | None,
    max_cells: int,
) -> Embedder:
    """Load a model and compile the stage around it.

    Args:
        name: Shipped model, or path of a .safetensors file.
        stains: Channels of the images, in their order.
        shape: Height and width of the fields.
        pixel_size_um: Of the fields; None if it is not known.
        max_cells: Rows of the tables to come; labels above have none.

    Raises:
        UnknownName: No such model.
        BadModel: Its files cannot be used, or it was trained on other stains.
        BadRecipe: Crops are larger than the fields, or their pixel size is needed and not known.
    """
    model, config, card = load_model(name)
    check_stains(config, stains, name=card.name)
    zoom = zoom_for(shape, config=config.crops, pixel_size_um=pixel_size_um)
    graph, state = nnx.split(model)
    cut = partial(cut_crops, config=config.crops, zoom=zoom, max_cells=max_cells)

    def fields(state: Any, images: Images, labels: LabelImages) -> Embedding:
        one = partial(embed_field, nnx.merge(graph, state), cut=cut)
        # One field after the other: a batch of fields is many batches of cells already.
        return jax.lax.map(lambda field: one(*field), (images, labels))

    size = config.encoder.widths[-1]
    size *= 1 if config.encoder.stains == "mean" else len(stains)
    columns = tuple(f"Embedding_{number:04d}" for number in range(size))
    return Embedder(card, columns, partial(jax.jit(fields), state))


def embed_field(model: Model, image: Image, labels: Labels, *, cut: Callable) -> Embedding:
    """Cut the cells of one field and look at them, `BATCH` at a time, up to the highest label.

    Args:
        model: A model for inference.
        image: Intensities scaled to 0 to 1, [height, width, channel].
        labels: 0 for background, consecutive ids of cells, [height, width].
        cut: `cut_crops` with its options.
    """
    crops = cut(image, labels)
    cells = len(crops.present)
    short = -cells % BATCH
    pixels = jnp.pad(crops.pixels, ((0, short), (0, 0), (0, 0), (0, 0)))

    def see(start: Array) -> tuple[Array, Array]:
        vectors = model.encoder(jax.lax.dynamic_slice_in_dim(pixels, start, BATCH))
        return vectors, model.head(vectors) if model.head else vectors[:, :0]

    def put(number: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        start = number * BATCH
        new = see(start)
        write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return write(found[0], new[0]), write(found[1], new[1])

    kinds = jax.eval_shape(see, jnp.int32(0))
    empty = tuple(jnp.full((cells + short, kind.shape[1]), jnp.nan) for kind in kinds)
    batches = (jnp.clip(labels.max(), 0, cells) + BATCH - 1) // BATCH
    found = jax.lax.fori_loop(0, batches, put, empty)
    vectors, logits = (jnp.where(crops.present[:, None], x[:cells], jnp.nan) for x in found)
    return Embedding(vectors, logits, crops.is_padded)
