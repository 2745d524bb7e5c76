"""How long named stretches of work take, in whichever threads they are done."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

Span: TypeAlias = Callable[[str], AbstractContextManager[object]]


class Stretch(NamedTuple):
    """One piece of work.

    Attributes:
        name: What was done.
        thread: Where.
        start: When it began, in seconds since the clock was made.
        seconds: How long it took.
    """

    name: str
    thread: str
    start: float
    seconds: float


@dataclass
class Clock:
    """Times stretches of work: `with clock("read"): ...`.

    Attributes:
        keeps: Whether every stretch is kept, for a trace; sums are, always.
        seconds: Sum of each name's stretches; those of several threads add up.
        times: How many there were.
        stretches: All of them, if they are kept.
    """

    keeps: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    stretches: list[Stretch] = field(default_factory=list)
    _began: float = field(default_factory=time.perf_counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what is done within."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(name, start, time.perf_counter() - start)

    def _add(self, name: str, start: float, seconds: float) -> None:
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            self.times[name] += 1
            if self.keeps:
                thread = threading.current_thread().name
                self.stretches.append(Stretch(name, thread, start - self._began, seconds))

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._began
