"""How a command that held a run ended, where it did not end well."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from plates.errors import ProfilingError
from profiler.store.atomic import FULL

LONGEST = 400  # bytes of a message that are kept, so that a few of them fit in a block of the disk
MISTAKEN = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # a path that was given


class Ended(NamedTuple):
    """One ending.

    Attributes:
        time: When (ISO 8601, UTC); of a command that was killed, when that was found out.
        code: "killed", "interrupted", "disk_full", "out_of_memory" or "failed".
        message: What is known of it, in sentences.
    """

    time: str
    code: str
    message: str


def now() -> str:
    """The time, as in tables and files of a run."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def killed(message: str) -> Ended:
    """The ending of a command that could not say how it ended."""
    return Ended(now(), "killed", _cut(f"{message}, was killed, or its machine stopped."))


def ended_by(error: BaseException) -> Ended | None:
    """The ending by an error; None if the error is about what a person asked for."""
    if not isinstance(error, Exception):  # Ctrl-C, or a generator that nobody asks any more
        return Ended(now(), "interrupted", "The command was stopped before its end.")
    reason = _cut(f"{type(error).__name__}: {error}")
    system = error if isinstance(error, OSError) and error.errno else error.__cause__
    if isinstance(system, OSError) and system.errno in FULL:
        return Ended(now(), "disk_full", reason)
    if isinstance(error, MemoryError):
        return Ended(now(), "out_of_memory", reason)
    befell = isinstance(system, OSError) and not isinstance(system, MISTAKEN)
    if isinstance(error, ProfilingError) and not (befell or error.is_incident):
        return None
    return Ended(now(), "failed", reason)


def signature(holder: Mapping[str, Any]) -> str:
    """Who holds a run, or held it."""
    return f"process {holder['pid']} on {holder['host']}, started {holder['started']}"


def _cut(text: str) -> str:
    return text.encode()[:LONGEST].decode(errors="ignore")
