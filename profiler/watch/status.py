"""What a watcher knows of its plates: a fold over its events, kept in `RUNS/status.json`.

The file is for monitoring, and what a watcher that was killed goes on from.
"""

import importlib.metadata
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiler.store.atomic import replacing
from profiler.watch import events as tells
from profiler.watch.events import WatchEvent
from profiler.watch.log import kind, sentence

FILE = "status.json"
FORMAT = 1
PACKAGES = ("plate-profiler", "jax", "jaxlib", "numpy", "polars", "pyarrow")
RUNNING, DONE, FAILED, GIVEN_UP, WAITING = "running", "done", "failed", "given_up", "waiting"


@dataclass(frozen=True)
class PlateState:
    """Where a plate stands.

    Attributes:
        state: `waiting`, `running`, `done`, `failed` (it is tried again) or `given_up`.
        since: When that began (ISO 8601, UTC).
        reason: What it waits for, or why it failed.
        tries: Attempts that failed, and one that is running.
        again_at: When a failed one is tried again, in seconds since 1970.
        content: What it held when it was taken, from `Look.digest`.
        run: Its run folder, below the runs, once one was chosen.
        fields_failed: Fields that became coded rows, of one that is done.
    """

    state: str
    since: str = ""
    reason: str = ""
    tries: int = 0
    again_at: float = 0.0
    content: str = ""
    run: str = ""
    fields_failed: int = 0


@dataclass(frozen=True)
class Status:
    """All that `status.json` says, besides counts and what runs."""

    state: str = "starting"
    started: str = ""
    last_event: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, int] = field(default_factory=dict)
    plates: Mapping[str, PlateState] = field(default_factory=dict)

    def of(self, plate: str) -> PlateState | None:
        """Where a plate stands, if it is known."""
        return self.plates.get(plate)

    def count(self, *states: str) -> int:
        """How many plates stand there."""
        return sum(plate.state in states for plate in self.plates.values())


def after(status: Status, event: WatchEvent, *, now: float) -> Status:
    """What is known after an event."""
    time = utc(now)
    status = replace(
        status, last_event={"time": time, "event": kind(event), "text": sentence(event)}
    )
    match event:
        case tells.Watching():
            return replace(status, state="watching", started=time)
        case tells.InboxGone():
            return replace(status, state="inbox_gone")
        case tells.InboxBack():
            return replace(status, state="watching")
        case tells.Ended():
            return replace(status, state="stopped" if event.reason == "stopped" else "ended")
        case tells.Progress():
            done = {"fields_done": event.fields_done, "fields": event.fields}
            return replace(status, progress=done | {"fields_failed": event.fields_failed})
        case tells.Noted() | tells.Trouble():
            return status
        case tells.Vanished():
            others = {name: s for name, s in status.plates.items() if name != event.plate}
            return replace(status, plates=others)
        case _:
            moved = _moved(status.of(event.plate) or PlateState(WAITING), event)
            plates = {**status.plates, event.plate: replace(moved, since=time)}
            state = "running" if moved.state == RUNNING else "watching"
            return replace(status, state=state, plates=plates, progress={})


def _moved(plate: PlateState, event: WatchEvent) -> PlateState:
    match event:
        case tells.Waiting():
            tries = 0 if plate.state == GIVEN_UP else plate.tries
            return replace(plate, state=WAITING, reason=event.reason, tries=tries)
        case tells.Began():
            return PlateState(RUNNING, "", event.because, event.attempt, content=event.content)
        case tells.Placed():
            return replace(plate, run=event.run)
        case tells.Done():
            failed = event.fields_failed
            return PlateState(DONE, content=event.content, run=event.run, fields_failed=failed)
        case tells.Disturbed():
            return replace(plate, state=WAITING, reason=event.reason, tries=plate.tries - 1)
        case tells.Failed():
            state = GIVEN_UP if event.again_at is None else FAILED
            at = event.again_at or 0.0
            return PlateState(state, "", event.reason, event.attempt, at, event.content, event.run)
        case tells.Skipped():
            if plate.state == GIVEN_UP:
                return plate
            failed = plate.fields_failed
            return PlateState(DONE, content=event.content, run=event.run, fields_failed=failed)
        case _:
            return plate


def write_status(runs: Path, status: Status, *, now: float, about: Mapping[str, Any]) -> None:
    """Write `status.json` whole or not at all.

    Raises:
        BadRun: It cannot be written, as on a full disk.
    """
    running = next((n for n, plate in status.plates.items() if plate.state == RUNNING), None)
    counts = {s: status.count(s) for s in (DONE, RUNNING, WAITING, FAILED, GIVEN_UP)}
    content = {
        "format": FORMAT,
        "state": status.state,
        "updated": utc(now),
        "started": status.started,
        **about,
        "running": running and {"plate": running, **asdict(status.plates[running])},
        "progress": dict(status.progress),
        "counts": counts,
        "last_event": dict(status.last_event),
        "plates": {name: asdict(plate) for name, plate in sorted(status.plates.items())},
    }
    with replacing(runs / FILE) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def read_status(runs: Path) -> Status:
    """What an earlier watcher knew; nothing where there was none.

    A file of another format, or one that was edited, counts as none: the runs themselves say
    which plates are done.
    """
    try:
        raw = json.loads((runs / FILE).read_text("utf-8"))
        plates = {name: PlateState(**state) for name, state in raw["plates"].items()}
        return Status(plates=plates) if raw["format"] == FORMAT else Status()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Status()


def describe_process() -> dict[str, Any]:
    """Which process watches, and with what versions."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"pid": os.getpid(), "host": socket.gethostname(), "versions": versions}


def utc(now: float) -> str:
    """Seconds since 1970 as ISO 8601."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
