"""Plates whose truth is known: for the demo, for tests and for benchmarks."""

from plates.synthetic.design import Compound, PlateDesign, WellPlan, plan
from plates.synthetic.discs import discs
from plates.synthetic.field import CHANNELS, CellTruth, Field, field, mean_ratio
from plates.synthetic.phenotype import PHENOTYPES, Phenotype, blend
from plates.synthetic.plate import PlateTruth, read_truth, write_plate

__all__ = [
    "CHANNELS",
    "PHENOTYPES",
    "CellTruth",
    "Compound",
    "Field",
    "Phenotype",
    "PlateDesign",
    "PlateTruth",
    "WellPlan",
    "blend",
    "discs",
    "field",
    "mean_ratio",
    "plan",
    "read_truth",
    "write_plate",
]
