"""The field function: pixels of a batch in, features of its cells out, on one device.

This is the only compiled part of a run. It is built once from a recipe, and every
executor, here or on a cluster, calls it batch by batch.
"""

import hashlib
import os
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

CELLS_VERSION = "1"  # raised when the same recipe gives other numbers than before


class FieldResult(NamedTuple):
    """What the device found in one field.

    Attributes:
        features: [cell, column] float32, NaN where undefined; row i is label i + 1.
        count: Cells found; above the recipe's `max_cells` the features are incomplete.
        touches_border: [cell] bool.
        nuclei: Label image [height, width] int32.
        cells: Label image of the cells, with the same ids.
    """

    features: np.ndarray
    count: int
    touches_border: np.ndarray
    nuclei: np.ndarray
    cells: np.ndarray


@dataclass(frozen=True)
class FieldProgram:
    """A recipe, compiled.

    Attributes:
        columns: Names of the features, in the order of `FieldResult.features`.
        weights: Hash of the network's weights.
        computed_by: Hash of all that the cells depend on besides the images.
        run: Raw images [batch, height, width, channel] to one result per image.
    """

    columns: tuple[str, ...]
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
    )
    return FieldProgram(
        columns=plan.columns,
        weights=segmenter.card.sha256,
        computed_by=_key(recipe.cells_key(), segmenter.card.sha256, CELLS_VERSION),
        run=partial(_run, segmenter.segment, plan),
    )


def to_unit(images: Shaped[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
    """Scale raw grey levels as CellProfiler does: integers by their type's maximum.

    The raw integers travel to the device; float32 is made there.
    """
    raw = jnp.asarray(images)
    if jnp.issubdtype(raw.dtype, jnp.integer):
        return raw.astype(jnp.float32) / jnp.float32(jnp.iinfo(raw.dtype).max)
    return raw.astype(jnp.float32)


_to_unit = jax.jit(to_unit)


def _run(
    segment: Callable[[Float[Array, "batch height width channel"]], Compartments],
    plan: Plan,
    images: np.ndarray,
) -> list[FieldResult]:
    scaled = _to_unit(images)
    found = segment(scaled)
    features = measure_batch(scaled, found, plan=plan).features
    parts = jax.device_get((features, found.count, found.touches_border, found.nuclei, found.cells))
    return [FieldResult(f, int(n), *rest) for f, n, *rest in zip(*parts, strict=True)]


def _segment_config(recipe: Recipe) -> SegmentConfig:
    wanted: Segment = recipe.segment
    stains = list(recipe.images.channels)
    return SegmentConfig(
        nuclei_channel=stains.index(wanted.nuclei),
        cells_channel=stains.index(wanted.cells or wanted.nuclei),
        model=wanted.model,
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


def batch_size() -> int:
    """Fields in a batch by default: on a CPU batching gains nothing."""
    return 1 if jax.default_backend() == "cpu" else 8


def device_name() -> str:
    """What computes, for `run.json`: platform and kind of the first device."""
    device: Sequence = jax.devices()
    return f"{device[0].platform}: {device[0].device_kind}"
