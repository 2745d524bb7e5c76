"""The field function: pixels of a batch in, features of its cells out, on one device.

This is the only compiled part of a run. It is built once from a recipe, and every
executor, here or on a cluster, calls it batch by batch.
"""

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Shaped

from plates.errors import BadRecipe
from profiler.compute.devices import (
    available_cores,
    keep_compiled_programs,
    place,
    shards,
    telling_out_of_memory,
)
from profiler.compute.vectors import Vectors, load_vectors
from profiler.illuminate.exposure import Light, correct, expose, exposure_columns
from profiler.measure import Plan, measure_batch, plan_measurement
from profiler.measure.plan import Backend
from profiler.recipe import Recipe, Segment
from profiler.segment.compartments import CellsConfig, Compartments
from profiler.segment.normalise import normalise
from profiler.segment.segmenter import SegmentConfig, Segmenter, load_segmenter
from profiler.segment.tiles import predict
from profiler.segment.weights import Card, load_network
from profiler.shapes import Plane
from profiler.throughput.clock import Span

MOST_LEVELS = 65_535
CELLS_VERSION = "6"  # raised when the same recipe gives other numbers than before


class FieldResult(NamedTuple):
    """What the device found in one field.

    Attributes:
        features: [cell, column] float32, NaN where undefined; row i is label i + 1.
        count: Cells found; above the recipe's `max_cells` the features are incomplete.
        touches_border: [cell] bool.
        confidence: How likely each cell's nucleus is right, [cell] float32, NaN if unknown.
        doubtful: Cells dropped for their confidence.
        nuclei: Label image [height, width] int32.
        cells: Label image of the cells, with the same ids.
        image: Features of the field itself, [image column] float32.
        measure_seconds: The field's share of the time that measuring its batch took.
    """

    features: np.ndarray
    count: int
    touches_border: np.ndarray
    confidence: np.ndarray
    doubtful: int
    nuclei: np.ndarray
    cells: np.ndarray
    image: np.ndarray
    measure_seconds: float


@dataclass(frozen=True)
class FieldProgram:
    """A recipe, compiled.

    Attributes:
        columns: Names of the cells' features, in the order of `FieldResult.features`.
        image_columns: Names of the fields' own, in the order of `FieldResult.image`.
        weights: Hash of the networks' weights, joined by "+" where one sees nuclei, one cells.
        embedder: Hash of the encoder's, if the recipe names one.
        computed_by: Hash of all that the cells depend on besides the images.
        compute: Raw images [batch, height, width, channel], on the host or placed on the devices,
            to what `fetch` brings back; it waits for the numbers. `span` times the stages.
            Raises `OutOfMemory` where the batch is too large, and `BadRecipe` where the encoder's
            crops cannot be cut.
    """

    columns: tuple[str, ...]
    image_columns: tuple[str, ...]
    weights: str
    embedder: str | None
    computed_by: str
    compute: Callable[..., list["Share"]]

    def run(self, images: Shaped[np.ndarray, "batch height width channel"]) -> list[FieldResult]:
        """Compute a batch and fetch its results, one per image."""
        return fetch(self.compute(images))

    def lit(self, light: Light) -> "FieldProgram":
        """The same program for a plate that was lit so: its fields are corrected first."""
        return replace(self, compute=partial(self.compute, light=light))

    def sized(self, pixel_size_um: float | None) -> "FieldProgram":
        """The same program for a plate whose pixels are so large."""
        return replace(self, compute=partial(self.compute, pixel_size_um=pixel_size_um))


class Share(NamedTuple):
    """What one device found in its share of a batch, still there.

    Attributes:
        parts: The arrays of `FieldResult`, in its order, with a batch axis.
        measure_seconds: Each field's share of the time that measuring took.
    """

    parts: tuple[Any, ...]
    measure_seconds: float


class _Stages(NamedTuple):
    """What is done with a batch, one after the other."""

    segment: Callable[[Float[Array, "batch height width channel"]], Compartments]
    plan: Plan
    vectors: Vectors | None


def compile_recipe(recipe: Recipe, *, backend: Backend | None = None) -> FieldProgram:
    """Load the network, resolve the features and tie them into one program.

    Args:
        recipe: What to compute.
        backend: Whose kernels: by default those that suit where JAX runs.

    Raises:
        UnknownName: The recipe names an unknown model, family or channel.
        BadModel: The network's files cannot be used.
        BadRecipe: The model of nuclei finds whole cells.
    """
    keep_compiled_programs()
    kernels = {"cpu": "cpu", "jax": "accelerator"}
    segmenter = load_segmenter(segment_config(recipe), backend=kernels.get(backend or ""))
    _check_nuclei(segmenter)
    vectors = load_vectors(recipe)
    stains = tuple(recipe.images.channels)
    plan = plan_measurement(
        families=recipe.measure.families,
        stains=stains,
        channels=recipe.measure.channels or stains,
        max_cells=recipe.segment.max_cells,
        options=recipe.measure.options,
        backend=backend or "auto",
        threads=available_cores(),
    )
    embedder = vectors.embedder.card.sha256 if vectors else None
    return FieldProgram(
        columns=(*plan.columns, *(vectors.columns if vectors else ())),
        image_columns=(*plan.image_columns, *exposure_columns(stains)),
        weights=segmenter.weights,
        embedder=embedder,
        computed_by=_key(
            recipe.cells_key(),
            *chain.from_iterable(map(_network_key, segmenter.cards)),
            CELLS_VERSION,
            *filter(None, [embedder]),
        ),
        compute=partial(_compute, _Stages(segmenter.segment, plan, vectors)),
    )


def _check_nuclei(segmenter: Segmenter) -> None:
    if segmenter.card.nucleus_px is not None:
        raise BadRecipe(
            f"[segment] model is {segmenter.card.name!r}, which finds whole cells, where nuclei "
            'are asked for. Name it as cells_model, with method = "network".'
        )


def to_unit(images: Shaped[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
    """Scale raw grey levels as CellProfiler does: integers by their type's maximum.

    The raw integers travel to the device; float32 is made there.
    """
    raw = jnp.asarray(images)
    if not jnp.issubdtype(raw.dtype, jnp.integer):
        return raw.astype(jnp.float32)
    most = jnp.iinfo(raw.dtype).max
    if most > MOST_LEVELS:
        return raw.astype(jnp.float32) / jnp.float32(most)
    # Looked up: compilers divide by a constant as they like, and ties hang on the last bit.
    levels = jnp.asarray((np.arange(most + 1) / most).astype(np.float32))
    return levels[raw.astype(jnp.int32)]


_to_unit = jax.jit(to_unit)


def _compute(
    stages: _Stages,
    images: Shaped[Array | np.ndarray, "batch height width channel"],
    *,
    light: Light | None = None,
    pixel_size_um: float | None = None,
    span: Span = nullcontext,
) -> list[Share]:
    """Compute a batch, each device its share of the fields by the same program."""
    if stages.vectors is not None:  # before minutes of segmenting and measuring
        _, height, width, _ = images.shape
        stages.vectors.check((height, width), pixel_size_um=pixel_size_um)
    with telling_out_of_memory(len(images)):
        placed = images if isinstance(images, jax.Array) else place(images)
        parts = shards(placed)
        one = partial(_share, stages, light=light, pixel_size_um=pixel_size_um, span=span)
        if len(parts) == 1:
            return [one(parts[0])]
        with ThreadPoolExecutor(len(parts), thread_name_prefix="profiler-device") as pool:
            return list(pool.map(one, parts))


def _share(
    stages: _Stages,
    images: Shaped[Array, "batch height width channel"],
    *,
    light: Light | None,
    pixel_size_um: float | None,
    span: Span,
) -> Share:
    with span("segment"):
        raw = scaled = _to_unit(images)
        if light is not None:
            has_levels = bool(jnp.issubdtype(images.dtype, jnp.integer))
            scaled = correct(raw, light, has_levels=has_levels)
        exposure = expose(raw, scaled)
        found = jax.block_until_ready(stages.segment(scaled))
    start = time.perf_counter()
    with span("measure"):
        table = jax.block_until_ready(measure_batch(scaled, found, plan=stages.plan))
    each = (time.perf_counter() - start) / len(images)
    features = table.features
    if stages.vectors is not None:
        with span("embed"):
            seen = stages.vectors(scaled, found, pixel_size_um=pixel_size_um)
            features = _side_by_side(features, jax.block_until_ready(seen))
    trust = (found.touches_border, found.confidence, found.doubtful)
    image = _side_by_side(table.image, exposure)
    return Share((features, found.count, *trust, found.nuclei, found.cells, image), each)


def _side_by_side(one: Any, other: Array) -> Any:
    """Join columns where the first are: kernels of the CPU return numpy arrays."""
    if isinstance(one, np.ndarray):
        return np.concatenate([one, np.asarray(other)], axis=-1)
    return jnp.concatenate([one, other], axis=-1)


def fetch(computed: list[Share]) -> list[FieldResult]:
    """Bring what was computed back to the host, one result per image."""
    return [
        FieldResult(
            features,
            int(count),
            cut,
            sure,
            int(doubtful),
            *rest,
            measure_seconds=share.measure_seconds,
        )
        for share in computed
        for features, count, cut, sure, doubtful, *rest in zip(
            *jax.device_get(share.parts), strict=True
        )
    ]


def time_alone(
    recipe: Recipe, image: Shaped[np.ndarray, "height width channel"]
) -> dict[str, float]:
    """Time what is compiled into one program, and so cannot be told apart in a run.

    Args:
        recipe: As given to `compile_recipe`.
        image: A raw field of the plate.

    Returns:
        Seconds a field of the network alone, at the field's own scale; of finding nuclei; and of
        seeing whole cells, where a network does.
    """
    config = segment_config(recipe)
    model, network, _ = load_network(config.model)
    graph, state = nnx.split(model)

    @jax.jit
    def predicted(state: Any, plane: Plane) -> Any:
        return predict(nnx.merge(graph, state), normalise(plane), network)

    segmenter, field = load_segmenter(config), _to_unit(image)
    plane = field[..., config.nuclei_channel]
    runs: dict[str, Callable[[], Any]] = {
        "network": partial(predicted, state, plane),
        "nuclei": partial(segmenter.nuclei, plane),
    }
    if segmenter.whole_cells is not None:
        labels = segmenter.nuclei(plane).labels
        runs["whole cells"] = partial(segmenter.whole_cells, field, labels)
    return {name: _second_time(each) for name, each in runs.items()}


def _second_time(run: Callable[[], Any]) -> float:
    jax.block_until_ready(run())  # compiles
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def segment_config(recipe: Recipe) -> SegmentConfig:
    """What a recipe asks of the segmenter, stains as channels."""
    wanted: Segment = recipe.segment
    stains = list(recipe.images.channels)
    return SegmentConfig(
        nuclei_channel=stains.index(wanted.nuclei),
        cells_channel=stains.index(wanted.cells or wanted.nuclei),
        model=wanted.model,
        cells_model=wanted.cells_model,
        diameter_px=wanted.diameter_px,
        min_area_px=wanted.min_nucleus_area_px,
        cells=CellsConfig(
            **wanted.model_dump(include=set(CellsConfig.__dataclass_fields__)),
        ),
        max_cells=wanted.max_cells,
    )


def _network_key(card: Card) -> tuple[str, str]:
    """What the cells depend on of a network: its weights, and what its card says of their use."""
    sizes = {"diameter_px": card.diameter_px, "nucleus_px": card.nucleus_px}
    used = {"calibration": card.calibration, "joining": card.joining}
    said = {"architecture": card.architecture} | used | sizes
    return card.sha256, json.dumps(said, sort_keys=True)


def _key(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
