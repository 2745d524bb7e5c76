"""How cells look, untreated and under the treatments a synthetic plate can plant."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from plates.errors import BadRecipe

Number = int | float  # annotations are checked strictly, and people write 40 for 40.0

LIMITS = {  # smallest and largest value that still draws a picture of cells
    "n_cells": (0.0, 10_000.0),
    "nucleus_radius_px": (3.0, 60.0),
    "cell_radius_px": (5.0, 200.0),
    "elongation": (1.0, 3.0),
    "translocation": (0.0, 1.0),
    "dna_brightness": (0.05, 2.0),
    "chromatin": (0.0, 0.6),
    "granularity": (0.0, 1.0),
    "brightness": (0.1, 1.5),
}
CYTOPLASM_AT_LEAST = 1.25  # cell radius over nucleus radius


@dataclass(frozen=True)
class Phenotype:
    """How the cells of a field look on average; single cells scatter around it.

    Attributes:
        n_cells: Mean number of nuclei in a field, those cut by its border included.
        nucleus_radius_px: Mean radius of a nucleus.
        cell_radius_px: Mean radius of a cell that has no neighbours.
        elongation: Length over width of a cell, its nucleus following; round cells are smooth too.
        translocation: Where the reporter is: 0 in the cytoplasm, 1 in the nucleus.
        dna_brightness: DNA stain per area of nucleus; 1 is an interphase nucleus.
        chromatin: Contrast of the DNA texture, as a coefficient of variation.
        granularity: Strength of bright granules in the cytoplasm.
        brightness: Gain common to all channels, as staining and lamps make it.
    """

    n_cells: Number = 45.0
    nucleus_radius_px: Number = 11.5
    cell_radius_px: Number = 28.0
    elongation: Number = 1.7
    translocation: Number = 0.08
    dna_brightness: Number = 1.0
    chromatin: Number = 0.14
    granularity: Number = 0.1
    brightness: Number = 1.0

    def __post_init__(self):
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadRecipe(f"Phenotype.{name} is {value:g}; expected {low:g} to {high:g}.")
            object.__setattr__(self, name, float(value))  # a float64 would widen float32 images
        if self.cell_radius_px < CYTOPLASM_AT_LEAST * self.nucleus_radius_px:
            raise BadRecipe(
                f"Cells of radius {self.cell_radius_px:g} px leave no cytoplasm around nuclei of "
                f"radius {self.nucleus_radius_px:g} px. Make cell_radius_px at least "
                f"{CYTOPLASM_AT_LEAST} times nucleus_radius_px."
            )


def blend(start: Phenotype, end: Phenotype, *, effect: Number) -> Phenotype:
    """Move part of the way from one phenotype to another, each property linearly.

    Args:
        start: Returned for effect 0.
        end: Returned for effect 1.
        effect: 0 to 1. Linear, so that what follows a Hill curve in `effect` does so in
            every property too.

    >>> blend(Phenotype(n_cells=40), Phenotype(n_cells=20), effect=0.25).n_cells
    35.0
    """
    pairs = {f.name: (getattr(start, f.name), getattr(end, f.name)) for f in fields(Phenotype)}
    return Phenotype(**{name: a + effect * (b - a) for name, (a, b) in pairs.items()})


def _unchanged(cells: Phenotype) -> Phenotype:
    return cells


def _translocated(cells: Phenotype) -> Phenotype:
    return replace(cells, translocation=0.9)


def _dying(cells: Phenotype) -> Phenotype:
    """Few cells, rounded up, with small, bright, clumped nuclei."""
    return replace(
        cells,
        n_cells=0.12 * cells.n_cells,
        nucleus_radius_px=0.68 * cells.nucleus_radius_px,
        cell_radius_px=0.6 * cells.cell_radius_px,
        elongation=1 + 0.2 * (cells.elongation - 1),
        dna_brightness=min(1.7 * cells.dna_brightness, LIMITS["dna_brightness"][1]),
        chromatin=min(2 * cells.chromatin, LIMITS["chromatin"][1]),
    )


def _enlarged(cells: Phenotype) -> Phenotype:
    """Arrested before division: fewer, larger, flatter cells full of granules."""
    return replace(
        cells,
        n_cells=0.6 * cells.n_cells,
        nucleus_radius_px=1.35 * cells.nucleus_radius_px,
        cell_radius_px=1.35 * cells.cell_radius_px,
        dna_brightness=0.8 * cells.dna_brightness,
        granularity=min(6 * cells.granularity, LIMITS["granularity"][1]),
    )


# Untreated cells -> the same cells under a saturating dose.
PHENOTYPES: dict[str, Callable[[Phenotype], Phenotype]] = {
    "none": _unchanged,
    "translocation": _translocated,
    "toxicity": _dying,
    "enlargement": _enlarged,
}
