"""One attempt at one plate: whatever comes of it, the watcher goes on."""

import traceback
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from plates.errors import ProfilingError
from profiler.events import (
    BatchHalved,
    Event,
    FieldsDone,
    Finished,
    Incident,
    Planned,
    StageDone,
)
from profiler.watch.events import (
    Began,
    Disturbed,
    Done,
    Failed,
    Noted,
    Placed,
    Progress,
    WatchEvent,
)
from profiler.watch.folders import run_names
from profiler.watch.inbox import Look, look
from profiler.watch.settings import Watcher
from profiler.watch.status import DONE, GIVEN_UP, RUNNING

PROGRESS_S = 60.0  # between two lines on how far a plate has come


def attempt(me: Watcher, name: str, *, place: Path, because: str) -> Iterator[WatchEvent]:
    """Run a plate, and say what came of it.

    Args:
        me: The watcher; what it has seen of the plate is brought up to date.
        name: The plate's name.
        place: Its folder.
        because: Why it may be taken.
    """
    before, nth = me.seen[name].look, _nth(me, name)
    yield Began(name, nth, me.settings.tries, because, before.digest())
    start, reason, trace, finished = me.clock.now(), "", "", None
    try:
        finished = yield from _followed(me, name, place)
    except ProfilingError as error:
        reason = str(error)
    except Exception as error:  # our bug, or the machine's trouble: the next plate shall run
        reason, trace = _reason(error), traceback.format_exc()
    disturbed = _disturbed(me, place, before, is_cut=not reason and finished is None)
    if disturbed:
        me.seen.pop(name)
        yield Disturbed(name, disturbed)
        return
    if finished is not None:
        me.seen[name] = replace(me.seen[name], is_settled=True, looked=me.clock.now())
        me.done += 1
        yield _done(me, name, finished, before, seconds=me.clock.now() - start)
        return
    yield _failed(me, name, nth, reason=reason, trace=trace)


def failed_early(me: Watcher, name: str, error: Exception) -> Failed:
    """Count an error in looking at a plate as a try, so that it cannot come back for ever."""
    trace = "".join(traceback.format_exception(error))
    return _failed(me, name, _nth(me, name), reason=_reason(error), trace=trace)


def _nth(me: Watcher, name: str) -> int:
    known = me.status.of(name)
    return 1 + (known.tries if known and known.state not in (DONE, GIVEN_UP) else 0)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _failed(me: Watcher, name: str, nth: int, *, reason: str, trace: str) -> Failed:
    tries, seen = me.settings.tries, me.seen[name]
    again_at = me.clock.now() + me.settings.pause_s if nth < tries else None
    me.seen[name] = replace(seen, is_settled=again_at is None, looked=me.clock.now())
    run = _run(me, name)
    return Failed(name, nth, tries, reason, again_at, seen.look.digest(), run, trace)


def _run(me: Watcher, name: str) -> str:
    """The run folder that was chosen for an attempt; empty if there was none or none is on."""
    known = me.status.of(name)
    return known.run if known and known.state == RUNNING else ""


def _placed(me: Watcher, name: str, place: Path) -> Placed:
    """Choose a plate's run folder: the first that is free, or has what was made of it before."""
    request = replace(me.request, plates=(place,))
    runs = (run for run in run_names(name) if me.goes_on(replace(request, out=me.home / run)))
    return Placed(name, next(runs))


def _followed(me: Watcher, name: str, place: Path) -> Generator[WatchEvent, None, Finished | None]:
    """Pass on what a person should know of a run; its last event, or None if it was stopped."""
    placed = _placed(me, name, place)
    yield placed
    request = replace(me.request, plates=(place,), out=me.home / placed.run)
    events = me.run(request)
    done = failed = fields = 0
    told = me.clock.now()
    try:
        for event in events:
            if isinstance(event, Planned):
                fields = event.fields
            elif isinstance(event, FieldsDone):
                done, failed = done + event.fields, failed + event.failed
            elif isinstance(event, Finished):
                return event
            yield from (Noted(name, *note) for note in _notes(event))
            if done and me.clock.now() - told >= PROGRESS_S:
                told = me.clock.now()
                yield Progress(name, done, fields, failed)
            if me.clock.is_stopped():
                return None
    finally:
        if isinstance(events, Generator):
            events.close()
    return None


def _notes(event: Event) -> Iterator[tuple[str, str]]:
    match event:
        case Planned():
            yield from (("plan", note) for note in event.notes)
        case StageDone():
            yield from ((event.name, note) for note in event.notes)
        case BatchHalved():
            yield "cells", event.sentence
        case Incident():
            yield event.code, event.message


def _disturbed(me: Watcher, place: Path, before: Look, *, is_cut: bool) -> str:
    """Why a result does not count: the plate is not what it was, or the watcher is to end."""
    if is_cut:
        return "the watcher was stopped while it was run; finished wells are kept"
    try:
        me.inbox.plates()
        after = look(place)
    except OSError as error:
        return f"it cannot be read any more ({error.strerror or error})"
    if after == before:
        return ""
    return "files were added, changed or lost while it was run"


def _done(me: Watcher, name: str, finished: Finished, before: Look, *, seconds: float) -> Done:
    found = finished.summary
    failed = sum(found["fields_failed"].values())
    return Done(
        name, _run(me, name), seconds, found["fields"], failed, found["cells"], before.digest()
    )
