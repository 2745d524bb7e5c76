"""The workers of a cluster: each is starting, free, or busy with a block, until it is gone.

Ray starts the processes, places them, carries tasks there and events back, and tells which
was lost. Here is only who gets which block next, and what becomes of a block that failed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray  # pyright: ignore[reportMissingImports]
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError  # pyright: ignore[reportMissingImports]

from plates.errors import ProfilingError
from profiler.events import Event, FieldsDone, Incident, WellSaved
from profiler.execute.blocks import Block
from profiler.execute.executor import About, NoCluster
from profiler.store.places import Well

START_S = 900.0  # until a worker must have started: a cluster that grows takes minutes to


@dataclass
class Job:
    """A block that a worker has in hand, and what has come of it so far."""

    block: Block
    worker: Any
    saved: set[Well] = field(default_factory=set)
    fields: int = 0

    @property
    def left(self) -> list[Well]:
        """Wells that are not on disk."""
        return [well for well in self.block.wells if well not in self.saved]

    @property
    def fields_lost(self) -> int:
        """Fields that were computed, and whose wells are not on disk."""
        return self.fields - self.block.fields(self.saved)

    def note(self, event: Event) -> None:
        """Keep in mind what an event means for the block."""
        match event:
            case WellSaved():
                self.saved.add((event.plate, event.well))
            case FieldsDone():
                self.fields += event.fields


class Told(NamedTuple):
    """Something happened in a block."""

    event: Event


class Ended(NamedTuple):
    """A block is done, or failed: then the error says why."""

    job: Job
    error: Exception | None = None


class Lost(NamedTuple):
    """A worker was lost before it was ready."""

    error: Exception


@dataclass
class Crew:
    """The workers, by what they are doing.

    Attributes:
        hire: Starts a worker: its handle, and the answer that it will give once it is ready.
        free: Those with nothing to do.
        starting: Those whose answer is awaited.
        busy: Those with a block, by the stream of their events.
    """

    hire: Callable[[], tuple[Any, ray.ObjectRef]]
    free: list[Any] = field(default_factory=list)
    starting: dict[ray.ObjectRef, Any] = field(default_factory=dict)
    busy: dict[ray.ObjectRefGenerator, Job] = field(default_factory=dict)

    def grow(self, size: int) -> None:
        """Start so many workers more."""
        for _ in range(size):
            worker, answer = self.hire()
            self.starting[answer] = worker

    def give(self, block: Block) -> None:
        """Give a block to a free worker."""
        worker = self.free.pop()
        stream = worker.run.options(num_returns="streaming").remote(block.task)
        self.busy[stream] = Job(block, worker)

    def wait(self) -> Told | Ended | Lost | About:
        """Wait for the next thing to happen, wherever it does.

        Raises:
            NoCluster: Nobody is at work, and nobody starts.
            ProfilingError: A worker says that the run cannot be started.
        """
        waited = [*self.busy, *self.starting]
        ready, _ = ray.wait(waited, num_returns=1, timeout=None if self.busy else START_S)
        if not ready:
            raise NoCluster(
                f"No worker has started within {START_S / 60:.0f} minutes: the cluster has no room "
                "for one. Look at `ray status`, end other work there, or ask for smaller --workers."
            )
        return self._joined(ready[0]) if ready[0] in self.starting else self._told(ready[0])

    def _joined(self, answer: ray.ObjectRef) -> About | Lost:
        worker = self.starting.pop(answer)
        try:
            about = ray.get(answer)
        except RayTaskError as error:
            raise cause(error) from error
        except RayError as error:
            self._replace(worker)
            return Lost(error)
        self.free.append(worker)
        return about

    def _told(self, stream: ray.ObjectRefGenerator) -> Told | Ended:
        job = self.busy[stream]
        try:
            event: Any = ray.get(next(stream))
        except (StopIteration, RayTaskError) as error:  # the worker itself is well
            self.free.append(self.busy.pop(stream).worker)
            return Ended(job, None if isinstance(error, StopIteration) else cause(error))
        except RayError as error:
            self._replace(self.busy.pop(stream).worker)
            return Ended(job, error)
        job.note(event)
        return Told(event)

    def _replace(self, worker: Any) -> None:
        ray.kill(worker)  # one that is only out of reach must not go on writing
        self.grow(1)

    def dismiss(self) -> None:
        """End all workers, whatever they are doing."""
        jobs = [job.worker for job in self.busy.values()]
        for worker in (*self.free, *self.starting.values(), *jobs):
            ray.kill(worker)


def cause(error: RayTaskError) -> Exception:
    """The error that a worker raised, if it came over whole."""
    return error.cause if isinstance(error.cause, ProfilingError) else error


def incident(job: Job, error: Exception) -> Incident:
    """Say what happened to a block."""
    code = "task_failed"
    if isinstance(error, OutOfMemoryError):
        code = "worker_out_of_memory"
    elif isinstance(error, RayError) and not isinstance(error, RayTaskError):
        code = "worker_lost"
    return Incident(code, reason(error), tuple(job.left), job.fields_lost)


def reason(error: Exception) -> str:
    """The line of an error that says most."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    is_remote = isinstance(error, RayTaskError)  # a traceback: what happened comes last
    return (lines[-1 if is_remote else 0] if lines else type(error).__name__).strip()


def retried(job: Job, *, tries: int) -> Iterable[Block]:
    """What of a failed block is to be tried again: its wells, each alone."""
    return job.block.singly(job.left) if job.block.tries + 1 < tries else ()
