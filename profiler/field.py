"""The field function: pixels of a batch in, features of its cells out, on one device.

This is the only compiled part of a run. It is built once from a recipe, and every
executor, here or on a cluster, calls it batch by batch.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from profiler.measure import Plan, measure_batch, plan_measurement
from profiler.recipe import Recipe, Segment
from profiler.segment.compartments import CellsConfig, Compartments
from profiler.segment.decode import DecodeConfig
from profiler.segment.segmenter import SegmentConfig, load_segmenter

MOST_LEVELS = 65_535
CELLS_VERSION = "3"  # raised when the same recipe gives other numbers than before


class FieldResult(NamedTuple):
    """What the device found in one field.

    Attributes:
        features: [cell, column] float32, NaN where undefined; row i is label i + 1.
        count: Cells found; above the recipe's `max_cells` the features are incomplete.
        touches_border: [cell] bool.
        nuclei: Label image [height, width] int32.
        cells: Label image of the cells, with the same ids.
        image: Features of the field itself, [image column] float32.
        measure_seconds: The field's share of the time that measuring its batch took.
    """

    features: np.ndarray
    count: int
    touches_border: np.ndarray
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
        weights: Hash of the network's weights.
        computed_by: Hash of all that the cells depend on besides the images.
        run: Raw images [batch, height, width, channel] to one result per image.
    """

    columns: tuple[str, ...]
    image_columns: tuple[str, ...]
    weights: str
    computed_by: str
    run: Callable[[Shaped[np.ndarray, "batch height width channel"]], list[FieldResult]]


def compile_recipe(recipe: Recipe) -> FieldProgram:
    """Load the network, resolve the features and tie them into one program.

    Raises:
        UnknownName: The recipe names an unknown model, family or channel.
        BadModel: The network's files cannot be used.
    """
    keep_compiled_programs()
    segmenter = load_segmenter(_segment_config(recipe))
    stains = tuple(recipe.images.channels)
    plan = plan_measurement(
        families=recipe.measure.families,
        stains=stains,
        channels=recipe.measure.channels or stains,
        max_cells=recipe.segment.max_cells,
        options=recipe.measure.options,
        threads=available_cores(),
    )
    return FieldProgram(
        columns=plan.columns,
        image_columns=plan.image_columns,
        weights=segmenter.card.sha256,
        computed_by=_key(recipe.cells_key(), segmenter.card.sha256, CELLS_VERSION),
        run=partial(_run, segmenter.segment, plan),
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


def _run(
    segment: Callable[[Float[Array, "batch height width channel"]], Compartments],
    plan: Plan,
    images: np.ndarray,
) -> list[FieldResult]:
    scaled = _to_unit(images)
    found = jax.block_until_ready(segment(scaled))
    start = time.perf_counter()
    table = jax.block_until_ready(measure_batch(scaled, found, plan=plan))
    share = (time.perf_counter() - start) / len(images)
    parts = jax.device_get(
        (table.features, found.count, found.touches_border, found.nuclei, found.cells, table.image)
    )
    return [
        FieldResult(features, int(count), *rest, measure_seconds=share)
        for features, count, *rest in zip(*parts, strict=True)
    ]


def _segment_config(recipe: Recipe) -> SegmentConfig:
    wanted: Segment = recipe.segment
    stains = list(recipe.images.channels)
    return SegmentConfig(
        nuclei_channel=stains.index(wanted.nuclei),
        cells_channel=stains.index(wanted.cells or wanted.nuclei),
        model=wanted.model,
        diameter_px=wanted.diameter_px,
        decode=DecodeConfig(min_area_px=wanted.min_nucleus_area_px),
        cells=CellsConfig(
            **wanted.model_dump(include=set(CellsConfig.__dataclass_fields__)),
        ),
        max_cells=wanted.max_cells,
    )


def _key(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def keep_compiled_programs() -> None:
    """Turn JAX's persistent compilation cache on, unless the user has placed it elsewhere."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(home) / "plate-profiler" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batch_size() -> int:
    """Fields in a batch by default: on a CPU batching gains nothing."""
    return 1 if jax.default_backend() == "cpu" else 8


def device_name() -> str:
    """What computes, for `run.json`: platform and kind of the first device."""
    device: Sequence = jax.devices()
    return f"{device[0].platform}: {device[0].device_kind}"
