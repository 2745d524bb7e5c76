"""One run at a time in an object store, where nothing can be locked.

Whoever runs there keeps an object, `.lease`, that says so, and writes it again and again. One
that has not been written for `EXPIRES_S` is of a run that is gone. Times are compared by the
store's clock alone. A store that can create an object only where there is none (S3 can) lets one
of two in; on others both read it again after a moment, and the later one has it.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from plates.errors import BadRun
from profiler.store.atomic import replacing
from profiler.store.ending import signature
from profiler.store.lock import LEASE
from profiler.store.objects import Objects

EXPIRES_S = 300.0
RENEW_S = 30.0
SETTLE_S = 2.0  # between the writing of a lease and the reading of it


class LeaseLost(BadRun):
    """The right to write to a store went to another run, or could not be renewed."""

    is_incident = True


@dataclass
class Lease:
    """The right to write to a store.

    Attributes:
        objects: The store.
        text: What the object says.
        notes: What a person should know.
        lost: Why it is not ours any more.
    """

    objects: Objects
    text: bytes
    notes: tuple[str, ...] = ()
    lost: str = ""
    _renewed: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Make sure that this run may still write.

        Raises:
            LeaseLost: Another run has taken the lease over, as this one could not renew it.
        """
        if not self.lost and time.monotonic() - self._renewed > EXPIRES_S:
            self.lost = f"it could not be renewed for {EXPIRES_S:.0f} s"
        if self.lost:
            raise LeaseLost(
                f"This run's lease of {self.objects.address} is lost: {self.lost}. Finished wells "
                "are kept; run the same command again once no other run is at work there."
            )

    def renew(self) -> None:
        """Write the object again, unless it is another's by now."""
        text = self.objects.read(LEASE)
        if text != self.text:
            self.lost = f"it is with {_holder(text)}" if text else "its object was removed"
            return
        self.objects.write(LEASE, self.text)
        self._renewed = time.monotonic()


@contextmanager
def leased(objects: Objects, *, folder: Path) -> Iterator[Lease]:
    """Keep other runs out of a store for the length of a block.

    Args:
        objects: The store.
        folder: The working folder, locked: a lease that was last taken from there is of a run
            that was killed, and needs no waiting.

    Raises:
        BadRun: Another run has the lease, or nothing can be written there.
    """
    lease = _taken(objects, folder)
    over = threading.Event()
    beat = threading.Thread(target=_keep, args=(lease, over), daemon=True, name="profiler-lease")
    beat.start()
    try:
        yield lease
    finally:
        over.set()
        beat.join()
        with suppress(BadRun, OSError):  # an error of the block is the one to report
            if objects.read(LEASE) == lease.text:
                objects.remove([LEASE])
            (folder / LEASE).unlink(missing_ok=True)


def _keep(lease: Lease, over: threading.Event) -> None:
    while not over.wait(RENEW_S) and not lease.lost:
        with suppress(BadRun, OSError):  # `check` says so if it stays like this
            lease.renew()


def _taken(objects: Objects, folder: Path) -> Lease:
    mine = _signed()
    there = objects.read(LEASE)
    notes = () if there is None else (_take_over(objects, there, folder),)
    with replacing(folder / LEASE) as draft:  # first: whatever comes, it is known to be ours
        draft.write_bytes(mine)
    objects.write(LEASE, mine) if there else objects.create(LEASE, mine)
    time.sleep(SETTLE_S)
    if (found := objects.read(LEASE)) != mine:
        raise BadRun(_in_use(objects, found, "has just started"))
    return Lease(objects, mine, notes)


def _take_over(objects: Objects, there: bytes, folder: Path) -> str:
    """Say whose lease is taken over, or refuse to."""
    # Not on another machine: where both share the folder, they may not share its lock.
    is_here = _read(there).get("host") == socket.gethostname()
    if is_here and (folder / LEASE).is_file() and (folder / LEASE).read_bytes() == there:
        return f"The run before, {_holder(there)}, was killed; this one goes on."
    age, expires = _age(objects), float(_read(there).get("expires_s", EXPIRES_S))
    if age <= expires:
        until = f"was at work {age:.0f} s ago. If it was killed, try again in {expires - age:.0f} s"
        raise BadRun(_in_use(objects, there, until))
    return f"{_holder(there)} has not been heard of for {age:.0f} s; this run takes its place."


def _age(objects: Objects) -> float:
    """Seconds since the lease was written, by the store's own clock."""
    probe = f"{LEASE}.{uuid.uuid4().hex}"
    objects.write(probe, b"")
    now, then = objects.changed(probe), objects.changed(LEASE)
    objects.remove([probe])
    return (now - then).total_seconds() if now and then else float("inf")


def _signed() -> bytes:
    holder = {
        "id": uuid.uuid4().hex,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "expires_s": EXPIRES_S,
    }
    return json.dumps(holder).encode()


def _in_use(objects: Objects, text: bytes | None, state: str) -> str:
    return (
        f"{objects.address} is in use by {_holder(text)}, which {state}. Wait for it to end, or "
        "choose another --out; nothing was changed."
    )


def _holder(text: bytes | None) -> str:
    said = _read(text)
    return signature(said) if "pid" in said else "another run"


def _read(text: bytes | None) -> dict[str, Any]:
    with suppress(ValueError, TypeError):
        found = json.loads(text or b"")
        return found if isinstance(found, dict) else {}
    return {}
