"""One task after another, in this process."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from profiler.compute.worker import Task
from profiler.events import Event
from profiler.execute.executor import Executor, Started


def here(begin: Callable[[], Started]) -> Executor:
    """Compile in this process, which is its own only worker."""
    about, work = begin()
    return Executor(about, partial(run_here, work=work))


def run_here(tasks: Iterable[Task], work: Callable[[Task], Iterator[Event]]) -> Iterator[Event]:
    """Do each task in turn, yielding what happens."""
    for task in tasks:
        yield from work(task)
