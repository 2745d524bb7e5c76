"""What a run tells while it works; the command line draws these, a notebook may too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Planned:
    """What is about to be computed.

    Attributes:
        fields: Fields to compute now.
        wells: Wells on the plates, or those asked for.
        wells_done: Wells that are up to date already.
        notes: What a person should know before it starts.
    """

    fields: int
    wells: int
    wells_done: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FieldsDone:
    """A batch is through.

    Attributes:
        fields: How many fields it held.
        failed: How many of them became a coded row.
        cells: Cells measured in the others.
    """

    fields: int
    failed: int
    cells: int


@dataclass(frozen=True)
class WellSaved:
    """A well is on disk, whole."""

    plate: str
    well: str


@dataclass(frozen=True)
class StageDone:
    """A stage after the cells has written its tables.

    Attributes:
        name: Which.
        notes: What a person should know.
        found: What later stages and the summary should know.
    """

    name: str
    notes: tuple[str, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """The run is complete.

    Attributes:
        out: The run folder.
        summary: As in `run.json`.
    """

    out: Path
    summary: Mapping[str, Any] = field(default_factory=dict)


Event: TypeAlias = Planned | FieldsDone | WellSaved | StageDone | Finished
