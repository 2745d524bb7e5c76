"""What training tells while it works; the command line draws these, a notebook may too."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class Started:
    """What is about to be learnt.

    Attributes:
        images: Images learnt from.
        apart: Images kept apart for validation.
        step: Steps already done, by a run that was interrupted.
        steps: Steps in all.
    """

    images: int
    apart: int
    step: int
    steps: int


@dataclass(frozen=True)
class Learnt:
    """Some steps are through.

    Attributes:
        step: Steps done.
        losses: Each part of the head's loss by name, mean over the steps since the last such
            event.
    """

    step: int
    losses: Mapping[str, float]


@dataclass(frozen=True)
class Validated:
    """The images kept apart were segmented.

    Attributes:
        step: Steps done.
        average_precision: Mean over IoU thresholds .5 to .95, and over images.
        f1: At IoU .5.
        is_best: Whether these weights were saved as the best so far.
    """

    step: int
    average_precision: float
    f1: float
    is_best: bool


@dataclass(frozen=True)
class Calibrated:
    """The network knows how likely its nuclei are right, or why it does not.

    Attributes:
        note: What that rests on.
        error: Expected calibration error on images left out of the fit in turn; None where there
            is no calibration, or one image only.
    """

    note: str
    error: float | None


@dataclass(frozen=True)
class Trained:
    """The network is on disk.

    Attributes:
        out: Its weights.
        step: The step they are from.
        average_precision: On the images kept apart; None without such.
        reason: Why training ended.
    """

    out: Path
    step: int
    average_precision: float | None
    reason: str


TrainEvent: TypeAlias = Started | Learnt | Validated | Calibrated | Trained
