"""Where a run lives while somebody works on it: a folder here, or the mirror of one in a store.

    with at_home(out) as home:  # nobody else writes there meanwhile
        ...  # read and write `home.folder`
        home.push()  # what is done reaches the store; for a folder here, nothing is to be done

`objects.py` moves single files, `mirror.py` keeps a working folder and a store alike, `lease.py`
keeps others out.
"""

import fcntl
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from plates.errors import BadRun, ProfilingError
from plates.remote import asked_again
from profiler.store.ending import Ended, now
from profiler.store.incidents import FILE, REQUEST_FAILED, Incident, note
from profiler.store.lease import leased
from profiler.store.lock import LEASE, LOCK, PULL, is_held, locked, settle
from profiler.store.mirror import Mirror, local_files, mirror_of, working_folder
from profiler.store.objects import Objects, run_address
from profiler.store.run import FACTS, PER_WELL, Run, discard, read_facts
from profiler.store.schema import TABLES

THUMBNAILS = "thumbnails"  # no table, but readers of cells look at them


def all_but_labels(name: str) -> bool:
    """What a working folder holds: label images are only written, and large."""
    return not name.startswith("labels/")


def everything(name: str) -> bool:
    """What it holds where label images are looked at too."""
    return bool(name)


def facts_alone(name: str) -> bool:
    """What is brought of a run that is about to be replaced, and may not be after all."""
    return name in (FACTS, FILE)


@dataclass(frozen=True)
class Home:
    """A run that is held.

    Attributes:
        folder: Where it is read and written.
        mirror: What ties the folder to a store, if it is a working folder.
        notes: What a person should know.
        keeps: Whether wells stay in the folder once the store has them.
        check: Raises if a well may not be given to the store any more, asked once for each.
    """

    folder: Path
    mirror: Mirror | None = None
    notes: tuple[str, ...] = ()
    keeps: bool = True
    check: Callable[[], None] = lambda: None

    @property
    def name(self) -> Path | str:
        """What a person calls it: the folder, or the address."""
        return self.mirror.objects.address if self.mirror else self.folder

    def push(self) -> None:
        """Let the store have all that is done, and keep how often it had to be asked again."""
        if self.mirror:
            self.mirror.push()
            if reasons := self.faltered():
                with suppress(BadRun):  # the tables are there, which matters more
                    self.note(Incident(now(), REQUEST_FAILED, asked_again(reasons)))

    def faltered(self) -> list[str]:
        """Why requests to the store failed that were made again, since this was asked last."""
        reasons = self.mirror.objects.faltered if self.mirror else []
        told = reasons[:]
        del reasons[: len(told)]
        return told

    def pull(self, folder: str = "") -> None:
        """Have what others have put into the store, or into one folder of it."""
        if self.mirror:
            covers = self.mirror.covers
            with _pulling(self.folder):
                self.mirror.pull(lambda name: covers(name) and name.startswith(folder))

    def note(self, *incidents: Incident) -> None:
        """Keep what befell the run, at once: what comes next may kill it."""
        note(self.folder, *incidents)
        if self.mirror and incidents:
            self.mirror.push_one(FILE)

    def saved(self, plate: str, well: str) -> None:
        """Let the store have a well that is whole."""
        if self.mirror:
            self.check()
            self.mirror.push_well(plate, well)
            if not self.keeps:
                self.mirror.drop_well(plate, well)

    @contextmanager
    def for_a_while(self) -> Iterator[None]:
        """Have the folder for the length of a block; then it goes, with all that it holds."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        try:
            yield
        finally:  # not when the process ends: Ray kills its workers
            if self.mirror:
                self.mirror.drop(local_files(self.folder))
            shutil.rmtree(self.folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove the run, for `--replace`; raises as `profiler.store.run.discard`."""
        if self.mirror:
            self.mirror.clear()
        discard(self.folder)


@contextmanager
def at_home(
    out: Path, *, covers: Callable[[str], bool] = all_but_labels, is_to_go: bool = False
) -> Iterator[Home]:
    """Hold a run folder, here or in a store, for the length of a block.

    Args:
        out: The folder or the address.
        covers: Of one in a store, which names the working folder is to have.
        is_to_go: Whether the run is to be replaced, so that little is to be brought.

    Raises:
        BadRun: Another run is at work there; or the store cannot be reached or written to, or
            holds something else than a run.
    """
    address = run_address(out)
    if address is None:
        with locked(out) as before:
            home = Home(out)
            yield replace(home, notes=_noted(home, before, is_to_go=is_to_go))
        return
    folder = working_folder(address)
    with (
        _known_as(address, folder),
        locked(folder) as before,
        leased(Objects(address), folder=folder) as own,
    ):
        mirror = mirror_of(address, folder, covers=covers, check=own.check)
        with _pulling(folder):
            mirror.pull(facts_alone if is_to_go else None)
        if own.notes and "killed" not in {end.code for end in before}:  # on another machine
            before = (*before, Ended(now(), "killed", " ".join(own.notes)))
        home = Home(folder, mirror, check=own.check)
        told = _noted(home, before, is_to_go=is_to_go)
        said = f"{address} is worked on in {folder}; what is finished there goes to the store."
        try:
            yield replace(home, notes=(*told, said))
        except Exception as error:
            if not isinstance(error, BadRun):  # the disk or the store itself: asked long enough
                with suppress(BadRun):
                    home.push()
            raise
        home.push()


def _noted(home: Home, before: tuple[Ended, ...], *, is_to_go: bool) -> tuple[str, ...]:
    """Keep how commands before ended that did not end well, and say so."""
    told = tuple(f"An earlier command: {end.code}. {end.message}" for end in before)
    try:
        if not is_to_go:
            home.note(*(Incident(*end) for end in before))
    except BadRun as error:
        return (*told, f"That could not be kept: {error}")
    if before:
        settle(home.folder)
    return told


def visit(address: str) -> tuple[Path, Callable[[str], None]]:
    """Look at a run in a store without holding it.

    Args:
        address: Its address.

    Returns:
        The working folder, with all that is no folder there, and what brings the tables that are
        a file for each well, by name, or `THUMBNAILS`. A working folder where a run is at work is
        taken as it is.

    Raises:
        BadRun: The store cannot be read, or holds something else than a run.
    """
    folder = working_folder(address)

    def bring(wanted: Callable[[str], bool]) -> None:
        with _known_as(address, folder), _pulling(folder):
            if not _is_busy(folder):
                mirror_of(address, folder, covers=all_but_labels).pull(wanted)

    def fetch(table: str) -> None:
        if table in (*PER_WELL, THUMBNAILS):
            folder = TABLES[table].file.split("/")[0] if table in TABLES else table
            folders = (f"{folder}/", "cells/")  # cells say which wells there are
            bring(lambda name: name.startswith(folders))

    bring(lambda name: "/" not in name)
    return folder, fetch


def open_run(out: Path, name: str) -> Run:
    """Read what a run says of itself, here or in a store.

    Raises:
        BadRun: It is none, or the store cannot be read.
    """
    address = run_address(out)
    if address is None:
        return Run(out, name, read_facts(out))
    folder, fetch = visit(address)
    with _known_as(address, folder):
        return Run(folder, name, read_facts(folder), fetch)


def apart(address: str, *, lease: str) -> Home:
    """Make a place for a worker on a machine of its own, which keeps nothing of what it pushes.

    Args:
        address: Of the run.
        lease: What its lease says; a well is given to the store only while it says so.
    """
    folder = Path(tempfile.gettempdir(), f"profiler-{uuid.uuid4().hex}")
    mirror = mirror_of(address, folder, covers=all_but_labels)
    return Home(folder, mirror, keeps=False, check=partial(_check_lease, mirror.objects, lease))


def holder(out: Path) -> str:
    """What the lock of a run folder says, or the lease of one in a store; "" where none is."""
    if address := run_address(out):
        return _said(Objects(address))
    with suppress(FileNotFoundError):
        return (out / LOCK).read_text()
    return ""


def _said(objects: Objects) -> str:
    return (objects.read(LEASE) or b"").decode()


def _check_lease(objects: Objects, lease: str) -> None:
    if _said(objects) != lease:
        raise BadRun(
            f"The lease of {objects.address} is no longer that of this worker's run, so the well "
            "was not written. Run the same command again once no other run is at work there."
        )


@contextmanager
def _pulling(folder: Path) -> Iterator[None]:
    """Let only one at a time bring a working folder up to date; others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / PULL).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_busy(folder: Path) -> bool:
    """Whether a run is at work in a working folder."""
    try:
        with (folder / LOCK).open() as file:
            if not is_held(file.read()):  # a run that begins now shall not find us here
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


@contextmanager
def _known_as(address: str, folder: Path) -> Iterator[None]:
    """Let errors speak of the address, which people know."""
    try:
        yield
    except ProfilingError as error:
        error.args = tuple(
            part.replace(str(folder), address) if isinstance(part, str) else part
            for part in error.args
        )
        raise
