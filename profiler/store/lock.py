"""One run at a time in a folder, and how the one before ended."""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from plates.errors import BadRun, ProfilingError

LOCK = ".lock"
# Of the working folder of a run in a store: the lease taken last, what both sides have alike, and
# what is locked while the folder is brought up to date.
LEASE, LEDGER, PULL = ".lease", ".mirror.jsonl", ".pull"
NO_RESULTS = (LOCK, LEASE, LEDGER, PULL)
LONGEST = 1000  # characters of a message that are kept: with them the file is a block of the disk


class Ended(NamedTuple):
    """How the last command that held a folder ended, where it did not end well.

    Attributes:
        code: "killed", "interrupted", "disk_full", "out_of_memory" or "failed".
        message: What is known of it, in sentences.
    """

    code: str
    message: str


@contextmanager
def locked(out: Path) -> Iterator[Ended | None]:
    """Keep other runs out of a folder for the length of a block.

    The operating system holds the lock, so it ends with the process, however that ends; the
    file says who holds it and stays behind: empty if all went well, else with the reason.

    Args:
        out: The run folder; made where absent.

    Returns:
        How the command before ended; None if well, or if it was refused for what a person asked.

    Raises:
        BadRun: Another run holds the folder, or the file system cannot lock.
    """
    with _opened(out) as file:
        _take(file, out)
        before = _before(file)
        holder = _sign(file)
        try:
            yield before
        except BaseException as error:
            _leave(file, holder, _end(error))
            raise
        _leave(file, holder, None)


def _opened(out: Path) -> TextIO:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    except OSError as error:
        raise BadRun(
            f"{out} cannot be written to ({error.strerror}). Choose another --out, or ask for "
            "permission to write there."
        ) from error


def _take(file: TextIO, out: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BadRun(
            f"{out} is in use by {_holder(file)}. Wait for it to end, or choose another --out; "
            "nothing was changed."
        ) from error
    except OSError as error:
        raise BadRun(
            f"The file system of {out} cannot lock files ({error.strerror}). Choose an --out on "
            "a local disk."
        ) from error


def _sign(file: TextIO) -> dict[str, Any]:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write(file, json.dumps(holder))
    os.fsync(file.fileno())  # workers on other machines read it
    return holder


def _leave(file: TextIO, holder: dict[str, Any], end: Ended | None) -> None:
    with suppress(OSError):
        _write(file, json.dumps(holder | {"ended": end}) if end else "")


def _write(file: TextIO, text: str) -> None:
    file.seek(0)
    file.write(text)  # over what is there: a full disk has no block for a new file
    file.truncate()
    file.flush()


def _end(error: BaseException) -> Ended | None:
    """Why a block was left; None where a person asked for what cannot be."""
    if not isinstance(error, Exception):  # Ctrl-C, or a generator that nobody asks any more
        return Ended("interrupted", "The run was stopped; the wells it had finished are kept.")
    reason = f"{type(error).__name__}: {error}"[:LONGEST]
    if errno.ENOSPC in {getattr(e, "errno", None) for e in (error, error.__cause__)}:
        return Ended("disk_full", reason)
    if isinstance(error, MemoryError):
        return Ended("out_of_memory", reason)
    is_asked = isinstance(error, ProfilingError) and not isinstance(error, BadRun)
    return None if is_asked else Ended("failed", reason)


def _before(file: TextIO) -> Ended | None:
    file.seek(0)
    text = file.read()
    if not text:
        return None
    with suppress(ValueError, KeyError, TypeError):
        said = json.loads(text)
        if "ended" in said:
            return Ended(*said["ended"])
        return Ended("killed", f"{_signature(said)}, was killed, or its machine stopped.")
    return Ended("killed", "A run that had just started was killed, or its machine stopped.")


def _holder(file: TextIO) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
    except json.JSONDecodeError:  # it has the lock, but has not signed yet
        return "another run that has just started"
    return _signature(holder)


def _signature(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}, started {holder['started']}"
