"""One task after another, in this process."""

from collections.abc import Callable, Iterable, Iterator

from profiler.events import Event
from profiler.worker import Task


def run_here(tasks: Iterable[Task], work: Callable[[Task], Iterator[Event]]) -> Iterator[Event]:
    """Do each task in turn, yielding what happens."""
    for task in tasks:
        yield from work(task)
