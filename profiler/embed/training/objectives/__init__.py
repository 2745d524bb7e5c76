"""What is asked of a network: a file for each way of learning, by name here."""

from profiler.embed.training.objectives.classes import (
    classifying,
    cross_entropy,
    focal,
    generalised,
)
from profiler.embed.training.objectives.dino import DINO
from profiler.embed.training.objectives.masked import MASKED
from profiler.embed.training.objectives.objective import Objective, ObjectiveConfig
from profiler.embed.training.objectives.simclr import SIMCLR
from profiler.embed.training.objectives.supcon import SUPCON
from profiler.embed.training.objectives.vicreg import VICREG

__all__ = ["OBJECTIVES", "Objective", "ObjectiveConfig"]

OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": classifying(cross_entropy),
    "focal": classifying(focal),
    "generalised": classifying(generalised),
    "simclr": SIMCLR,
    "vicreg": VICREG,
    "supcon": SUPCON,
    "dino": DINO,
    "masked": MASKED,
}
