"""What every reader asks of a folder: its images and indexes, and the plate's name."""

import os
import re
import reprlib
from collections.abc import Callable, Iterator
from fnmatch import translate
from pathlib import Path, PureWindowsPath

from plates.errors import BadPlate
from plates.table import DELIMITERS, MOST, as_count

DEEPEST = 1000  # levels of folders: paths end earlier
LONGEST_HEADER = 1_000_000  # characters: a channel takes four columns at most
IMAGE_SUFFIXES = (".tif", ".tiff", ".png")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
GENERIC = re.compile(r"images?|timepoint_\d+|zstep_\d+", re.IGNORECASE)


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, sorted; hidden ones (`.DS_Store`, `._copy.tif`) left out.

    Folders that are links are followed, and each folder is listed once, wherever links lead.

    Raises:
        BadPlate: The folder, or one in it, cannot be listed.
    """

    def refuse(reason: OSError) -> None:
        raise BadPlate(
            f"The folder {reason.filename} cannot be read: {reason.strerror}. Check its "
            "permissions and that the drive is there."
        ) from reason

    walked = _folders(folder, onerror=refuse)
    return sorted(Path(home, name) for home, names in walked for name in names)


def _folders(
    top: Path, *, depth: int = DEEPEST, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A folder and those below it, each once, with the names of its files.

    Links are followed when all else is done, so that a folder goes by its own name. The folders
    above count as done: a link back to one would bring other plates in.
    """
    done = {str(parent) for parent in Path(os.path.realpath(top)).parents}
    waiting = [(str(top), 0)]
    for start, level in waiting:
        real = os.path.realpath(start)
        for home, folders, names in os.walk(start, onerror=onerror):
            below = home.removeprefix(start)
            here = level + below.count(os.sep)
            if real + below in done:
                folders.clear()
                continue
            done.add(real + below)
            folders[:] = _shown(folders) if here < depth else []
            paths = [Path(home, name) for name in folders]
            waiting += [(str(path), here + 1) for path in paths if path.is_symlink()]
            yield home, _shown(names)


def _shown(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]


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
    walked = _folders(source, depth=depth)
    return sorted(
        Path(home, name) for home, names in walked for name in names if wanted.match(name)
    )


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
        raise leads_out(name, index=index)
    return home.joinpath(*parts.parts)


def leads_out(name: str, *, index: Path) -> BadPlate:
    """The error of an index that names a file out of its folder."""
    return BadPlate(
        f"{index} names the file {name!r}, which is not below its folder. It was not opened. "
        "Expected a path below it, without '..'; export the plate again."
    )


def is_there(path: Path | str) -> bool:
    """Whether a path that an index names leads to a file; a name that no disk can hold does not."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def tables_with(source: Path, is_wanted: Callable[[set[str]], object]) -> list[Path]:
    """CSVs at the top of a folder, or the file itself, whose columns are those of some format."""
    files = indexes(source, "*.csv", depth=0)
    return [path for path in files if is_wanted(_columns(path))]


def _columns(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(LONGEST_HEADER)
    except OSError:
        return set()
    delimiter = max(DELIMITERS, key=header.count)
    return {name.strip(' "\r\n') for name in header.split(delimiter)}


def number_in(name: str, *, path: Path) -> int:
    """A number that a file's or folder's name holds.

    Raises:
        BadPlate: It is larger than any site, channel, plane or time.
    """
    number = as_count(name)
    if number is None:
        raise BadPlate(
            f"{path}: the name has the number {reprlib.repr(name)}, and no site, channel, plane or "
            f"time is above {MOST}. Correct the name, or move the file away."
        )
    return number


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
