"""Tasks on a Ray cluster: one process for each GPU or share of the cores, blocks of wells for each.

    with on_cluster(begin, seat=seat, address="auto") as executor: ...

Results go from the workers straight to the run folder or its store; only events come back.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import ray  # pyright: ignore[reportMissingImports]

from profiler.compute.worker import Task
from profiler.events import Event, FieldsDone, Forecast, Incident, WellSaved
from profiler.execute.blocks import blocks
from profiler.execute.connect import Places, connected, places
from profiler.execute.crew import Crew, Ended, Lost, Told, incident, reason, retried
from profiler.execute.executor import About, Executor, NoCluster, Started, WorkLost
from profiler.execute.seat import Seat, Worker, versions
from profiler.store.places import Well

TRIES = 3  # of a well, before the run ends without it
BAD_LUCK = 3  # failures in a row for each worker, no well in between, before the run ends
KEPT = "Finished wells are kept; run the same command again: only the others are computed."


@contextmanager
def on_cluster(
    begin: Callable[[], Started], *, seat: Seat, address: str | None, workers: int | None = None
) -> Iterator[Executor]:
    """Start workers on a cluster, and end them with the block, however it ends.

    Args:
        begin: What each does first; it travels there.
        seat: What each is told of its place; its share of the cores is found here.
        address: `host:port` of the cluster's head, "auto" for the cluster that this machine is
            part of, None for the one that `RAY_ADDRESS` names or else for this machine alone.
        workers: How many; by default one for each GPU, or where there is none for each core.

    Raises:
        NoCluster: There is none at the address, or no machine of it can work.
        ProfilingError: The recipe cannot be compiled.
    """
    with connected(address):
        room = places(ray.nodes(), workers=workers)
        here = replace(seat, cores=room.cores, versions=versions())
        crew = Crew(partial(_hire, begin, here, room))
        try:
            crew.grow(room.workers)
            about, early = _first(crew, most=BAD_LUCK * room.workers)
            yield Executor(about, partial(_run, crew, room.workers, early), (room.sentence,))
        finally:
            crew.dismiss()


def _hire(begin: Callable[[], Started], seat: Seat, room: Places):
    """Ask Ray for one more process; where there is no room yet, it starts when there is."""
    kind = ray.remote(num_cpus=room.cores, num_gpus=room.gpus)(Worker)
    worker = kind.remote(room.cores)
    return worker, worker.start.remote(seat, begin)


def _first(crew: Crew, *, most: int) -> tuple[About, list[Lost]]:
    """Wait for the first worker that is ready; those that were lost before are yet to be told."""
    lost: list[Lost] = []
    while len(lost) < most:
        news = crew.wait()
        if isinstance(news, About):
            return news, lost
        assert isinstance(news, Lost)  # no block has been given yet
        lost.append(news)
    raise NoCluster(
        f"{most} workers of the cluster were lost before they were ready, the last so: "
        f"{reason(lost[-1].error)}. Is this program installed on every machine, in the same "
        "version?"
    )


def _run(crew: Crew, workers: int, early: list[Lost], tasks: Iterable[Task]) -> Iterator[Event]:
    """Give blocks to whoever is free until none is left, and tell of every worker that is lost.

    Raises:
        WorkLost: Wells failed as often as they may, or nothing but failures came for long.
    """
    queue = deque(blocks(tasks, workers=workers))
    fields = sum(block.task.todo.height for block in queue)
    failed: dict[Well, Exception] = {}
    unlucky: list[Exception] = []  # failures since the last well
    while early:
        yield from _without_work(early.pop(0))
    while queue or crew.busy:
        while queue and crew.free:
            crew.give(queue.popleft())
        match _news(crew):
            case Told(WellSaved() as event):
                unlucky = []
                yield event
            case Told(Forecast() as event):
                yield _of_all(event, fields=fields, workers=workers)
            case Told(event):
                fields -= event.fields if isinstance(event, FieldsDone) else 0
                yield event
            case Ended(job, error) if error:
                unlucky.append(error)
                yield incident(job, error)
                fields += job.fields_lost
                again = list(retried(job, tries=TRIES))
                queue.extend(again)
                failed |= {} if again else dict.fromkeys(job.left, error)
                # Who was idle for long is given work again: a try shall not be lost on the dead.
                yield from _without_work(*crew.missing())
            case Lost(error) as lost:
                # Ray may send many to a lost machine in the time that one well of others takes.
                unlucky += [] if lost.is_known and crew.busy else [error]
                yield from _without_work(lost)
        if len(unlucky) > BAD_LUCK * workers:
            raise WorkLost(
                f"{len(unlucky)} failures in a row, and no well between; the last: "
                f"{reason(unlucky[-1])} {KEPT}"
            )
    yield from _without_work(*crew.missing(), *crew.unborn())
    if failed:
        raise WorkLost(_told(failed))


def _news(crew: Crew) -> Told | Ended | Lost | About:
    try:
        return crew.wait()
    except NoCluster as error:  # there was one when the run began: something befell it
        raise WorkLost(f"{error} {KEPT}") from error


def _without_work(*lost: Lost) -> Iterator[Incident]:
    for each in lost:
        if not each.is_known:
            yield Incident(each.code, reason(each.error))


def _of_all(event: Forecast, *, fields: int, workers: int) -> Forecast:
    """What a worker foresees for its block, for all that is left and all who share it."""
    pace = event.seconds_per_field
    return replace(
        event,
        fields=fields,
        seconds_per_field=None if pace is None else pace / workers,
        memory_bytes=event.memory_bytes * workers,
        pixel_bytes=event.pixel_bytes // event.fields * fields,
    )


def _told(failed: Mapping[Well, Exception]) -> str:
    well, error = next(iter(failed.items()))
    are = "wells were" if len(failed) > 1 else "well was"
    return (
        f"{len(failed)} {are} tried {TRIES} times and could not be computed, the first "
        f"{' '.join(well)}: {reason(error)} {KEPT}"
    )
