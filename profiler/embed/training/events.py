"""What training tells while it works; the command line draws these, a notebook may too."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class Started:
    """What is about to be learnt.

    Attributes:
        cells: Crops learnt from.
        groups: Plates or movies they come from.
        step: Steps already done, by a run that was interrupted.
        steps: Steps in all.
    """

    cells: int
    groups: int
    step: int
    steps: int


@dataclass(frozen=True)
class Learnt:
    """Some steps are through.

    Attributes:
        step: Steps done.
        loss: Mean over the steps since the last such event.
    """

    step: int
    loss: float


@dataclass(frozen=True)
class Trained:
    """The model is on disk.

    Attributes:
        out: Its weights.
        step: Steps it learnt for.
    """

    out: Path
    step: int


TrainEvent: TypeAlias = Started | Learnt | Trained
