"""A recipe's encoder as a stage of the field pass: cells just segmented in, columns out."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from profiler.embed.crops import zoom_for
from profiler.embed.embedder import Embedder, load_embedder
from profiler.recipe import Recipe
from profiler.segment.compartments import Compartments
from profiler.shapes import Images

PADDED = "Metadata_QC_CropPadded"


@dataclass(frozen=True)
class Vectors:
    """What embeds the cells of a batch.

    Attributes:
        embedder: The network.
        channels: Of the images, those that it sees.
    """

    embedder: Embedder
    channels: tuple[int, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what `__call__` gives."""
        return PADDED, *self.embedder.columns

    def check(self, shape: tuple[int, int], *, pixel_size_um: float | None) -> None:
        """Refuse fields that the encoder's crops cannot be cut from, before they are segmented.

        Args:
            shape: Height and width of the fields, pixels.
            pixel_size_um: Of the fields; None if it is not known.

        Raises:
            BadRecipe: Crops are larger than the fields, or the pixel size is needed.
        """
        own = self.embedder
        zoom_for(shape, config=own.crops, pixel_size_um=pixel_size_um, model=own.card.name)

    def __call__(
        self, images: Images, found: Compartments, *, pixel_size_um: float | None
    ) -> Float[Array, "batch cell column"]:
        """Cut the batch's cells and look at them.

        Args:
            images: Scaled to 0 to 1.
            found: Where the cells are. Crops lie around nuclei, which are found more surely than
                cells' outlines, unless they show the cell alone.
            pixel_size_um: Of the images; None if it is not known.

        Raises:
            BadRecipe: Crops are larger than the fields, or the pixel size is needed.
        """
        labels = jnp.asarray(found.cells if self.embedder.crops.is_masked else found.nuclei)
        seen = images[..., np.array(self.channels)]
        said = self.embedder.embed(seen, labels, pixel_size_um=pixel_size_um)
        padded = said.is_padded[..., None].astype(said.vectors.dtype)
        return jnp.concatenate([padded, said.vectors], axis=-1)


def load_vectors(recipe: Recipe) -> Vectors | None:
    """Load the encoder that a recipe names, if it does.

    Raises:
        UnknownName: There is no such model.
        BadModel: Its files cannot be used, or it was trained on other stains.
    """
    if recipe.embed.model is None:
        return None
    stains = tuple(recipe.images.channels)
    seen = recipe.embed.channels or stains
    most = recipe.segment.max_cells
    embedder = load_embedder(recipe.embed.model, stains=seen, max_cells=most)
    return Vectors(embedder, tuple(stains.index(stain) for stain in seen))
