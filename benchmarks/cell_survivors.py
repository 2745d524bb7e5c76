"""Which propagated cells can be trusted. Host side, NumPy; see `benchmarks/cell_scenes.py`."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from profiler.segment.propagate import propagate_cpu
from profiler.segment.score import overlaps
from profiler.segment.threshold import THRESHOLDS

IGNORE = -1
USUAL = (1.0, 0.05)  # threshold correction, regularisation
CHANGED = ((0.8, 0.05), (1.25, 0.05), (1.0, 0.02), (1.0, 0.3))
AGREE, CONTRAST = 0.8, 2.5
FAR_PX, LEAST_GROUND = 10, 0.02  # background far from all cells, and its least share
LEAST_FREE, LEAST_KEPT = 0.3, 0.2  # of an outline that meets background; of a field's cells


class Survivors(NamedTuple):
    """Propagated cells of one stain that may be learnt from.

    Attributes:
        cells: Those kept; -1 around all others; 0 where there is background for sure.
        found: How many cells there were.
        kept: How many of them are left.
    """

    cells: np.ndarray
    found: int
    kept: int


def survivors(plane: np.ndarray, nuclei: np.ndarray) -> Survivors:
    """Keep the cells that changed settings agree on and whose outline can be seen.

    A cell is kept if its labels under every one of `CHANGED` overlap it by an IoU of `AGREE`, if
    it does not touch the field's border, and if, over the background far from all cells, the
    strip inside its outline is `CONTRAST` times as bright as the one outside, where no other
    cell is. A cell that others surround for more than seven tenths is not kept: nobody has seen
    where it ends. Where less than a fifth of the cells are left, none is kept: in a confluent
    field the threshold runs through cells, and what it calls background is none.

    Args:
        plane: A cell stain, [height, width]. Cells are grown on its logarithm, on which dim
            edges count.
        nuclei: Labels, 1 and up.
    """
    scaled = _logarithm(plane)
    usual = _cells(scaled, nuclei, *USUAL)
    others = [_cells(scaled, nuclei, *settings) for settings in CHANGED]
    steady = np.min([np.diag(overlaps(usual, other)) for other in others], axis=0) >= AGREE
    widest = others[0] > 0  # under the lowest threshold
    far = plane[np.asarray(ndimage.distance_transform_edt(~widest)) > FAR_PX]
    nothing = Survivors(np.full(nuclei.shape, IGNORE), len(steady), 0)
    if far.size < LEAST_GROUND * plane.size:
        return nothing
    ground = float(np.median(far))
    clear = steady & (_contrast(plane - ground, usual, len(steady)) > CONTRAST)
    sure = np.concatenate([[False], clear])
    sure[np.concatenate([usual[0], usual[-1], usual[:, 0], usual[:, -1]])] = False
    if sure.sum() < LEAST_KEPT * len(steady):
        return nothing
    kept = np.where(sure[usual], usual, 0)
    doubtful = (widest | (plane > ground + 3 * _deviation(far))) & (kept == 0)
    near = ndimage.binary_dilation(doubtful, iterations=3) & (kept == 0)
    return Survivors(np.where(near, IGNORE, kept), len(steady), int(sure.sum()))


def _logarithm(plane: np.ndarray) -> np.ndarray:
    """Of a stain, from 0 to 1, its brightest specks cut off."""
    low, high = np.percentile(plane, [0.1, 99.5])
    low = max(low, high / 1000)
    return (np.log(np.clip(plane, low, high) / low) / np.log(high / low)).astype(np.float32)


def _cells(
    scaled: np.ndarray, nuclei: np.ndarray, correction: float, regularisation: float
) -> np.ndarray:
    """Grow cells as the engine does, see `profiler.segment.compartments`."""
    threshold = float(THRESHOLDS["minimum_cross_entropy"](jnp.asarray(scaled)))
    mask = scaled > threshold * correction
    return propagate_cpu(scaled, nuclei, mask, regularisation=regularisation)


def _contrast(plane: np.ndarray, cells: np.ndarray, count: int) -> np.ndarray:
    """Light just inside over light just outside each cell; 0 where too little of that is free."""
    outside = cells == 0
    inner = np.where(ndimage.binary_dilation(outside, iterations=3), cells, 0)
    outer = ndimage.grey_dilation(cells, size=7) * outside
    light = []
    for strip in (inner, outer):
        pixels = np.bincount(strip.ravel(), minlength=count + 1)[1:]
        total = np.bincount(strip.ravel(), plane.ravel(), minlength=count + 1)[1:]
        light.append(total / np.maximum(pixels, 1))
    within, beyond = light
    ratio = within / np.maximum(beyond, 0.02 * np.abs(within).max(initial=1e-9))
    return np.where(_free(cells, count) >= LEAST_FREE, ratio, 0.0)


def _free(cells: np.ndarray, count: int) -> np.ndarray:
    """Share of each cell's outline that meets background, not another cell."""
    highest = ndimage.maximum_filter(cells, 3)
    rim = (cells > 0) & (ndimage.minimum_filter(cells, 3) != highest)
    least = ndimage.minimum_filter(np.where(cells > 0, cells, cells.max() + 1), 3)
    alone = rim & (least == highest)
    counts = [np.bincount(cells[part], minlength=count + 1)[1:] for part in (alone, rim)]
    return counts[0] / np.maximum(counts[1], 1)


def _deviation(values: np.ndarray) -> float:
    """Robust, of what is below the median: the rest may hold dim cells."""
    middle = np.median(values)
    return float(1.4826 * np.median(middle - values[values < middle]))
