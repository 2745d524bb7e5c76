"""A run folder in an object store, and the working folder on this disk that is its mirror.

All rooms read and write the working folder, as they would any run folder. What is finished there
is pushed, what others have put into the store is pulled, and where the two differ the store is
right. A ledger in the working folder says of each file how it was when both were alike, so that
nothing unchanged travels twice.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from urllib.parse import unquote

from plates.errors import BadRun
from profiler.store.atomic import is_draft
from profiler.store.lock import LEDGER
from profiler.store.objects import Found, Objects, each_at_once
from profiler.store.places import safe_name
from profiler.store.run import FACTS, check_contents

WORK = "PROFILER_WORK"  # environment variable: where working folders lie
OF_WELL = ("thumbnails", "labels", "images", "cells")  # in this order: with its cells it is there


class Known(NamedTuple):
    """A file when both sides were alike: its size and time here, its version there."""

    bytes: int
    mtime_ns: int
    version: str


@dataclass
class Ledger:
    """What is known to be alike, kept line by line, so that a killed run leaves it whole."""

    path: Path
    files: dict[str, Known] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def note(self, name: str, known: Known) -> None:
        """Both sides are alike now."""
        self._say(name, known)

    def forget(self, name: str) -> None:
        """Neither side has it now, or nobody knows."""
        if name in self.files:
            self._say(name, None)

    def _say(self, name: str, known: Known | None) -> None:
        with self._lock:
            self._set(name, known)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([name, known]) + "\n")

    def _set(self, name: str, known: Iterable | None) -> None:
        if known is None:
            self.files.pop(name, None)
        else:
            self.files[name] = Known(*known)

    def read(self) -> "Ledger":
        """Take up what an earlier run has noted; the last line may have been cut short."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        for line in lines:
            try:
                self._set(*json.loads(line))
            except (ValueError, TypeError):
                continue
        return self


@dataclass(frozen=True)
class Mirror:
    """A store and its working folder.

    Attributes:
        objects: The store.
        folder: The working folder.
        ledger: What is alike.
        covers: Which names are kept alike; others stay where they are.
        check: Raises if this run may not write to the store any more.
    """

    objects: Objects
    folder: Path
    ledger: Ledger
    covers: Callable[[str], bool]
    check: Callable[[], None] = lambda: None

    def pull(self, wanted: Callable[[str], bool] | None = None) -> None:
        """Bring from the store what is new or changed there, and drop what is gone.

        Args:
            wanted: Which names; by default all that the mirror covers.

        Raises:
            BadRun: The store cannot be read, or holds something else than a run.
        """
        there = self.objects.find()
        check_contents(self.objects.address, _tops(there))
        here = local_files(self.folder)
        for name in self._gone(there, here):
            (self.folder / name).unlink(missing_ok=True)
        for name in self.ledger.files.keys() - (here.keys() & there.keys()):
            self.ledger.forget(name)
        names = [name for name in there if (wanted or self.covers)(name) and not _is_hidden(name)]
        self._fetch([n for n in names if not self._is_alike(n, here, there[n])], there)

    def _gone(self, there: Mapping[str, Found], here: Mapping[str, os.stat_result]) -> list[str]:
        """Files here that the store lost, or that are of another run than the one it has."""
        run = self.ledger.files.get(FACTS)
        is_same_run = run and FACTS in there and there[FACTS].version == run.version
        return [n for n in here if n not in there and (n in self.ledger.files or not is_same_run)]

    def _is_alike(self, name: str, here: Mapping[str, os.stat_result], found: Found) -> bool:
        known = self.ledger.files.get(name)
        return (
            known is not None
            and self._is_unchanged(name, here)
            and ((known.bytes, known.version) == found)
        )

    def _is_unchanged(self, name: str, here: Mapping[str, os.stat_result]) -> bool:
        known, now = self.ledger.files.get(name), here.get(name)
        return bool(known and now and known[:2] == (now.st_size, now.st_mtime_ns))

    def _fetch(self, names: list[str], there: Mapping[str, Found]) -> None:
        def one(name: str) -> None:
            file = self.folder / name
            self.objects.get(name, file)
            now = file.stat()
            self.ledger.note(name, Known(now.st_size, now.st_mtime_ns, there[name].version))

        each_at_once(one, names)

    def push(self) -> None:
        """Bring to the store what has changed here, and remove there what was removed here.

        Raises:
            BadRun: The store cannot be written to, or is another run's by now.
        """
        here = local_files(self.folder)
        removed = [n for n in self.ledger.files if n not in here and self.covers(n)]
        changed = [n for n in here if self.covers(n) and not self._is_unchanged(n, here)]
        is_new = FACTS not in self.ledger.files  # then first: with it the store holds a run
        self._remove(removed)
        for facts in (is_new, not is_new):  # else last: it tells of the others
            self._send([name for name in changed if (name == FACTS) == facts])

    def push_one(self, name: str) -> None:
        """Bring one file to a store that holds the run already.

        Raises:
            BadRun: As `push`.
        """
        if FACTS in self.ledger.files and (self.folder / name).is_file():
            self._send([name])

    def push_well(self, plate: str, well: str) -> None:
        """Bring a finished well to the store: its pictures, then its tables, the cells last.

        Raises:
            BadRun: As `push`.
        """
        labels, start = f"labels/{safe_name(plate)}", f"{safe_name(well)}_"
        names = [name for folder in OF_WELL for name in self._of_well(folder, plate, well)]
        old = self.objects.find(labels, starts=start).keys() - set(names)
        self._remove(old)  # of an earlier run: no longer the labels of these cells
        self._send([name for name in names if not name.startswith("cells/")])
        self._send([name for name in names if name.startswith("cells/")])

    def drop_well(self, plate: str, well: str) -> None:
        """Remove the files of a well that is in the store from this disk."""
        self.drop(name for folder in OF_WELL for name in self._of_well(folder, plate, well))

    def drop(self, names: Iterable[str]) -> None:
        """Remove files from this disk alone, and forget them."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            self.ledger.forget(name)

    def _of_well(self, folder: str, plate: str, well: str) -> list[str]:
        homes = (self.folder / folder / name for name in {safe_name(plate), plate} - {".."})
        files = (file for home in homes for file in home.glob(f"{safe_name(well)}[._]*"))
        return sorted(
            file.relative_to(self.folder).as_posix() for file in files if not is_draft(file)
        )

    def clear(self) -> None:
        """Remove the run from the store, and nothing else; the working folder is empty by now.

        Raises:
            BadRun: The store holds something that no run makes; nothing was removed.
        """
        there = self.objects.find()
        check_contents(self.objects.address, _tops(there), is_to_go=True)
        names = [name for name in there if not _is_hidden(name)]
        self._remove(name for name in names if name != FACTS)
        self._remove(name for name in names if name == FACTS)  # until then it is a run

    def _remove(self, names: Iterable[str]) -> None:
        names = list(names)
        if names:
            self.check()
            self.objects.remove(names)
            for name in names:
                self.ledger.forget(name)

    def _send(self, names: list[str]) -> None:
        def one(name: str) -> None:
            self.check()
            now = (self.folder / name).stat()
            found = self.objects.put(self.folder / name, name)
            self.ledger.note(name, Known(now.st_size, now.st_mtime_ns, found.version))

        each_at_once(one, names)


def mirror_of(
    address: str,
    folder: Path,
    *,
    covers: Callable[[str], bool],
    check: Callable[[], None] = lambda: None,
) -> Mirror:
    """Take up the mirror of a store in a folder."""
    return Mirror(Objects(address), folder, Ledger(folder / LEDGER).read(), covers, check)


def working_folder(address: str) -> Path:
    """Where the working folder of a run in a store lies: below `PROFILER_WORK`, or the cache.

    Raises:
        BadRun: There is no home folder to keep a cache in.
    """
    kind, _, path = address.partition("://")
    return _root().joinpath(kind, *map(safe_name, filter(None, path.split("/"))))


def address_of(folder: Path) -> str | None:
    """The address whose working folder a folder is, None of any other, wherever it lies."""
    if not (folder / LEDGER).is_file():
        return None
    with suppress(BadRun, ValueError):
        kind, *parts = folder.absolute().relative_to(_root()).parts
        return f"{kind}://{'/'.join(map(unquote, parts))}"
    return None


def _root() -> Path:
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise BadRun(f"There is no folder to work in ({error}). Name one in {WORK}.") from error
    return Path(os.environ.get(WORK) or cache / "plate-profiler" / "runs").absolute()


def local_files(folder: Path) -> dict[str, os.stat_result]:
    """The files of a run folder by name, without hidden ones."""
    found: dict[str, os.stat_result] = {}
    for home, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if not file.startswith("."):
                path = Path(home, file)
                found[path.relative_to(folder).as_posix()] = path.stat()
    return found


def _tops(names: Iterable[str]) -> list[str]:
    return sorted({name.split("/")[0] for name in names if not _is_hidden(name)})


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
