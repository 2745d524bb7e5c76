"""One worker process of a cluster: it compiles once, then does tasks until it is let go."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from plates.errors import BadRun
from profiler.compute.worker import Task
from profiler.events import Event
from profiler.execute.executor import About, NoCluster, Started
from profiler.store.home import holder
from profiler.store.objects import run_address

# What numbers depend on; where two machines differ in them, their tables would.
PACKAGES = ("plate-profiler", "jax", "jaxlib", "flax", "numpy", "polars", "pyarrow", "numba")


@dataclass(frozen=True)
class Seat:
    """What a worker is told of its place.

    Attributes:
        cores: Its share of the machine's.
        folder: Where the command was given: relative paths start there.
        out: The run folder, or its address.
        holder: What its lock or lease says; a folder of the same name elsewhere says otherwise.
        patience_s: Until a network file system must show on one machine what another has written.
        seen: Plates that must be seen from here: where one is not, all its images would be missing.
        versions: Of packages, that must be the same here.
    """

    cores: int
    folder: Path
    out: Path
    holder: str
    patience_s: float = 10.0
    seen: tuple[Path, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A process on some machine of the cluster; Ray calls its methods, one at a time."""

    def __init__(self, cores: int):
        # XLA and `available_cores` obey NPROC; neither has started its threads yet.
        os.environ |= {"NPROC": str(cores), "POLARS_MAX_THREADS": str(cores)}

    def start(self, seat: Seat, begin: Callable[[], Started]) -> tuple[str, About]:
        """Take the seat and compile.

        Returns:
            The machine's name, and what was compiled.

        Raises:
            NoCluster: This machine does not see the folders of the one that asks, or has other
                versions.
            ProfilingError: The recipe cannot be compiled.
        """
        _enter(seat)
        self._started = begin()
        return socket.gethostname(), self._started.about

    def answer(self) -> None:
        """Show by answering that this process is there."""

    def run(self, task: Task) -> Iterator[Event]:
        """Do a task, yielding what happens as it happens."""
        # Not `yield from`: Ray sends values into this generator, and plain iterators take none.
        for event in self._started.work(task):  # noqa: UP028
            yield event


def versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The versions of packages that are installed here; "none" of one that is not."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _enter(seat: Seat) -> None:
    ours = versions(seat.versions)
    if others := [name for name in ours if ours[name] != seat.versions[name]]:
        differ = ", ".join(f"{name} {ours[name]} and not {seat.versions[name]}" for name in others)
        raise NoCluster(
            f"The machine {socket.gethostname()} of the cluster has {differ}, so its numbers could "
            "differ from this one's. Install the same versions on all machines; nothing was "
            "computed there."
        )
    shares_folders = seat.seen or not run_address(seat.out)
    try:
        os.chdir(seat.folder)
    except OSError as error:
        if shares_folders:
            raise NoCluster(_unseen(seat.folder, error.strerror)) from error
    deadline = time.monotonic() + seat.patience_s
    while lacking := _lacking(seat):
        if time.monotonic() > deadline:
            raise NoCluster(_unseen(*lacking))
        time.sleep(0.1)


def _lacking(seat: Seat) -> tuple[Path, str] | None:
    """What cannot be seen from here, and why."""
    try:
        is_same = holder(seat.out) == seat.holder
    except BadRun as error:
        return seat.out, str(error)
    if not is_same:
        return seat.out, "it is another folder, or none"
    return next(((path, "it is not there") for path in seat.seen if not path.exists()), None)


def _unseen(path: Path, reason: str | None) -> str:
    return (
        f"The machine {socket.gethostname()} of the cluster does not see "
        f"{run_address(path) or path.absolute()} as this one does ({reason}). Keep plates and "
        "--out on storage that all machines mount at the same place, or in a store that all "
        "reach with the same credentials; nothing was computed there."
    )
