"""What every reader asks of a folder: its images and indexes, and the plate's name."""

import os
import re
from collections.abc import Callable, Iterator
from fnmatch import translate
from pathlib import Path, PureWindowsPath

from plates.errors import BadPlate

LONGEST_HEADER = 1_000_000  # characters: a channel takes four columns at most
IMAGE_SUFFIXES = (".tif", ".tiff", ".png")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
GENERIC = re.compile(r"images?|timepoint_\d+|zstep_\d+", re.IGNORECASE)


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, sorted; hidden ones (`.DS_Store`, `._copy.tif`) left out.

    Raises:
        BadPlate: The folder, or one in it, cannot be listed.
    """

    def refuse(reason: OSError) -> None:
        raise BadPlate(
            f"The folder {reason.filename} cannot be read: {reason.strerror}. Check its "
            "permissions and that the drive is there."
        ) from reason

    found = []
    for home, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(home, name) for name in names if not name.startswith(".")]
    return sorted(found)


def image_files(folder: Path) -> list[Path]:
    """Every TIFF and PNG below a folder, sorted."""
    return [path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def indexes(source: Path, *patterns: str, depth: int = 2) -> list[Path]:
    """Files of some names, in any case, in a folder or a few levels below, sorted.

    Args:
        source: A folder, or such a file itself.
        patterns: As in `Index*.xml`.
        depth: Levels below the folder to look in. Folders that cannot be listed are left out.
    """
    wanted = re.compile("|".join(map(translate, patterns)), re.IGNORECASE)
    if source.is_file():
        return [source] if wanted.match(source.name) else []
    return sorted(map(Path, _shallow(str(source), wanted, depth=depth)))


def _shallow(folder: str, wanted: re.Pattern[str], *, depth: int) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # `files_below` says so
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if wanted.match(entry.name) and entry.is_file():
            yield entry.path
        elif depth and entry.is_dir():
            yield from _shallow(entry.path, wanted, depth=depth - 1)


def inside(home: Path, name: str, *, index: Path) -> Path:
    """The file that an index names, which must lie in or below the index's folder.

    Args:
        home: Where relative names start.
        name: As written, with slashes of either kind.
        index: For the message.

    Raises:
        BadPlate: The name is empty, absolute or climbs out with `..`.
    """
    parts = PureWindowsPath(name.strip())
    if not parts.parts or parts.anchor or ".." in parts.parts or "\0" in name:
        raise BadPlate(
            f"{index} names the file {name!r}, which is not below its folder. It was not opened. "
            "Expected a relative path without '..'; export the plate again."
        )
    return home.joinpath(*parts.parts)


def tables_with(source: Path, is_wanted: Callable[[set[str]], object]) -> list[Path]:
    """CSVs at the top of a folder, or the file itself, whose columns are those of some format."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    return [p for p in files if p.suffix.lower() == ".csv" and is_wanted(_columns(p))]


def _columns(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return {name.strip(' "\r\n') for name in file.readline(LONGEST_HEADER).split(",")}
    except OSError:
        return set()


def plate_name(folder: Path) -> str:
    """A plate's name from its folder; generic names give way to their parent's.

    >>> plate_name(Path("/screens/BR00143976/Images"))
    'BR00143976'
    >>> plate_name(Path("/screens/screen7/2023-02-21/1334/ZStep_1"))  # MetaXpress: date, number
    'screen7'
    """
    folder = folder.resolve()
    while (parent := _better(folder)) and parent.name:
        folder = parent
    return folder.name


def _better(folder: Path) -> Path | None:
    """The folder whose name says more, if this one's says nothing."""
    if GENERIC.fullmatch(folder.name):
        return folder.parent
    if folder.name.isdecimal() and DATE.fullmatch(folder.parent.name):
        return folder.parent.parent
    return None
