"""One run at a time in a folder."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from plates.errors import BadRun

LOCK = ".lock"
# Of the working folder of a run in a store: the lease taken last, what both sides have alike, and
# what is locked while the folder is brought up to date.
LEASE, LEDGER, PULL = ".lease", ".mirror.jsonl", ".pull"
NO_RESULTS = (LOCK, LEASE, LEDGER, PULL)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder for the length of a block.

    The operating system holds the lock, so it ends with the process, however that ends; the
    file says who holds it and stays behind.

    Args:
        out: The run folder; made where absent.

    Raises:
        BadRun: Another run holds the folder, or the file system cannot lock.
    """
    with _opened(out) as file:
        _take(file, out)
        _sign(file)
        try:
            yield
        finally:
            file.truncate(0)


def _opened(out: Path) -> TextIO:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return (out / LOCK).open("a+")
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


def _sign(file: TextIO) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    file.truncate(0)
    file.write(json.dumps(holder))
    file.flush()
    os.fsync(file.fileno())  # workers on other machines read it


def _holder(file: TextIO) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
    except json.JSONDecodeError:  # it has the lock, but has not signed yet
        return "another run that has just started"
    return f"process {holder['pid']} on {holder['host']}, started {holder['started']}"
