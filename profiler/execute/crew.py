"""The workers of a cluster: each is starting, free, or busy with a block, until it is gone.

Ray starts the processes, places them, carries tasks there and events back, and tells which
was lost. Here is only who gets which block next, and what becomes of a block that failed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray  # pyright: ignore[reportMissingImports]
from ray.exceptions import (  # pyright: ignore[reportMissingImports]
    GetTimeoutError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
)

from plates.errors import ProfilingError
from profiler.events import Event, FieldsDone, Incident, WellSaved
from profiler.execute.blocks import Block
from profiler.execute.connect import does_not_answer
from profiler.execute.executor import About, NoCluster
from profiler.store.places import Well

START_S = 900.0  # until a worker must have started: a cluster that grows takes minutes to
ANSWER_S = 30.0  # until a free worker must have answered: one that is there does in milliseconds
BAD_STARTS = 3  # one after the other, before a place is left empty while others work
NEVER_RAN = "never ran"  # what Ray says of a worker whose process it had not yet started


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
    """A worker was lost that had no block, or may have none.

    Attributes:
        error: Why.
        is_known: Whether it had not begun, and was to replace one whose loss was told: Ray sends
            new workers to a lost machine until it has found out. Or another one of its machine
            was refused for the same reason.
        code: "worker_lost", or "machine_refused" for one whose machine is not set up as this one.
    """

    error: Exception
    is_known: bool = False
    code: str = "worker_lost"


@dataclass
class Crew:
    """The workers, by what they are doing.

    Attributes:
        hire: Starts a worker: its handle, and the answer that it will give once it is ready.
        free: Those with nothing to do.
        starting: Those whose answer is awaited.
        busy: Those with a block, by the stream of their events.
        about: What the first that was ready has compiled.
        instead: Answers of those that replace a worker that was lost, and how many before them
            were lost as they started, one after the other.
        refused: What was said of machines that cannot work.
    """

    hire: Callable[[], tuple[Any, ray.ObjectRef]]
    free: list[Any] = field(default_factory=list)
    starting: dict[ray.ObjectRef, Any] = field(default_factory=dict)
    busy: dict[ray.ObjectRefGenerator, Job] = field(default_factory=dict)
    about: About | None = None
    instead: dict[ray.ObjectRef, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

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
            NoCluster: Nobody is at work, and nobody starts or can.
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

    def missing(self) -> list[Lost]:
        """Find who of the free is gone, and replace them.

        Ray tells of a lost worker only who waits for its answer: those with nothing to do are asked
        for one.
        """
        asked = {worker.answer.remote(): worker for worker in self.free}
        ray.wait([*asked], num_returns=max(1, len(asked)), timeout=ANSWER_S)
        lost = []
        for answer, worker in asked.items():
            if (error := _failure(answer)) and not isinstance(error, RayTaskError):
                self.free = [other for other in self.free if other is not worker]
                self._replace(worker)
                lost.append(Lost(error))
        return lost

    def unborn(self) -> list[Lost]:
        """Find who of the starting is gone or refused, at the end of a run that nobody waited for.

        That needs time where a machine does not answer and Ray has not found out yet.
        """
        new = [answer for answer in self.starting if answer not in self.instead]
        patience = ANSWER_S if new and does_not_answer(ray.nodes()) else 0
        ray.wait(new, num_returns=max(1, len(new)), timeout=patience)
        lost = []
        for answer in [*self.starting]:
            match _failure(answer):
                case None | TimeoutError():
                    continue
                case RayTaskError() as error:
                    lost.append(self._left_out(self.starting.pop(answer), _refused(error)))
                case error:
                    lost.append(self._stillborn(self.starting.pop(answer), answer, error))
        return lost

    def _joined(self, answer: ray.ObjectRef) -> About | Lost:
        worker = self.starting.pop(answer)
        try:
            machine, about = ray.get(answer)
        except RayTaskError as error:
            return self._turned_away(worker, _refused(error))
        except RayError as error:
            return self._stillborn(worker, answer, error)
        self.about = self.about or about
        if about._replace(device="") != self.about._replace(device=""):
            raise NoCluster(
                f"The machine {machine} of the cluster has compiled another program than the first "
                "that was ready. Keep this program in one version, and the model files of the "
                "recipe in one state, on all machines; nothing was computed there."
            )
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

    def _stillborn(self, worker: Any, answer: ray.ObjectRef, error: Exception) -> Lost:
        has_begun = NEVER_RAN not in str(error)
        bad_starts = self.instead.get(answer, 0) + has_begun
        if bad_starts < BAD_STARTS or not (self.busy or self.free):
            self._replace(worker, bad_starts)
        else:  # others do the work; this place would be filled and lost for as long as they do
            ray.kill(worker)
        return Lost(error, is_known=answer in self.instead and not has_begun)

    def _turned_away(self, worker: Any, error: ProfilingError) -> Lost:
        """Leave a place empty whose machine cannot work, as long as others may."""
        if not isinstance(error, NoCluster) or not (self.busy or self.free or self.starting):
            ray.kill(worker)
            raise error
        return self._left_out(worker, error)

    def _left_out(self, worker: Any, error: ProfilingError) -> Lost:
        ray.kill(worker)
        is_known = str(error) in self.refused
        self.refused.add(str(error))
        return Lost(error, is_known, code="machine_refused")

    def _replace(self, worker: Any, bad_starts: int = 0) -> None:
        ray.kill(worker)  # one that is only out of reach must not go on writing
        other, answer = self.hire()
        self.starting[answer] = other
        self.instead[answer] = bad_starts

    def dismiss(self) -> None:
        """End all workers, whatever they are doing."""
        jobs = [job.worker for job in self.busy.values()]
        for worker in (*self.free, *self.starting.values(), *jobs):
            ray.kill(worker)


def _failure(answer: ray.ObjectRef) -> Exception | None:
    """Why an answer is not there, or the error that it is; None for another answer."""
    try:
        ray.get(answer, timeout=0)
    except GetTimeoutError:
        return TimeoutError(f"It had nothing to do, and did not answer within {ANSWER_S:.0f} s.")
    except RayError as error:
        return error
    return None


def _refused(error: RayTaskError) -> ProfilingError:
    """Say that a worker cannot start, and why."""
    if isinstance(error.cause, ProfilingError):
        return error.cause
    return NoCluster(
        f"A worker of the cluster on {error.ip} could not start: {reason(error)}. Is this program "
        "installed on every machine, in the same version? Nothing was computed there."
    )


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
