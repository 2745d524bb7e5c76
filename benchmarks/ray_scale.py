"""Two Ray workers against one, and one against this process alone, on one machine.

    python -m benchmarks.ray_scale [--wells 96] [--sites 2] [--size 512] [--repeats 2]

Every worker, and the process that works alone, has one core: `NPROC=1` for what computes, and
once it is warm all its threads are bound to that core, since those that read, draw and write would
take half of another (which leaves less to a second worker, and nothing to find out of sharing).
All are warmed by a well of their own first; starting them is timed apart. The cells they write must
be the same.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

ONE_CORE = {"NPROC": "1", "POLARS_MAX_THREADS": "1"}
os.environ |= ONE_CORE  # before anything starts its threads

import polars as pl  # noqa: E402
import ray  # noqa: E402

from benchmarks.cluster import descendants  # noqa: E402
from plates.synthetic import PlateDesign, write_plate  # noqa: E402
from profiler.cells import _begin  # noqa: E402
from profiler.compute.worker import Task  # noqa: E402
from profiler.events import FieldsDone  # noqa: E402
from profiler.execute.cluster import on_cluster  # noqa: E402
from profiler.execute.crew import Crew  # noqa: E402
from profiler.execute.executor import Executor  # noqa: E402
from profiler.execute.local import here  # noqa: E402
from profiler.execute.seat import Seat  # noqa: E402
from profiler.recipe import load_recipe  # noqa: E402
from profiler.request import Request, find_fields  # noqa: E402
from profiler.store.lock import LOCK, locked  # noqa: E402

CORES = os.sched_getaffinity(0)
GOAL_RATIO, GOAL_OVERHEAD = 1.8, 0.05
NIGHT_FIELDS, NIGHT_S = 1_000 * 384 * 9, 8 * 3600


class Time(NamedTuple):
    """Seconds until workers were warm, of the work then, and of processors for it, Ray's too."""

    start: float
    seconds: float
    cpu: float


def timed(executor: AbstractContextManager[Executor], tasks: list[Task], fields: int) -> Time:
    """Start workers, warm them with the first tasks, and time the last."""
    *warm, task = tasks
    _bind(os.getpid(), CORES)  # Ray's own processes inherit it
    began = time.perf_counter()
    with executor as workers:
        _wait_for_all(workers)
        list(workers.run(warm))
        bind(workers)
        start, began, before = time.perf_counter() - began, time.perf_counter(), cpu_seconds()
        events = list(workers.run([task]))
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - before
    assert sum(event.fields for event in events if isinstance(event, FieldsDone)) == fields
    return Time(start, seconds, cpu)


def bind(workers: Executor) -> None:
    """Bind each Ray worker, or without Ray this process, to a core of its own."""
    crew = _crew(workers)
    titles = {pid: _title(pid) for pid in descendants(os.getpid())} if crew else {}
    busy = [pid for pid, title in titles.items() if title.startswith(b"ray::Worker")]
    assert len(busy) == (len(crew.free) if crew else 0), titles
    for pid, core in zip(busy or [os.getpid()], sorted(CORES), strict=False):
        _bind(pid, {core})


def _bind(pid: int, cores: set[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), cores)  # its later threads inherit it


def _title(pid: int) -> bytes:
    with suppress(OSError):  # it has ended
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def cpu_seconds() -> float:
    """What this process and all it has started have had of the processors."""
    files = [Path(f"/proc/{pid}/stat") for pid in (os.getpid(), *descendants(os.getpid()))]
    ticks = [file.read_text().rpartition(")")[2].split()[11:13] for file in files]
    return sum(int(count) for pair in ticks for count in pair) / os.sysconf("SC_CLK_TCK")


def _wait_for_all(workers: Executor) -> None:
    """A run begins with the first worker that is ready; here all are to be warm."""
    crew = _crew(workers)
    while crew and crew.starting:
        crew.wait()


def _crew(workers: Executor) -> Crew | None:
    parts = getattr(workers.run, "args", ())
    return next((part for part in parts if isinstance(part, Crew)), None)


def ways(request: Request) -> Iterator[tuple[str, Callable[[Path], AbstractContextManager]]]:
    """The executors to compare, each as a function of the run folder."""

    def alone(out: Path) -> AbstractContextManager[Executor]:
        os.environ |= ONE_CORE
        return nullcontext(here(partial(_begin, at(out))))

    @contextmanager
    def cluster(out: Path, *, workers: int) -> Iterator[Executor]:
        os.environ.pop("NPROC", None)  # workers are told theirs
        seat = Seat(1, Path.cwd(), out, (out / LOCK).read_text())
        begin = partial(_begin, at(out))
        # Of as many cores as workers: alone on the machine's two, one would be given both.
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init(num_cpus=workers, **quiet)
        with on_cluster(begin, seat=seat, address=None, workers=workers) as crew:
            assert "of 1 core" in crew.notes[0], crew.notes
            yield crew
        ray.shutdown()

    def at(out: Path) -> Request:
        return Request(request.plates, out, request.recipe)

    yield "this process", alone
    yield "1 Ray worker", partial(cluster, workers=1)
    yield "2 Ray workers", partial(cluster, workers=2)


def measure(request: Request, *, repeats: int) -> dict[str, list[Time]]:
    """Time every way in turn, so that what else the machine does meets all of them."""
    sets = find_fields(request).asked
    wells = sets.select("plate", "well").unique(maintain_order=True)
    warm = [Task(sets, _of(sets, wells[i : i + 1])) for i in (0, 1)]
    rest = Task(sets, _of(sets, wells[2:]))
    found: dict[str, list[Time]] = {}
    for repeat in range(repeats):
        for name, way in ways(request):
            out = request.out / f"{name} {repeat}"
            with locked(out):
                took = timed(way(out), [*warm, rest], rest.todo.height)
            found.setdefault(name, []).append(took)
            _assert_same(out, request.out / "this process 0")
    return found


def _of(sets: pl.DataFrame, wells: pl.DataFrame) -> pl.DataFrame:
    return sets.join(wells, on=["plate", "well"], how="semi", maintain_order="left")


def _assert_same(ours: Path, theirs: Path) -> None:
    files = [path.relative_to(theirs) for path in (theirs / "cells").rglob("*.parquet")]
    assert files
    for file in files:
        assert pl.read_parquet(ours / file).equals(pl.read_parquet(theirs / file)), file


def show(found: dict[str, list[Time]], *, fields: int) -> None:
    """Print the table and whether the goals were met; the best of the repeats counts."""
    best = {name: min(times, key=lambda took: took.seconds) for name, times in found.items()}
    print("| who | start and warm-up, s | fields/s | CPU s a field |\n|---|---|---|---|")
    for name, took in best.items():
        pace, each = fields / took.seconds, took.cpu / fields
        print(f"| {name} | {took.start:.1f} | {pace:.2f} | {each:.3f} |")
    alone, one, two = (took.seconds for took in best.values())
    ratio, overhead = one / two, one / alone - 1
    met = {True: "met", False: "MISSED"}
    print(
        f"\nTwo workers against one: {ratio:.2f} times (at least {GOAL_RATIO}: "
        f"{met[ratio >= GOAL_RATIO]})\nOverhead of one worker: {overhead:.1%} "
        f"(under {GOAL_OVERHEAD:.0%}: {met[overhead < GOAL_OVERHEAD]})"
    )
    pace = NIGHT_FIELDS / NIGHT_S
    print(
        f"\n1,000 plates of 384 x 9 such fields in 8 hours are {pace:.0f} fields/s: "
        f"{pace * 2 * two / fields:.0f} cores at the pace of two workers."
    )


def main() -> None:
    """Draw a plate, and print one row for each way of working on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"wells": 96, "sites": 2, "size": 512, "repeats": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        print("Two workers need two cores, and this process may use one.")
        return
    with tempfile.TemporaryDirectory() as folder:
        plate = Path(folder) / "plate"
        design = PlateDesign(plate_format=96, sites=asked.sites, size=asked.size)
        write_plate(plate, design)
        wells = tuple(find_fields(_request(plate, plate)).sets["well"].unique(maintain_order=True))
        request = _request(plate, Path(folder) / "runs", wells=wells[: asked.wells])
        fields = (min(asked.wells, len(wells)) - 2) * asked.sites
        print(f"{fields} fields of {asked.size} px, recipe demo, Ray {ray.__version__}\n")
        show(measure(request, repeats=asked.repeats), fields=fields)


def _request(plate: Path, out: Path, *, wells: tuple[str, ...] = ()) -> Request:
    return Request((plate,), out, load_recipe("demo"), wells=wells)


if __name__ == "__main__":
    main()
