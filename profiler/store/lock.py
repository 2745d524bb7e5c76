"""One run at a time in a folder, and how the ones before ended.

The lock file says who holds the folder. It is empty where the last one ended well; else it says
how that ended, and a full disk cannot keep it from that: the file has its block already.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from plates.errors import BadRun
from profiler.store.ending import Ended, ended_by, killed, now, signature

LOCK = ".lock"
# Of the working folder of a run in a store: the lease taken last, what both sides have alike, and
# what is locked while the folder is brought up to date.
LEASE, LEDGER, PULL = ".lease", ".mirror.jsonl", ".pull"
NO_RESULTS = (LOCK, LEASE, LEDGER, PULL)
MOST = 3  # endings that a lock file holds; with more it could outgrow its block
BLOCK = 4096  # bytes


@contextmanager
def locked(out: Path) -> Iterator[tuple[Ended, ...]]:
    """Keep other runs out of a folder for the length of a block.

    The operating system holds the lock, so it ends with the process, however that ends.

    Args:
        out: The run folder; made where absent.

    Returns:
        How commands before ended that did not end well, since `settle` was called last.

    Raises:
        BadRun: Another run holds the folder, or the file system cannot lock.
    """
    with _opened(out) as file:
        _take(file, out)
        before = _befell(_read(file))
        _sign(file, before)
        try:
            yield before
        except BaseException as error:
            _leave(file, ended_by(error))
            raise
        _leave(file, None)


def settle(out: Path) -> None:
    """Forget how commands before ended, once that is kept elsewhere; call it where locked."""
    with _opened(out) as file:
        _write(file, {**_said(_read(file)), "ended": []})


def is_held(text: str) -> bool:
    """Whether a lock file speaks of one who holds the folder, or was killed holding it."""
    return bool(text) and not _said(text).get("left")


@contextmanager
def _opened(out: Path) -> Iterator[int]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise BadRun(
            f"{out} cannot be written to ({error.strerror}). Choose another --out, or ask for "
            "permission to write there."
        ) from error
    try:
        yield file
    finally:
        os.close(file)


def _take(file: int, out: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BadRun(
            f"{out} is in use by {_holder(_read(file))}. Wait for it to end, or choose another "
            "--out; nothing was changed."
        ) from error
    except OSError as error:
        raise BadRun(
            f"The file system of {out} cannot lock files ({error.strerror}). Choose an --out on "
            "a local disk."
        ) from error


def _sign(file: int, before: tuple[Ended, ...]) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": now()}
    _write(file, holder | {"ended": before})
    os.fsync(file)  # workers on other machines read it


def _leave(file: int, end: Ended | None) -> None:
    said = _said(_read(file))
    ended = [*said.get("ended", ()), *([end] if end else ())]
    with suppress(OSError):  # an error of the block is the one to report
        _write(file, {**said, "ended": ended[-MOST:], "left": True} if ended else None)


def _befell(text: str) -> tuple[Ended, ...]:
    said = _said(text)
    before = tuple(Ended(*end) for end in said.get("ended", ()))
    if not is_held(text):
        return before
    who = signature(said) if "pid" in said else "a command that had just started"
    return (*before, killed(who[0].upper() + who[1:]))[-MOST:]


def _holder(text: str) -> str:
    said = _said(text)  # of one before, if the holder has not signed yet
    is_known = "pid" in said and is_held(text)
    return signature(said) if is_known else "another run that has just started"


def _read(file: int) -> str:
    return os.pread(file, BLOCK, 0).decode(errors="replace")


def _write(file: int, said: dict[str, Any] | None) -> None:
    data = b"" if said is None else json.dumps(said, ensure_ascii=False).encode()
    os.pwrite(file, data, 0)  # over what is there, which takes no new block of the disk
    os.ftruncate(file, len(data))


def _said(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    return {}
