"""The stage's driver: a batch of fields in, their compartments out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from profiler.segment.compartments import (
    CellsConfig,
    Compartments,
    compartments,
    compartments_cpu,
)
from profiler.segment.decode import DecodeConfig, Nuclei, decode
from profiler.segment.normalise import normalise
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
        decode: Where nuclei begin and end.
        cells: How cells are found around them.
        max_cells: Rows of the tables to come.
    """

    nuclei_channel: int = 0
    cells_channel: int = 0
    model: str = "nuclei"
    decode: DecodeConfig = DecodeConfig()
    cells: CellsConfig = CellsConfig()
    max_cells: int = 1024


@dataclass(frozen=True)
class Segmenter:
    """A loaded network, compiled once for each field size.

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
        BadModel: Its files cannot be used.
    """
    model, network, card = load_network(config.model)
    graph, state = nnx.split(model)

    def find(state: Any, plane: Plane) -> Nuclei:
        run = nnx.merge(graph, state)
        return decode(predict(run, normalise(plane), network), config.decode)

    on_cpu = (backend or jax.default_backend()) == "cpu"
    per_batch = _by_field if on_cpu else _at_once
    return Segmenter(
        card=card,
        nuclei=partial(jax.jit(find), state),
        segment=per_batch(partial(jax.jit(find), state), config),
    )


def _by_field(nuclei: Callable[[Plane], Nuclei], config: SegmentConfig):
    """Field after field: on a CPU batching gains nothing, and loops run on the host."""

    def one(image: Image) -> Compartments:
        found = nuclei(image[..., config.nuclei_channel]).labels
        stain = image[..., config.cells_channel]
        return compartments_cpu(stain, found, config.cells, max_cells=config.max_cells)

    def batch(images: Images) -> Compartments:
        fields = [one(image) for image in jnp.asarray(images)]
        return jax.tree.map(lambda *parts: jnp.stack(parts), *fields)

    return batch


def _at_once(nuclei: Callable[[Plane], Nuclei], config: SegmentConfig):
    """The whole batch in one program that never leaves the device."""

    def one(image: Image) -> Compartments:
        found = nuclei(image[..., config.nuclei_channel]).labels
        stain = image[..., config.cells_channel]
        return compartments(stain, found, config.cells, max_cells=config.max_cells)

    return jax.jit(jax.vmap(one))
