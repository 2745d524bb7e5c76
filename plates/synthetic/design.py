"""What a synthetic plate holds: controls, dose series, planted hits and plate effects."""

import math
import re
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from plates.errors import BadRecipe, lookup
from plates.synthetic.field import check_fits
from plates.synthetic.phenotype import PHENOTYPES, Number, Phenotype, blend
from plates.well import FORMATS, plate_wells, well_position

STRONGEST_GRADIENT = 0.5
UNTREATED = Phenotype()


@dataclass(frozen=True)
class Compound:
    """A compound and what it does to cells.

    Attributes:
        name: As in the plate map.
        phenotype: A name of `PHENOTYPES`; "none" for a compound that does nothing.
        ec50: Concentration of half its effect, in the plate's unit; None for "none".
        efficacy: Effect of a saturating dose, as a share of the whole phenotype, 0 to 1.
        hill: Steepness of the dose-response curve.
    """

    name: str
    phenotype: str = "none"
    ec50: Number | None = None
    efficacy: Number = 1.0
    hill: Number = 1.3

    def __post_init__(self):
        lookup(PHENOTYPES, kind="phenotype", name=self.phenotype)
        if self.is_hit != (self.ec50 is not None):
            raise BadRecipe(
                f"{self.name} has phenotype {self.phenotype!r} and ec50 {self.ec50}. Expected an "
                "ec50 for every phenotype but 'none', and none for that."
            )
        is_positive = self.hill > 0 and (self.ec50 is None or self.ec50 > 0)
        if not (is_positive and 0 < self.efficacy <= 1):
            raise BadRecipe(
                f"{self.name} has ec50 {self.ec50}, hill {self.hill}, efficacy {self.efficacy}. "
                "Expected ec50 and hill above 0, and efficacy above 0, at most 1."
            )

    @property
    def is_hit(self) -> bool:
        """Whether the compound does anything."""
        return self.phenotype != "none"

    def effect(self, concentration: Number) -> float:
        """Share of the whole phenotype at a dose: a Hill curve, 0 to `efficacy`."""
        if self.ec50 is None or concentration <= 0:
            return 0.0
        return self.efficacy / (1 + (self.ec50 / concentration) ** self.hill)


VEHICLE = Compound("DMSO")
ACTIVATOR = Compound("Activator", phenotype="translocation", ec50=0.1)
DEMO = (
    Compound("Compound 01", phenotype="translocation", ec50=0.06),
    Compound("Compound 02", phenotype="translocation", ec50=0.4),
    Compound("Compound 03", phenotype="translocation", ec50=2.5),
    Compound("Compound 04", phenotype="translocation", ec50=0.8, efficacy=0.5),
    Compound("Compound 05", phenotype="toxicity", ec50=0.6, hill=1.6),
    Compound("Compound 06", phenotype="toxicity", ec50=4.0, hill=1.6),
    Compound("Compound 07", phenotype="enlargement", ec50=0.5),
    Compound("Compound 08"),
    Compound("Compound 09"),
    Compound("Compound 10"),
)


@dataclass(frozen=True)
class PlateDesign:
    """A plate to be drawn.

    The first and last columns hold controls, every third a positive one; the dose series
    are shuffled over the wells between, so that no compound follows a plate effect. Wells
    that are left over stay out of the plate map and are not imaged.

    Attributes:
        plate: Name, the first part of every file name.
        plate_format: Number of wells, a key of `plates.well.FORMATS`.
        sites: Fields per well.
        size: Height and width of a field in pixels.
        seed: Not negative; same design, same files.
        compounds: One dose series each.
        concentrations: Doses of every series; the positive control gets the highest.
        unit: Of concentrations and of every ec50.
        positive: What the positive controls hold.
        untreated: Cells in the negative controls, before plate effects.
        gradient: Plate effect: log ratio of the cell counts of the last row to the first (half
            that across columns), and of the brightness of the last column to the first (minus
            half that across rows).
    """

    plate: str = "demo"
    plate_format: int = 96
    sites: int = 1
    size: int = 320
    seed: int = 0
    compounds: tuple[Compound, ...] = DEMO
    concentrations: tuple[Number, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    unit: str = "uM"
    positive: Compound = ACTIVATOR
    untreated: Phenotype = UNTREATED
    gradient: Number = 0.2

    def __post_init__(self):
        _check_numbers(self)
        _check_wells(self)


class WellPlan(NamedTuple):
    """What one well holds and how its cells look, plate effects included."""

    well: str
    compound: Compound
    role: str
    concentration: float
    phenotype: Phenotype
    count_factor: float
    brightness_factor: float

    @property
    def effect(self) -> float:
        """Share of the compound's phenotype that shows at this dose."""
        return self.compound.effect(self.concentration)


def plan(design: PlateDesign) -> list[WellPlan]:
    """Say what every well of a design holds, row by row.

    Raises:
        BadRecipe: The cells of some well do not fit into a field of that size.
    """
    content = _controls(design) | _treatments(design)
    wells = [
        _well_plan(design, well, *content[well])
        for well in plate_wells(FORMATS[design.plate_format])
        if well in content
    ]
    for well in wells:
        check_fits(well.phenotype, size=design.size)
    return wells


def _controls(design: PlateDesign) -> dict[str, tuple[Compound, str, float]]:
    negative = (VEHICLE, "negative", 0.0)
    positive = (design.positive, "positive", float(max(design.concentrations)))
    outer = _wells_between(design, inner=False)
    # Every third one is positive, which alternates between the two columns: hits are
    # measured against the negatives, so most of the controls are negatives.
    return {well: positive if i % 3 == 1 else negative for i, well in enumerate(outer)}


def _treatments(design: PlateDesign) -> dict[str, tuple[Compound, str, float]]:
    concentrations = [float(concentration) for concentration in design.concentrations]
    doses = [(c, "treatment", dose) for c in design.compounds for dose in concentrations]
    wells = _wells_between(design, inner=True)
    shuffled = np.random.default_rng((design.seed, 1)).permutation(len(wells))
    return {wells[place]: dose for place, dose in zip(shuffled, doses, strict=False)}


def _wells_between(design: PlateDesign, *, inner: bool) -> list[str]:
    plate_format = FORMATS[design.plate_format]
    ends = (0, plate_format.columns - 1)
    wells = plate_wells(plate_format)
    return [well for well in wells if (well_position(well).column not in ends) == inner]


def _well_plan(
    design: PlateDesign, well: str, compound: Compound, role: str, concentration: float
) -> WellPlan:
    down, across = _from_middle(design, well)
    count = math.exp(design.gradient * (down + across / 2))
    brightness = math.exp(design.gradient * (across - down / 2))
    treated = PHENOTYPES[compound.phenotype](design.untreated)
    seen = blend(design.untreated, treated, effect=compound.effect(concentration))
    seen = replace(seen, n_cells=count * seen.n_cells, brightness=brightness * seen.brightness)
    return WellPlan(well, compound, role, concentration, seen, count, brightness)


def _from_middle(design: PlateDesign, well: str) -> tuple[float, float]:
    """Position on the plate, -0.5 to 0.5 downwards and to the right."""
    row, column = well_position(well)
    plate_format = FORMATS[design.plate_format]
    return row / (plate_format.rows - 1) - 0.5, column / (plate_format.columns - 1) - 0.5


def _check_numbers(design: PlateDesign) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", design.plate):
        raise BadRecipe(
            f"{design.plate!r} cannot be a plate's name in file names. Use letters, digits, "
            "dots, hyphens and underscores."
        )
    if design.plate_format not in FORMATS:
        raise BadRecipe(
            f"There is no plate of {design.plate_format} wells. "
            f"Choose from {', '.join(map(str, FORMATS))}."
        )
    if design.sites < 1 or design.seed < 0:
        raise BadRecipe(
            f"sites is {design.sites} and seed is {design.seed}; expected sites of at least 1 "
            "and a seed of at least 0."
        )
    if not abs(design.gradient) <= STRONGEST_GRADIENT:
        raise BadRecipe(
            f"gradient is {design.gradient}; expected {-STRONGEST_GRADIENT} to "
            f"{STRONGEST_GRADIENT}. Beyond that, images saturate or fade."
        )


def _check_wells(design: PlateDesign) -> None:
    if not design.concentrations or not all(c > 0 for c in design.concentrations):
        raise BadRecipe(
            f"concentrations are {design.concentrations}; expected at least one, all above 0."
        )
    names = [compound.name for compound in (VEHICLE, design.positive, *design.compounds)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadRecipe(f"More than one compound is called {', '.join(twice)}. Rename one.")
    wanted = len(design.compounds) * len(design.concentrations)
    free = len(_wells_between(design, inner=True))
    if wanted > free:
        raise BadRecipe(
            f"{len(design.compounds)} compounds at {len(design.concentrations)} concentrations "
            f"need {wanted} wells, but a plate of {design.plate_format} has {free} between its "
            "two control columns. Take fewer, or a larger plate."
        )
