"""What lies in an inbox. It is only ever read: polled, since network shares send no notices."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from profiler.watch.words import legible

ONE_FILE = {".h5", ".hdf5", ".ch5"}  # plates that are a file, not a folder


class Look(NamedTuple):
    """What one walk through a plate found; equal looks mean that nothing was added or grown.

    Attributes:
        files: How many.
        bytes: Of all of them.
        changed_ns: The last change of any file or folder, by the file server's clock.
        changes_ns: The sum of all changes: a clock that runs ahead hides none of them.
        folders_ns: The last change of any folder.
        folders: The plate's folder and those in it; the file, of a plate that is one.
    """

    files: int
    bytes: int
    changed_ns: int
    changes_ns: int
    folders_ns: int
    folders: tuple[str, ...]

    def digest(self) -> str:
        """The same in a few words, to be kept."""
        return f"{self.files} files, {self.bytes} bytes, {self.changes_ns:x}"


@dataclass(frozen=True)
class Inbox:
    """A folder that plates are put in.

    Attributes:
        path: Where.
        pattern: Which entries below it are plates: `*`, or `*/*` for a folder per night.
        device: The file system it was on at first.
    """

    path: Path
    pattern: str
    device: int

    def plates(self) -> dict[str, Path]:
        """Name and place of each plate that is there now, in the order of names.

        Raises:
            OSError: The inbox is not there, or cannot be read, or its drive is unmounted.
        """
        is_empty = not os.listdir(self.path)  # noqa: PTH208 - raises at once, as glob does not
        if is_empty and self.path.stat().st_dev != self.device:
            raise OSError(None, "its drive is not mounted")
        found = (path for path in self.path.glob(self.pattern) if _is_plate(path, self.path))
        return {_name(path, self.path): path for path in sorted(found)}


def open_inbox(path: Path, *, pattern: str = "*") -> Inbox:
    """Take a folder as an inbox.

    Raises:
        OSError: It is not there.
    """
    return Inbox(path, pattern, path.stat().st_dev)


def _name(path: Path, inbox: Path) -> str:
    return legible(path.relative_to(inbox).as_posix())


def _is_plate(path: Path, inbox: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(inbox).parts)
    return not is_hidden and (path.is_dir() or path.suffix.lower() in ONE_FILE)


def look(plate: Path) -> Look:
    """Walk through a plate: its files may be coming still, so one that goes is not there.

    Folders that are links are followed, each folder once, as readers do.

    Raises:
        OSError: The plate's own folder cannot be read.
    """
    plate.stat()
    if plate.is_file():
        size, changed_ns = _size_and_change(str(plate)) or (0, 0)
        return Look(1, size, changed_ns, changed_ns, changed_ns, (str(plate),))
    folders, files = _walked(plate)
    there = [found for file in files if (found := _size_and_change(file))]
    changes, folders_ns = [change for _, change in there], last_change(tuple(folders))
    return Look(
        files=len(there),
        bytes=sum(size for size, _ in there),
        changed_ns=max(folders_ns, *changes, 0),
        changes_ns=sum(changes) + folders_ns,
        folders_ns=folders_ns,
        folders=tuple(folders),
    )


def _walked(plate: Path) -> tuple[list[str], list[str]]:
    """The folders of a plate and the files in them; links wait, so that a folder is itself first.

    The folders above count as walked: a link back to one would bring other plates in.
    """
    folders, files, linked = [], [], [str(plate)]
    done = {str(parent) for parent in Path(os.path.realpath(plate)).parents}
    for start in linked:
        pending = [(start, os.path.realpath(start))]
        while pending:
            folder, real = pending.pop()
            if real in done:
                continue
            done.add(real)
            folders.append(folder)
            for entry in _entries(folder):
                if not _is_folder(entry):
                    files.append(entry.path)
                elif entry.is_symlink():
                    linked.append(entry.path)
                else:
                    pending.append((entry.path, os.path.join(real, entry.name)))  # noqa: PTH118
    return folders, files


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or where nobody may look
        return False


def last_change(folders: tuple[str, ...]) -> int:
    """Last change of some folders: files that come or go change them, and no file is looked at."""
    return max((_size_and_change(folder) or (0, 0))[1] for folder in folders)


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _size_and_change(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - thousands of times a poll
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    # Copies keep the time of writing; the time of change is when the file came.
    return found.st_size, max(found.st_mtime_ns, found.st_ctime_ns)
