"""Nucleus, cell and cytoplasm of every cell, under one id."""

from dataclasses import dataclass
from functools import partial, reduce
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from profiler.segment.propagate import propagate_cpu, propagate_jax
from profiler.segment.sizes import Seen
from profiler.segment.threshold import THRESHOLDS
from profiler.segment.whole_cells import give_to_nuclei
from profiler.shapes import Labels, Mask, Plane

Confidence = Float[Array, " nucleus"]


@dataclass(frozen=True)
class CellsConfig:
    """How cells are found around nuclei.

    Attributes:
        method: "propagation" over a cell stain, a "ring" of fixed width, or the cells that a
            "network" sees.
        ring_px: Where the ring begins and ends, in pixels from the nucleus. A cell then
            reaches from its nucleus to the ring's end.
        gap_px: Strip around the nucleus that belongs to neither nucleus nor cytoplasm
            of cells that are not rings: keeps the blur of one out of the other.
        threshold: How the cell stain is told from the background.
        correction: Factor on that threshold; above 1 for smaller cells.
        regularisation: λ of the propagation on a 0 to 1 scale of the cell stain.
        border: "keep" cells whose nucleus touches the field's border (they are flagged),
            or "drop" them, after they have taken their ground.
        min_confidence: Nuclei less likely to be right are dropped, likewise; those of unknown
            confidence are kept.
    """

    method: Literal["propagation", "ring", "network"] = "propagation"
    ring_px: tuple[float, float] = (1.5, 6.0)
    gap_px: float = 0.0
    threshold: str = "minimum_cross_entropy"
    correction: float = 1.0
    regularisation: float = 0.05
    border: Literal["keep", "drop"] = "keep"
    min_confidence: float = 0.0


class Compartments(NamedTuple):
    """Three label images of one field (or of a batch) that agree in their ids.

    Attributes:
        nuclei: 1 to count.
        cells: The nucleus and what surrounds it.
        cytoplasm: The cell without its nucleus.
        count: Cells found, before `max_cells` cuts them off.
        touches_border: For each cell, whether its nucleus touches the field's border.
        confidence: For each cell, how likely its nucleus is right; NaN if unknown.
        doubtful: Cells dropped for their confidence alone.
    """

    nuclei: Int[Array, "*batch height width"]
    cells: Int[Array, "*batch height width"]
    cytoplasm: Int[Array, "*batch height width"]
    count: Int[Array, "*batch"]
    touches_border: Bool[Array, "*batch cell"]
    confidence: Float[Array, "*batch cell"]
    doubtful: Int[Array, "*batch"]


def compartments(
    plane: Plane,
    nuclei: Labels,
    config: CellsConfig,
    *,
    max_cells: int,
    confidence: Confidence | None = None,
    seen: Seen | None = None,
) -> Compartments:
    """Find cells and cytoplasm around nuclei, on an accelerator.

    Args:
        plane: The cell stain; a ring does not look at it.
        nuclei: 1 and up, consecutive.
        config: Method and its settings.
        max_cells: Rows of the tables to come; ids above are cut off, `count` tells.
        confidence: How likely nucleus i + 1 is right; NaN, or None for all, if unknown.
        seen: The cells that a network sees, if the method is "network".
    """
    if seen is not None:
        cells = give_to_nuclei(seen, nuclei)
    elif config.method == "ring":
        cells = within(nuclei, config.ring_px[1])
    else:
        scaled = _unit(plane)
        mask = _mask(scaled, config)
        cells = propagate_jax(scaled, nuclei, mask, regularisation=config.regularisation)
    return settle(nuclei, cells, config, max_cells=max_cells, confidence=confidence)


def compartments_cpu(
    plane: Plane,
    nuclei: Labels,
    config: CellsConfig,
    *,
    max_cells: int,
    confidence: Confidence | None = None,
    seen: Seen | None = None,
) -> Compartments:
    """Find cells and cytoplasm around nuclei, on a CPU; see `compartments`."""
    if seen is not None:
        cells = _give_to_nuclei(seen, nuclei)
    elif config.method == "ring":
        cells = _within(nuclei, config.ring_px[1])
    else:
        scaled, mask = _mask_of(plane, config)
        grown = propagate_cpu(
            np.asarray(scaled),
            np.asarray(nuclei),
            np.asarray(mask),
            regularisation=config.regularisation,
        )
        cells = jnp.asarray(grown)
    return _settle(nuclei, cells, confidence, config, max_cells)


def within(nuclei: Labels, reach_px: float) -> Labels:
    """Give every pixel the id of its nearest nucleus, up to a distance.

    Exact Euclidean distance between pixel centres, in two passes of shifts: along
    columns, then along rows. Ties go to the smaller id: squared distance and id share
    one integer, so that a single minimum compares both.

    Args:
        nuclei: Ids below 65,536, [height, width].
        reach_px: At most 127, so that sums of squares fit.
    """
    radius = int(np.floor(reach_px))
    far = jnp.int32((int(np.floor(reach_px**2)) + 1) * ID_RANGE)
    key = jnp.where(nuclei > 0, nuclei, far)
    for axis in (0, 1):
        offers = (_slide(key, step, axis, far) + step**2 * ID_RANGE for step in _steps(radius))
        key = reduce(jnp.minimum, offers, key)
    return jnp.where(key < far, key % ID_RANGE, 0)


ID_RANGE = 1 << 16


def _steps(radius: int) -> list[int]:
    return [step for step in range(-radius, radius + 1) if step]


def _slide(plane: Array, step: int, axis: int, fill: Array) -> Array:
    pads = [(0, 0), (0, 0)]
    pads[axis] = (max(-step, 0), max(step, 0))
    padded = jnp.pad(plane, pads, constant_values=fill)
    start = max(step, 0)
    return lax.slice_in_dim(padded, start, start + plane.shape[axis], axis=axis)


def settle(
    nuclei: Labels,
    cells: Labels,
    config: CellsConfig,
    *,
    max_cells: int,
    confidence: Confidence | None = None,
) -> Compartments:
    """Flag or drop what touches the border or is doubtful; take the cytoplasm out of the cells."""
    size = nuclei.size  # ids never exceed the number of pixels
    likely = jnp.full(size + 1, jnp.nan, jnp.float32)
    if confidence is not None:
        likely = likely.at[1 : len(confidence) + 1].set(confidence)
    touches = jnp.zeros(size + 1, bool).at[_frame(nuclei)].set(True).at[0].set(False)
    present = jnp.zeros(size + 1, bool).at[nuclei.ravel()].set(True).at[0].set(False)
    whole = present & ~touches if config.border == "drop" else present
    kept = whole & ~(likely < config.min_confidence)
    doubtful = (whole & ~kept).sum(dtype=jnp.int32)
    number = jnp.where(kept, jnp.cumsum(kept, dtype=jnp.int32), 0)
    count = kept.sum(dtype=jnp.int32)
    number = jnp.where(number <= max_cells, number, 0)

    flags = jnp.zeros(max_cells + 1, bool).at[number].max(touches & kept)[1:]
    sure = jnp.full(max_cells + 1, jnp.nan, jnp.float32).at[number].set(likely)[1:]
    nuclei, cells = number[nuclei], number[cells]
    gap = config.ring_px[0] if config.method == "ring" else config.gap_px
    core = within(nuclei, gap) if gap >= 1 else nuclei
    cytoplasm = jnp.where(core > 0, 0, cells)
    return Compartments(nuclei, cells, cytoplasm, count, flags, sure, doubtful)


def _frame(labels: Labels) -> Int[Array, " pixel"]:
    return jnp.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])


def _unit(plane: Plane) -> Plane:
    low, high = plane.min(), plane.max()
    return (plane - low) / jnp.where(high > low, high - low, 1.0)


def _mask(scaled: Plane, config: CellsConfig) -> Mask:
    return scaled > THRESHOLDS[config.threshold](scaled) * config.correction


@partial(jax.jit, static_argnames="config")
def _mask_of(plane: Plane, config: CellsConfig) -> tuple[Plane, Mask]:
    scaled = _unit(plane)
    return scaled, _mask(scaled, config)


_within = jax.jit(within, static_argnums=1)
_give_to_nuclei = jax.jit(give_to_nuclei)
_settle = jax.jit(
    lambda nuclei, cells, confidence, config, max_cells: settle(
        nuclei, cells, config, max_cells=max_cells, confidence=confidence
    ),
    static_argnums=(3, 4),
)
