"""What a watcher tells while it works: each is one line of its log."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Watching:
    """The watcher has begun.

    Attributes:
        inbox: Where plates come.
        runs: Where their runs go.
        recipe: Its name.
        before: How watchers before ended that did not end well: killed, say, or by a full disk.
    """

    inbox: str
    runs: str
    recipe: str
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class InboxGone:
    """The inbox cannot be listed; the watcher looks again."""

    reason: str


@dataclass(frozen=True)
class InboxBack:
    """The inbox can be listed again."""


@dataclass(frozen=True)
class Waiting:
    """A plate is there, but not to be taken yet; told again when the reason changes."""

    plate: str
    reason: str


@dataclass(frozen=True)
class Vanished:
    """A plate that was waited for is no longer there."""

    plate: str


@dataclass(frozen=True)
class Skipped:
    """A plate needs no computing, or gets none any more.

    Attributes:
        plate: Its folder, below the inbox.
        reason: Why.
        content: What the plate held, from `Look.digest`.
        run: Its run folder, below the runs; empty where none was chosen.
    """

    plate: str
    reason: str
    content: str
    run: str


@dataclass(frozen=True)
class Began:
    """A plate is being run.

    Attributes:
        plate: Its folder, below the inbox.
        attempt: From 1.
        tries: The most there will be.
        because: What told that it is complete.
        content: What the plate held, from `Look.digest`.
    """

    plate: str
    attempt: int
    tries: int
    because: str
    content: str


@dataclass(frozen=True)
class Placed:
    """The run folder of a plate is known; told where it is not of the plate's name.

    Attributes:
        plate: Its folder, below the inbox.
        run: Its run folder, below the runs.
    """

    plate: str
    run: str


@dataclass(frozen=True)
class Progress:
    """How far a plate has come; told now and then."""

    plate: str
    fields_done: int
    fields: int
    fields_failed: int


@dataclass(frozen=True)
class Noted:
    """What a person should know of a plate."""

    plate: str
    stage: str
    note: str


@dataclass(frozen=True)
class Done:
    """A plate has its tables and its report.

    Attributes:
        plate: Its folder, below the inbox.
        run: Its run folder, below the runs.
        seconds: Time it took, this attempt.
        fields: Fields on it.
        fields_failed: Those that became coded rows.
        cells: Cells measured.
        content: What the plate held, from `Look.digest`.
    """

    plate: str
    run: str
    seconds: float
    fields: int
    fields_failed: int
    cells: int
    content: str


@dataclass(frozen=True)
class Disturbed:
    """A plate changed, or its inbox went, while it was run; it is run again, and no try is lost."""

    plate: str
    reason: str


@dataclass(frozen=True)
class Failed:
    """An attempt at a plate ended in an error.

    Attributes:
        plate: Its folder, below the inbox.
        attempt: From 1.
        tries: The most there will be.
        reason: The error.
        again_at: When it is tried again (seconds since 1970), or null where it is given up.
        content: What the plate held, from `Look.digest`.
        run: Its run folder, below the runs; empty where none was chosen yet.
        traceback: Of an error that is our bug; empty for one that a user can mend.
    """

    plate: str
    attempt: int
    tries: int
    reason: str
    again_at: float | None
    content: str
    run: str
    traceback: str = ""


@dataclass(frozen=True)
class Trouble:
    """The watcher cannot keep its own records; it goes on, and tries again at the next event."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """The watcher ends.

    Attributes:
        reason: "once" where all that was complete is through, or "stopped".
        done: Plates finished since it began.
        failed: Plates whose last attempt failed, or that are given up.
        waiting: Plates that are not complete yet.
    """

    reason: str
    done: int
    failed: int
    waiting: int


WatchEvent: TypeAlias = (
    Watching | InboxGone | InboxBack | Waiting | Vanished | Skipped | Began | Placed
    | Progress | Noted | Done | Disturbed | Failed | Trouble | Ended
)  # fmt: skip
