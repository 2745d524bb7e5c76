"""Where cells lie and how they are shaped: outlines that compete for space."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex64, Float32, Int, Int32
from scipy import ndimage

from plates.synthetic.noise import smooth_noise
from plates.synthetic.phenotype import Number, Phenotype

Labels = Int32[np.ndarray, "height width"]

LARGEST_COVERAGE = 0.42  # of the field by nuclei spaced apart; random placing jams at 0.547
SPACING = 1.7  # least distance of two nuclei, in radii: they may touch, not lie on one another
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])  # 4-connected
OUTLINE_CV = 0.12  # scatter of radii between cells
ROUGHNESS = np.array([0.0, 0.08, 0.0, 0.17, 0.11, 0.06, 0.03])  # of spread cells, by harmonic
SPREAD = 1.5  # elongation from which on cells are as rough as that; round cells are smooth
WAVINESS = np.array([0.0, 0.02, 0.0, 0.035, 0.02, 0.01, 0.0])  # of nuclei


class Outlines(NamedTuple):
    """Cells before they compete: radius(angle) = radius * exp(Re sum_k shape[k] u^k).

    Here u = exp(i angle), so the second harmonic's modulus is elongation and its phase is
    orientation. Row i belongs to label i + 1.
    """

    centre: Complex64[np.ndarray, " cell"]  # x + iy, pixels
    nucleus_radius: Float32[np.ndarray, " cell"]
    nucleus_shape: Complex64[np.ndarray, "cell harmonic"]
    cell_radius: Float32[np.ndarray, " cell"]
    cell_shape: Complex64[np.ndarray, "cell harmonic"]


class Anatomy(NamedTuple):
    """The result of growing cells.

    Attributes:
        nuclei: Labels; every nucleus has a rim of its own cell around it.
        cells: Labels of whole cells, nucleus included, each in one piece.
        depth: -1 in the middle of a nucleus, 0 at its envelope, 1 at the free cell border.
    """

    nuclei: Labels
    cells: Labels
    depth: Float32[np.ndarray, "height width"]


def capacity(area_px: Number, *, nucleus_radius_px: Number) -> int:
    """Most nuclei that are placed in an area."""
    return int(LARGEST_COVERAGE * area_px / (np.pi * (SPACING * nucleus_radius_px / 2) ** 2))


def place(
    rng: np.random.Generator, shape: tuple[int, int], *, max_cells: int, spacing_px: Number
) -> Complex64[np.ndarray, " cell"]:
    """Scatter centres in colonies, never closer than `spacing_px`.

    Returns:
        `max_cells` positions x + iy.
    """
    crowding = np.exp(0.55 * smooth_noise(rng, shape, scale_px=2 * spacing_px)).ravel()
    cumulative = np.cumsum(crowding, dtype=np.float64)
    placed = np.empty(max_cells, np.complex64)
    count = 0
    while count < max_cells:
        pixels = np.searchsorted(cumulative, cumulative[-1] * rng.random(4 * max_cells))
        jitter = rng.random((2, pixels.size))
        candidates = pixels % shape[1] + jitter[0] + 1j * (pixels // shape[1] + jitter[1])
        for candidate in candidates.astype(np.complex64):
            if count < max_cells and (abs(placed[:count] - candidate) >= spacing_px).all():
                placed[count] = candidate
                count += 1
    return placed


def draw_outlines(
    rng: np.random.Generator,
    phenotype: Phenotype,
    shape: tuple[int, int],
    *,
    max_cells: int,
) -> Outlines:
    """Draw the shapes of all cells; neighbours lie roughly in parallel, as in culture."""
    spacing = SPACING * phenotype.nucleus_radius_px
    centre = place(rng, shape, max_cells=max_cells, spacing_px=spacing)
    lie = smooth_noise(rng, shape, scale_px=2.5 * phenotype.cell_radius_px)
    row, column = np.int64(np.imag(centre)), np.int64(np.real(centre))
    angle = np.pi * lie[row % shape[0], column % shape[1]] + rng.normal(0, 0.4, max_cells)
    stretch = np.log(phenotype.elongation) / 2 * rng.uniform(0.5, 1.5, max_cells)

    spread = min((phenotype.elongation - 1) / (SPREAD - 1), 1)
    cell_shape = _harmonics(rng, spread * ROUGHNESS, max_cells)
    cell_shape[:, 2] = stretch * np.exp(-2j * angle)
    nucleus_shape = _harmonics(rng, WAVINESS, max_cells)
    nucleus_shape[:, 2] = 0.75 * stretch * np.exp(-2j * (angle + rng.normal(0, 0.2, max_cells)))
    return Outlines(
        centre,
        _radii(rng, phenotype.nucleus_radius_px, max_cells),
        nucleus_shape,
        _radii(rng, phenotype.cell_radius_px, max_cells),
        cell_shape,
    )


def _radii(rng: np.random.Generator, mean: Number, cells: int) -> np.ndarray:
    scatter = np.clip(rng.standard_normal(cells), -2.2, 2.2)
    return (mean * np.exp(OUTLINE_CV * scatter)).astype(np.float32)


def _harmonics(rng: np.random.Generator, size: np.ndarray, cells: int) -> np.ndarray:
    pair = rng.standard_normal((2, cells, size.size), dtype=np.float32)
    return (size * (pair[0] + 1j * pair[1]) / np.sqrt(2)).astype(np.complex64)


def grow(rng: np.random.Generator, outlines: Outlines, shape: tuple[int, int]) -> Anatomy:
    """Let all cells grow at once: each pixel goes to the cell that reaches it first.

    The plane is bent a little first, so that fronts between neighbours are curved, and the
    free borders are frayed.
    """
    y, x = np.indices(shape, dtype=np.float32)
    plane = x + 1j * y
    for scale, bend in ((14.0, 2.5), (4.0, 0.5)):
        dx, dy = (smooth_noise(rng, shape, scale_px=scale) for _ in range(2))
        plane += np.float32(bend) * (dx + 1j * dy)
    fray = 1 + np.float32(0.08) * smooth_noise(rng, shape, scale_px=3.5)

    depth, owner = _compete(plane, outlines)
    grown = np.where(depth < fray, owner, 0)
    cells = in_one_piece(grown, seeds=np.where(depth < 0, grown, 0))
    nuclei = np.where((depth < 0) & _inside(cells), cells, 0)
    return Anatomy(in_one_piece(nuclei, seeds=nuclei), cells, depth)


def _compete(plane: np.ndarray, outlines: Outlines) -> tuple[np.ndarray, np.ndarray]:
    depth = np.full(plane.shape, np.inf, np.float32)
    owner = np.zeros(plane.shape, np.int32)
    for label, cell in enumerate(zip(*outlines, strict=True), start=1):
        reach = int(2.2 * max(cell[1], cell[3])) + 8
        window = tuple(
            slice(max(int(middle) - reach, 0), int(middle) + reach)
            for middle in (cell[0].imag, cell[0].real)
        )
        nearer = _depth(plane[window] - cell[0], *cell[1:])
        wins = nearer < depth[window]
        depth[window][wins] = nearer[wins]
        owner[window][wins] = label
    return depth, owner


def _depth(offset, nucleus_radius, nucleus_shape, cell_radius, cell_shape) -> np.ndarray:
    distance = np.abs(offset)
    u = offset / np.maximum(distance, np.float32(1e-3))
    envelope = nucleus_radius * np.exp(np.polyval(nucleus_shape[::-1], u).real)
    border = cell_radius * np.exp(np.polyval(cell_shape[::-1], u).real)
    border = np.maximum(border, envelope + 3)
    inside = distance / envelope - 1
    return np.where(inside < 0, inside, (distance - envelope) / (border - envelope))


def _inside(labels: np.ndarray) -> np.ndarray:
    """Whether all four neighbours belong to the same cell; beyond the border counts as such."""
    same = np.ones(labels.shape, bool)
    for axis in (0, 1):
        equal = np.diff(labels, axis=axis) == 0
        low, high = ((slice(None),) * axis + (s,) for s in (slice(None, -1), slice(1, None)))
        same[low] &= equal
        same[high] &= equal
    return same


def in_one_piece(labels: Labels, *, seeds: Labels) -> Labels:
    """Keep of each label the 4-connected piece with most seed pixels; drop it if none has any.

    Args:
        labels: Objects that may have fallen apart.
        seeds: Labels of pixels that count, such as the nuclei of cells.
    """
    kept = np.zeros_like(labels)
    for label, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        mask = labels[window] == label
        pieces = np.empty(mask.shape, np.int32)
        ndimage.label(mask, structure=CROSS, output=pieces)
        votes = np.bincount(pieces[seeds[window] == label], minlength=2)
        votes[0] = 0
        if votes.any():
            kept[window][pieces == votes.argmax()] = label
    return kept


def crop(anatomy: Anatomy, *, margin: int) -> tuple[Labels, Labels, Int[np.ndarray, " shown"]]:
    """Cut the field out of a canvas and number the cells whose nucleus it shows.

    Returns:
        Nuclei, cells, and for each new label (row i is label i + 1) the index of the cell
        on the canvas. Cells whose nucleus lies outside are background here.
    """
    inner = (slice(margin, -margin),) * 2
    nuclei = in_one_piece(anatomy.nuclei[inner], seeds=anatomy.nuclei[inner])
    cells = in_one_piece(anatomy.cells[inner], seeds=nuclei)
    shown = np.unique(nuclei[nuclei > 0])
    renumber = np.zeros(max(anatomy.cells.max(), 0) + 1, np.int32)
    renumber[shown] = np.arange(1, shown.size + 1)
    return renumber[nuclei], renumber[cells], shown - 1
