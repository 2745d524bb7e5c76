"""One field of cells, and the truth about every cell in it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, UInt16

from plates.errors import BadRecipe
from plates.synthetic.camera import expose
from plates.synthetic.geometry import Anatomy, capacity, crop, draw_outlines, grow
from plates.synthetic.noise import smooth_noise
from plates.synthetic.phenotype import Phenotype

CHANNELS = ("DNA", "GFP", "RNA")
RATIO = (0.45, 4.0)  # nuclear over cytoplasmic reporter at translocation 0 and 1
BRIGHTEST = {"DNA": 750.0, "GFP": 420.0, "RNA": 620.0}  # counts of an average cell

Plane = Float32[np.ndarray, "height width"]
PerCell = Float32[np.ndarray, " cell"]


class CellTruth(NamedTuple):
    """What is known of each cell; row i is label i + 1.

    Attributes:
        ratio: Mean GFP of the whole nucleus over that of the whole cytoplasm, as light from
            the cell. The optics blur it towards 1: measured with the true labels and the dark
            taken off, it is about 0.6 for 0.45 and 3.7 for 4.
        reporter: Mean GFP of the whole cell, in counts.
        dna: DNA stain per area of nucleus, in counts.
    """

    ratio: PerCell
    reporter: PerCell
    dna: PerCell


class Field(NamedTuple):
    """One field: pictures, labels that agree in their ids, and the truth per cell.

    Attributes:
        images: Counts in the order of `CHANNELS`.
        nuclei: Labels from 1, each strictly inside its cell.
        cells: Labels of whole cells, nucleus included. A cell whose nucleus lies outside
            the field has no label, though its cytoplasm shows in the images.
        truth: Row i is label i + 1.
    """

    images: UInt16[np.ndarray, "height width channel"]
    nuclei: Int32[np.ndarray, "height width"]
    cells: Int32[np.ndarray, "height width"]
    truth: CellTruth


def field(phenotype: Phenotype, *, size: int, seed: int) -> Field:
    """Draw one field of cultured cells.

    Args:
        phenotype: How the cells look on average.
        size: Height and width in pixels.
        seed: Not negative. The same seed gives the same field, whatever was drawn before.

    Raises:
        BadRecipe: The field is too small for the cells, or for so many; the seed is negative.
    """
    check_fits(phenotype, size=size)
    if seed < 0:
        raise BadRecipe(f"The seed is {seed}; expected 0 or more.")
    rng = np.random.default_rng(seed)
    margin = _margin(phenotype)
    canvas = (size + 2 * margin, size + 2 * margin)
    outlines = draw_outlines(rng, phenotype, canvas, max_cells=_draw_count(rng, phenotype, size))
    anatomy = grow(rng, outlines, canvas)
    truth = _draw_truth(rng, phenotype, len(outlines.centre))
    stains = _stain(rng, phenotype, anatomy, truth)
    images = [expose(rng, phenotype.brightness * stain, margin=margin) for stain in stains]
    nuclei, cells, shown = crop(anatomy, margin=margin)
    return Field(np.stack(images, axis=-1), nuclei, cells, CellTruth(*(x[shown] for x in truth)))


def mean_ratio(phenotype: Phenotype) -> float:
    """Mean over cells of the nuclear to cytoplasmic reporter: linear in the translocation.

    >>> mean_ratio(Phenotype(translocation=0)), mean_ratio(Phenotype(translocation=1))
    (0.45, 4.0)
    """
    low, high = RATIO
    return float(low + (high - low) * phenotype.translocation)


def check_fits(phenotype: Phenotype, *, size: int) -> None:
    """Refuse fields in which the cells cannot lie.

    Raises:
        BadRecipe: A cell is wider than half the field, or the nuclei are too many.
    """
    least = int(np.ceil(4 * phenotype.cell_radius_px))
    if size < least:
        raise BadRecipe(
            f"A field of {size} px is too small for cells of radius {phenotype.cell_radius_px:g} "
            f"px. Make it {least} px or more, or the cells smaller."
        )
    most = capacity(size**2, nucleus_radius_px=phenotype.nucleus_radius_px)
    if phenotype.n_cells > most:
        raise BadRecipe(
            f"{phenotype.n_cells:g} nuclei of radius {phenotype.nucleus_radius_px:g} px do not fit "
            f"in a field of {size} px; at most {most} do. Lower n_cells, or enlarge the field."
        )


def _margin(phenotype: Phenotype) -> int:
    """Rim around the field from which cells reach into it, rounded up to bound cache and FFT."""
    return 8 * int(np.ceil(1.2 * phenotype.cell_radius_px / 8))


def _draw_count(rng: np.random.Generator, phenotype: Phenotype, size: int) -> int:
    """Cells on the canvas, such that the field shows `n_cells` nuclei, whole or cut, on average.

    Poisson, cut off where no more nuclei would fit.
    """
    canvas = (size + 2 * _margin(phenotype)) ** 2
    seen = (size + 2 * phenotype.nucleus_radius_px) ** 2
    most = capacity(canvas, nucleus_radius_px=phenotype.nucleus_radius_px)
    return min(int(rng.poisson(phenotype.n_cells * canvas / seen)), most)


def _draw_truth(rng: np.random.Generator, phenotype: Phenotype, cells: int) -> CellTruth:
    ratio = mean_ratio(phenotype) * _scatter(rng, cells, cv=0.18)
    reporter = BRIGHTEST["GFP"] * _scatter(rng, cells, cv=0.38)
    doubled = 1 + 0.5 * (rng.random(cells) < 0.2)  # cells that have copied their DNA
    dna = BRIGHTEST["DNA"] * phenotype.dna_brightness * _scatter(rng, cells, cv=0.12) * doubled
    return CellTruth(*(x.astype(np.float32) for x in (ratio, reporter, dna)))


def _scatter(rng: np.random.Generator, cells: int, *, cv: float) -> np.ndarray:
    """Log-normal factors with mean 1; the tails are cut so that nothing saturates."""
    factor = np.exp(cv * np.clip(rng.standard_normal(cells), -2.2, 2.2))
    return factor / np.exp(cv**2 / 2)


def _stain(
    rng: np.random.Generator, phenotype: Phenotype, anatomy: Anatomy, truth: CellTruth
) -> tuple[Plane, Plane, Plane]:
    """Light of every channel, [canvas, canvas] each."""
    shape = anatomy.cells.shape
    fine, coarse, broad, spots = (
        smooth_noise(rng, shape, scale_px=scale) for scale in (1.1, 2.2, 7.0, 1.3)
    )
    depth = np.clip(anatomy.depth, -1, 1)
    height = np.clip(1 - depth, 0, 1) ** 0.8  # of the cytoplasm: thin towards free borders
    nucleolus = _sigmoid(6 * (coarse - 1.3)) * _sigmoid(12 * (-0.33 - depth))
    granules = phenotype.granularity * 2.2 * np.clip(spots - 1.2, 0, 1.6) * height
    ruffled = np.maximum(1 + 0.14 * coarse + 0.12 * fine + 0.16 * broad, 0.2)
    body = (0.15 + 0.85 * height) * ruffled + granules

    envelope = np.clip(1 - np.clip(1 + depth, 0, 1) ** 4, 0, 1) ** 0.4
    clumps = phenotype.chromatin * (0.75 * fine + 0.65 * broad - 0.3 * spots)
    dna = envelope * np.maximum(1 + clumps, 0.1) * (1 - 0.4 * nucleolus)
    reporter = envelope * (1 + 0.05 * broad) * (1 - 0.25 * nucleolus)
    rna = 0.55 * (1 + 0.1 * fine) + 1.1 * nucleolus
    return (
        _paint_dna(anatomy, dna, body=body, level=truth.dna),
        _paint_reporter(anatomy, reporter, body=body, truth=truth),
        _paint_rna(rng, anatomy, rna, body=body),
    )


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _paint_dna(anatomy: Anatomy, dna: Plane, *, body: Plane, level: PerCell) -> Plane:
    haze = 0.03 * BRIGHTEST["DNA"] * body * (anatomy.cells > 0)  # stain left in the cytoplasm
    return haze + _spread(dna, anatomy.nuclei, level)


def _paint_reporter(anatomy: Anatomy, nucleus: Plane, *, body: Plane, truth: CellTruth) -> Plane:
    """Share the reporter of each cell between its compartments: it moves, nothing is made."""
    cytoplasm = np.where(anatomy.nuclei > 0, 0, anatomy.cells)
    area = _areas(anatomy.cells, truth.ratio.size)
    inner = _areas(anatomy.nuclei, truth.ratio.size)
    outer = truth.reporter * area / np.maximum(truth.ratio * inner + area - inner, 1)
    return _spread(body, cytoplasm, outer) + _spread(nucleus, anatomy.nuclei, outer * truth.ratio)


def _paint_rna(rng: np.random.Generator, anatomy: Anatomy, nucleus: Plane, *, body: Plane) -> Plane:
    stain = BRIGHTEST["RNA"] * np.where(anatomy.nuclei > 0, nucleus, body)
    cells = int(anatomy.cells.max())
    factor = np.append(0, _scatter(rng, cells, cv=0.2)).astype(np.float32)
    return stain * factor[anatomy.cells]


def _areas(labels: np.ndarray, cells: int) -> np.ndarray:
    return np.bincount(labels.ravel(), minlength=cells + 1)[1 : cells + 1].astype(np.float32)


def _spread(pattern: Plane, labels: np.ndarray, mean: PerCell) -> Plane:
    """The pattern, scaled within every label to the mean wanted there; 0 in the background."""
    total = np.bincount(labels.ravel(), pattern.ravel(), minlength=mean.size + 1)[1:]
    scale = np.append(0, mean * _areas(labels, mean.size) / np.maximum(total, 1e-3))
    return pattern * scale.astype(np.float32)[labels]
