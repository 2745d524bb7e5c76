"""An event as one line: for a person, or as JSON."""

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime

from profiler.watch import events as tells
from profiler.watch.events import WatchEvent


def kind(event: WatchEvent) -> str:
    """Name of an event.

    >>> kind(tells.InboxGone("no such folder"))
    'inbox_gone'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()


def as_json(event: WatchEvent, *, time: str) -> str:
    """One line of JSON: `time`, `event`, `text`, and all that the event holds."""
    told = {"time": time, "event": kind(event), "text": sentence(event)}
    return json.dumps(told | asdict(event))


def as_text(event: WatchEvent, *, time: str) -> str:
    """One line for a person, however many its message had; the traceback of a bug follows."""
    line = f"{time} {' '.join(sentence(event).split())}"
    trace = event.traceback if isinstance(event, tells.Failed) else ""
    return f"{line}\n{trace.rstrip()}" if trace else line


def sentence(event: WatchEvent) -> str:
    """Say what happened."""
    match event:
        case tells.Watching():
            where = f"Watching {event.inbox} with recipe {event.recipe}; runs go to {event.runs}."
            return " ".join((where, *(f"An earlier watcher: {end}" for end in event.before)))
        case tells.InboxGone():
            return f"The inbox is gone: {event.reason}. Looking again until it is back."
        case tells.InboxBack():
            return "The inbox is back."
        case tells.Waiting() | tells.Disturbed():
            return f"{event.plate} waits: {event.reason}."
        case tells.Vanished():
            return f"{event.plate} is no longer in the inbox."
        case tells.Skipped():
            return f"{event.plate} is not run: {event.reason}."
        case tells.Began():
            nth = f" (attempt {event.attempt} of {event.tries})" if event.attempt > 1 else ""
            return f"{event.plate} is run{nth}: {event.because}."
        case tells.Placed():
            folders = f"{event.plate} goes to the run folder {event.run}"
            if event.run == event.plate:
                return f"{folders}."
            return f"{folders}: that of its own name is of other images, and stays as it is."
        case tells.Progress():
            failed = f", {event.fields_failed} failed" if event.fields_failed else ""
            return f"{event.plate}: {event.fields_done} of {event.fields} fields{failed}."
        case tells.Noted():
            return f"{event.plate}, {event.stage}: {event.note}"
        case tells.Done():
            failed = f" ({event.fields_failed} failed)" if event.fields_failed else ""
            where = "" if event.run == event.plate else f", run folder {event.run}"
            return (
                f"{event.plate} is done in {event.seconds:.0f} s: {event.fields} fields{failed}, "
                f"{event.cells:,} cells{where}."
            )
        case tells.Failed():
            return f"{event.plate} failed{_what_now(event)}: {event.reason}"
        case tells.Trouble():
            return f"Records cannot be kept: {event.reason}"
        case tells.Ended():
            why = "Stopped" if event.reason == "stopped" else "All that was complete is through"
            rest = f"{event.failed} failed, {event.waiting} not complete"
            return f"{why}: {event.done} plates done, {rest}."


def _what_now(event: tells.Failed) -> str:
    if event.again_at is None:
        return f" {event.attempt} times and is given up until it changes"
    clock = datetime.fromtimestamp(event.again_at, UTC)
    return f", attempt {event.attempt} of {event.tries}, next at {clock:%H:%M} UTC"
