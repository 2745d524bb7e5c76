"""What a run tells while it works; the command line draws these, a notebook may too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias


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
class Forecast:
    """What computing the rest of a task will take.

    Attributes:
        fields: Fields to come.
        seconds_per_field: What one takes, if that is known yet.
        is_measured: Whether it was measured on this task's first fields, not on an earlier run.
        memory_bytes: Most memory that this process will have held.
        device_bytes: What a batch takes of a device's memory, where that is not this process's.
        pixel_bytes: Pixels to read, uncompressed.
    """

    fields: int
    seconds_per_field: float | None
    is_measured: bool
    memory_bytes: int
    device_bytes: int
    pixel_bytes: int


@dataclass(frozen=True)
class BatchHalved:
    """A batch did not fit into the device's memory; it is computed in pieces, as all later ones.

    Attributes:
        fields: Fields that are computed together from now on.
    """

    fields: int
    code: ClassVar[str] = "device_out_of_memory"

    @property
    def sentence(self) -> str:
        """What a person should know."""
        return (
            f"The device's memory was too small for a batch: {self.fields} field"
            f"{'s' * (self.fields > 1)} at a time from then on. The results are the same; start "
            f"with --batch {self.fields} next time."
        )


@dataclass(frozen=True)
class TaskTimed:
    """A task is done, and this is where its time went.

    Attributes:
        name: Which.
        fields: How many it had.
        elapsed: Seconds from its beginning to its end.
        seconds: Of each stage, summed over the threads that did it.
        alone: Seconds a field of parts of a stage, each timed alone; only if asked for.
        stretches: (name, thread, start, seconds) of all that was done; only if asked for.
    """

    name: str
    fields: int
    elapsed: float
    seconds: Mapping[str, float]
    alone: Mapping[str, float] = field(default_factory=dict)
    stretches: tuple[tuple[str, str, float, float], ...] = ()


@dataclass(frozen=True)
class Incident:
    """The run got over something: a worker that was lost or failed, or a store that did not answer.

    Attributes:
        code: "worker_lost", "worker_out_of_memory" or "task_failed": what was not finished is tried
            again; "machine_refused": others do its work; "request_failed": requests to a store were
            made again, and those for an image that never came are a row of its field.
        message: What is known of the reason.
        wells: The (plate, well) that are begun anew; None where nothing can be.
        fields: Fields of theirs that were computed already, and told as `FieldsDone`.
    """

    code: str
    message: str
    wells: tuple[tuple[str, str], ...] | None = ()
    fields: int = 0

    @property
    def sentence(self) -> str:
        """What a person should know."""
        again = f" {len(self.wells)} wells are begun anew." if self.wells else ""
        return f"{self.code}: {self.message}{again}"


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
        out: The run folder, or the address of one in a store.
        summary: As in `run.json`.
    """

    out: Path | str
    summary: Mapping[str, Any] = field(default_factory=dict)


Event: TypeAlias = (
    Planned
    | Forecast
    | FieldsDone
    | BatchHalved
    | WellSaved
    | TaskTimed
    | Incident
    | StageDone
    | Finished
)
