"""What is watched and with what: the parts a watcher is made of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from profiler.events import Event
from profiler.request import Request
from profiler.watch.folders import GoesOn
from profiler.watch.inbox import Inbox, Look
from profiler.watch.status import Status

Runner: TypeAlias = Callable[[Request], Iterator[Event]]


@dataclass(frozen=True)
class Watch:
    """What is watched, and how patiently.

    Attributes:
        inbox: The folder that plates are put in; never written to.
        runs: Where the run folders go, one for each plate, of the same name unless that has
            another plate's; or an address.
        pattern: Which entries of the inbox are plates: `*`, or `*/*` for a folder per night.
        manifest: Name of the file that tells that a plate is complete; see `complete`.
        quiet_s: Without one, for how long nothing must have been added.
        poll_s: Between two looks.
        tries: Attempts at a plate that fails.
        pause_s: Before the next of them.
        again: Whether plates that were given up are tried again.
        once: Whether to end when what is complete now is through.
    """

    inbox: Path
    runs: Path
    pattern: str = "*"
    manifest: str | None = None
    quiet_s: float = 600.0
    poll_s: float = 30.0
    tries: int = 3
    pause_s: float = 600.0
    again: bool = False
    once: bool = False


class Clock(NamedTuple):
    """Time, as a watcher knows it.

    Attributes:
        now: Seconds since 1970.
        sleep: Waits so many seconds, or less if it is to stop.
        is_stopped: Whether it is to stop.
    """

    now: Callable[[], float]
    sleep: Callable[[float], None]
    is_stopped: Callable[[], bool]


@dataclass(frozen=True)
class Seen:
    """A plate as a session saw it last.

    Attributes:
        look: What was there.
        since: When it was first seen like this.
        is_settled: Whether it is done or given up: looked at again when its folders change, and
            now and then.
        looked: When it was last walked through, if it is settled.
    """

    look: Look
    since: float
    is_settled: bool = False
    looked: float = 0.0


@dataclass
class Watcher:
    """What a watcher works with, and what it knows.

    Attributes:
        settings: What is watched; `runs` is where its records are kept on this disk.
        home: Where the run folders go: the same, or an address.
        share: Lets others have the records, where they are not on this disk alone.
        goes_on: Whether a run folder is free, or of the same plate.
        done: Plates finished since it began, again perhaps.
    """

    settings: Watch
    request: Request
    run: Runner
    clock: Clock
    inbox: Inbox
    status: Status
    about: Mapping[str, Any]
    home: Path
    share: Callable[[], None]
    goes_on: GoesOn
    seen: dict[str, Seen] = field(default_factory=dict)
    done: int = 0
    has_trouble: bool = False
