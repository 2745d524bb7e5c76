"""What the two faults of a cluster cost: a worker killed, and a machine lost, in mid-plate.

    python -m benchmarks.cluster [--times 5]

Both happen on this machine: Ray takes each of its nodes for a machine. Every run starts anew, on
the plate of `benchmarks/faults.py`, and its tables are compared with those of an undisturbed run
without a cluster, as there: rows lost, rows doubled.
"""

import argparse
import logging
import os
import random
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster as Machines

from benchmarks.faults import RECIPE, differences, make_plate
from profiler.events import Event, Forecast, Incident
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Cluster, Request

SMALL: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
BLOCKS = 12  # of the plate: one for each well


def main() -> None:
    """Cause each fault several times, and print one row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=5, help="Times each fault is caused.")
    times = parser.parse_args().times
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    machines = Machines(initialize_head=True, head_node_args=SMALL)
    try:
        ray.init(machines.address, log_to_driver=False, logging_level=logging.CRITICAL)
        with tempfile.TemporaryDirectory() as folder:
            print(_table(Path(folder), machines, times=times))
    finally:
        ray.shutdown()
        machines.shutdown()


def _table(folder: Path, machines: Machines, *, times: int) -> str:
    plate = make_plate(folder)
    undisturbed = Request(
        (plate,), folder / "here", load_recipe(RECIPE), layout=plate / "platemap.csv"
    )
    list(run(undisturbed))
    clustered = replace(undisturbed, cluster=Cluster(workers=2))
    head = "| fault | times | rows lost | rows doubled | told |\n|---|---|---|---|---|"
    rows = [
        _row(name, fault, clustered, machines, times=times)
        for name, fault in {"a worker is killed": killed, "a machine is lost": lost}.items()
    ]
    return "\n".join([head, *rows])


def _row(name: str, fault: Callable, request: Request, machines: Machines, *, times: int) -> str:
    found, told = [], Counter()
    for trial in range(times):
        ours = replace(request, out=request.out.with_name(f"{fault.__name__} {trial}"))
        events = list(fault(ours, machines, random.Random(trial).randrange(BLOCKS)))
        told += Counter(event.code for event in events if isinstance(event, Incident))
        found += differences(ours.out, request.out).values()
        _until_alone()
    codes = ", ".join(f"{count} {code}" for code, count in told.items())
    rows = sum(table.lost for table in found), sum(table.doubled for table in found)
    return f"| {name} | {times} | {rows[0]} | {rows[1]} | {codes} |"


def _until_alone() -> None:
    """Wait until Ray has found out what is gone, so that the next run is not given it."""
    while sum(node["Alive"] for node in ray.nodes()) > 1:
        time.sleep(0.5)


def killed(request: Request, machines: Machines, moment: int) -> Iterator[Event]:
    """SIGKILL whoever is at work when so many blocks have been begun before."""
    machine = machines.add_node(**SMALL)
    at_work: list[int] = []
    for begun, event in _begun(run(request)):
        if begun > moment and not at_work and (at_work := _at_work()):
            os.kill(at_work[-1], signal.SIGKILL)
        yield event
    machines.remove_node(machine)


def lost(request: Request, machines: Machines, moment: int) -> Iterator[Event]:
    """Take a machine away when so many blocks have been begun before."""
    machine = machines.add_node(**SMALL)
    for begun, event in _begun(run(request)):
        if begun > moment and machine:
            take_away(machines, machine)
            machine = None
        yield event
    if machine:
        machines.remove_node(machine)


def take_away(machines: Machines, machine: Any) -> None:
    """Lose a machine whole: without its Ray alone, its workers would live on for seconds."""
    (raylet,) = machine.all_processes["raylet"]
    ours = list(descendants(raylet.process.pid))
    machines.remove_node(machine, allow_graceful=False)
    for pid in ours:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _begun(events: Iterator[Event]) -> Iterator[tuple[int, Event]]:
    begun = 0
    for event in events:
        begun += isinstance(event, Forecast) and not event.is_measured
        yield begun, event


def _at_work() -> list[int]:
    """Workers under this process that have a block; Ray names a process after what it does."""
    return [pid for pid in descendants(os.getpid()) if _said(pid).startswith("ray::Worker.run")]


def descendants(parent: int) -> Iterator[int]:
    """Processes that a process has started, and theirs."""
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in map(int, path.read_text().split()):
                yield child
                yield from descendants(child)


def _said(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


if __name__ == "__main__":
    main()
