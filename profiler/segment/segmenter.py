"""The stage's driver: a batch of fields in, their compartments out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from plates.errors import BadModel, BadRecipe
from profiler.segment.compartments import (
    CellsConfig,
    Compartments,
    compartments,
    compartments_cpu,
)
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.heads import HEADS
from profiler.segment.heads.head import Head
from profiler.segment.normalise import normalise
from profiler.segment.sizes import decode_at, find_scale, scale_for, sizes_served
from profiler.segment.tiles import predict
from profiler.segment.weights import Card, load_network
from profiler.shapes import Image, Images, Plane


@dataclass(frozen=True)
class SegmentConfig:
    """What to segment, and how.

    Attributes:
        nuclei_channel: Index of the nuclear stain in an image's last axis.
        cells_channel: Index of the cell stain.
        model: Shipped model or path of weights.
        diameter_px: How wide nuclei are, in the images' pixels: fields are scaled so that the
            network sees them as in training. "auto" estimates it for each field from what is
            found; None leaves fields as they are.
        min_area_px: Smaller nuclei are specks.
        cells: How cells are found around them.
        max_cells: Rows of the tables to come.
    """

    nuclei_channel: int = 0
    cells_channel: int = 0
    model: str = "nuclei"
    diameter_px: float | Literal["auto"] | None = None
    min_area_px: int = 25
    cells: CellsConfig = CellsConfig()
    max_cells: int = 1024


@dataclass(frozen=True)
class Segmenter:
    """A loaded network, compiled once for each field size and scale.

    Attributes:
        card: What the network is.
        nuclei: One plane [height, width] to `Nuclei`.
        segment: A batch of images, scaled to 0 to 1, to `Compartments` with a batch axis.
    """

    card: Card
    nuclei: Callable[[Plane], Nuclei]
    segment: Callable[[Images], Compartments]


def load_segmenter(config: SegmentConfig, *, backend: str | None = None) -> Segmenter:
    """Load a network and compile the stage around it.

    Args:
        config: See `SegmentConfig`.
        backend: "cpu" or an accelerator's name; by default, where JAX runs.

    Raises:
        UnknownName: No such model.
        BadModel: Its files cannot be used, or a diameter is asked for and its card has none.
        BadRecipe: The diameter is beyond what fields can be scaled by.
    """
    model, network, card = load_network(config.model)
    head = with_min_area(HEADS[network.head], config.min_area_px)
    graph, state = nnx.split(model)

    def find(state: Any, plane: Plane, scale: float) -> Nuclei:
        run = partial(predict, nnx.merge(graph, state), config=network)
        return decode_at(run, normalise(plane), head, scale=scale)

    at_scale = partial(jax.jit(find, static_argnums=2), state)
    is_cpu = (backend or jax.default_backend()) == "cpu"
    if config.diameter_px == "auto":
        nuclei = partial(find_scale, at_scale, trained_px=_trained(card))
        return Segmenter(card, nuclei, (_by_field if is_cpu else _cells_at_once)(nuclei, config))
    nuclei = partial(_at, at_scale, _scale(card, config.diameter_px))
    return Segmenter(card, nuclei, (_by_field if is_cpu else _at_once)(nuclei, config))


def with_min_area(head: Head, min_area_px: int) -> Head:
    """Have a head drop nuclei of fewer pixels."""
    return replace(head, settings=replace(head.settings, min_area_px=min_area_px))


def _at(find: Callable[[Plane, float], Nuclei], scale: float, plane: Plane) -> Nuclei:
    return find(plane, scale)


def _scale(card: Card, diameter_px: float | None) -> float:
    if diameter_px is None:
        return 1.0
    smallest, largest = sizes_served(_trained(card))
    if not smallest <= diameter_px <= largest:
        raise BadRecipe(
            f"diameter_px is {diameter_px:g}; the model {card.name!r} serves nuclei of "
            f"{smallest:.1f} to {largest:.0f} px. Give the diameter in the images' own pixels, or "
            "bin the images."
        )
    return scale_for(diameter_px, trained_px=_trained(card))


def _trained(card: Card) -> float:
    if card.diameter_px is None:
        raise BadModel(
            f"The model {card.name!r} was trained on nuclei of mixed sizes (its card has no "
            "diameter_px), so fields cannot be brought to its own. Leave diameter_px out."
        )
    return card.diameter_px


def _by_field(nuclei: Callable[[Plane], Nuclei], config: SegmentConfig):
    """Field after field: on a CPU batching gains nothing, and loops run on the host."""

    def one(image: Image) -> Compartments:
        found = nuclei(image[..., config.nuclei_channel])
        stain = image[..., config.cells_channel]
        cells = compartments_cpu(stain, found.labels, config.cells, max_cells=config.max_cells)
        return _too_full(cells, found.dropped, config)

    def batch(images: Images) -> Compartments:
        fields = [one(image) for image in jnp.asarray(images)]
        return jax.tree.map(lambda *parts: jnp.stack(parts), *fields)

    return batch


def _at_once(nuclei: Callable[[Plane], Nuclei], config: SegmentConfig):
    """The whole batch in one program that never leaves the device."""

    def one(image: Image) -> Compartments:
        found = nuclei(image[..., config.nuclei_channel])
        stain = image[..., config.cells_channel]
        cells = compartments(stain, found.labels, config.cells, max_cells=config.max_cells)
        return _too_full(cells, found.dropped, config)

    return jax.jit(jax.vmap(one))


def _cells_at_once(nuclei: Callable[[Plane], Nuclei], config: SegmentConfig):
    """Nuclei field after field, each at its own scale; cells of the whole batch in one program."""

    @jax.jit
    @jax.vmap
    def grow(stain: Plane, found: Nuclei) -> Compartments:
        cells = compartments(stain, found.labels, config.cells, max_cells=config.max_cells)
        return _too_full(cells, found.dropped, config)

    def batch(images: Images) -> Compartments:
        images = jnp.asarray(images)
        found = [nuclei(image[..., config.nuclei_channel]) for image in images]
        together = jax.tree.map(lambda *parts: jnp.stack(parts), *found)
        return grow(images[..., config.cells_channel], together)

    return batch


def _too_full(cells: Compartments, dropped: Array, config: SegmentConfig) -> Compartments:
    """Count a field whose candidates found no room as one with too many cells, which it is."""
    more = jnp.maximum(cells.count, config.max_cells) + dropped
    return cells._replace(count=jnp.where(dropped > 0, more, cells.count))
