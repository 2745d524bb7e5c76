"""What an executor looks like to the rest of the engine: it starts workers and gives them tasks."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from plates.errors import ProfilingError
from profiler.compute.worker import Task
from profiler.events import Event


class NoCluster(ProfilingError, ConnectionError):
    """There is no Ray, no cluster at the address, or none that can work."""


class WorkLost(ProfilingError, RuntimeError):
    """Wells that could not be computed however often they were tried."""

    is_incident = True


class About(NamedTuple):
    """What a worker says of the program that it has compiled.

    Attributes:
        columns: Names of the cells' features.
        weights: Hash of the network's weights.
        computed_by: Hash of all that the cells depend on besides the images.
        device: What computes.
        embedder: Hash of the encoder's weights, if the recipe names one.
    """

    columns: tuple[str, ...]
    weights: str
    computed_by: str
    device: str
    embedder: str | None = None


class Started(NamedTuple):
    """A worker that is ready: what it has compiled, and how it does a task."""

    about: About
    work: Callable[[Task], Iterator[Event]]


class Executor(NamedTuple):
    """Workers that are ready.

    Attributes:
        about: What they have compiled; the same for all.
        run: Whole plates in, events out as they happen; whatever stops it, finished wells stay.
        notes: What a person should know of them.
    """

    about: About
    run: Callable[[Iterable[Task]], Iterator[Event]]
    notes: tuple[str, ...] = ()
