"""Which run folder is a plate's: a name that comes again overwrites nothing."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from plates.errors import BadImage, BadRun
from plates.imageset import FIELD, path_column
from plates.pixels import FileStamp, is_unchanged, read_file
from profiler.request import Request, find_fields
from profiler.store.home import visit
from profiler.store.objects import run_address
from profiler.store.places import Well, stored, well_path
from profiler.store.run import read_facts
from profiler.store.tables import read_footer

USABLE = ("ok", "no_cells", "too_many_cells")  # fields whose images could be read
LIGHT = re.compile(r"[/\\]illumination[/\\][^/\\]+[/\\]functions\.json$")  # no image: made by a run
THREADS = 8  # they wait for the disk or the network

UNREAD = ("missing_file", "unreadable")  # what tells nothing of an image that is listed

Field: TypeAlias = tuple[int, int]  # site and time
Fields: TypeAlias = Mapping[Field, Sequence[str]]  # the images of each
GoesOn: TypeAlias = Callable[..., bool]  # takes what `may_go_on` does


def run_names(plate: str) -> Iterator[str]:
    """The run folders that may be a plate's, in turn.

    >>> names = run_names("P1")
    >>> next(names), next(names), next(names)
    ('P1', 'P1~2', 'P1~3')
    """
    yield plate
    yield from (f"{plate}~{number}" for number in count(2))


def may_go_on(request: Request, *, as_it_is: bool = False) -> bool:
    """Whether a run folder is free, or holds what was made of the plate that is there now.

    Args:
        request: The plate, and the run folder in question.
        as_it_is: Whether there must be nothing to compute either: no well, field or image has
            come, and those of fields that failed are the same.

    Returns:
        True without wells or results; else whether each image that they were made from is still
        there and holds the same bytes. Images may have come, and those of fields that failed may
        be others. One of unchanged path, size and time is taken as unchanged, others are read.

    Raises:
        BadImage: One that was used is still listed and cannot be read now, and no other differs.
        BadRun: The store of the run cannot be read, or holds something else than a run.
        ProfilingError: There are wells, and the plate cannot be listed.
    """
    out = _brought(request.out)
    wells = stored(out)
    if not wells:
        return not _has_results(out)
    there = _images(request)
    if not there.keys() >= set(wells) or (as_it_is and len(there) > len(wells)):
        return False
    unread: list[BadImage] = []  # told only where nothing says that it is another plate
    with ThreadPoolExecutor(THREADS) as pool:
        for well in wells:
            made = _made(out, well)
            if not _is_kept(made, there[well], pool, unread=unread):
                return False
            if as_it_is and not _has_all(made, there[well]):
                return False
    if unread:
        raise BadImage(
            f"{unread[0]} {request.out} was made from it, so whether this is the same plate is not "
            "known. If the image is lost, take it off the plate (or its index), which is then "
            "another one.",
            code=unread[0].code,
        )
    return True


def _brought(out: Path) -> Path:
    """Where the wells of a run can be read on this disk."""
    address = run_address(out)
    if address is None:
        return out
    folder, fetch = visit(address)
    fetch("cells")
    return folder


def _has_results(out: Path) -> bool:
    """Whether a run ended in a folder, though its cells may have been removed since."""
    with suppress(BadRun):
        return bool(read_facts(out).summary)
    return False


def _images(request: Request) -> Mapping[Well, Fields]:
    sets = find_fields(request).sets
    stains = [column for column in sets.columns if column.startswith(path_column(""))]
    found: dict[Well, dict[Field, list[str]]] = {}
    for plate, well, site, time, *stacks in sets.select(*FIELD, *stains).iter_rows():
        paths = [path for stack in stacks for path in stack or ()]
        found.setdefault((plate, well), {})[site, time] = paths
    return found


def _made(out: Path, well: Well) -> Mapping[str, Any]:
    """What the footer of a well says; nothing of one that was cut short."""
    with suppress(BadRun):
        return read_footer(well_path(out, *well)).parameters
    return {"fields": [], "inputs": []}


def _usable(made: Mapping[str, Any]) -> set[Field]:
    return {
        (row["Metadata_Site"], row["Metadata_Timepoint"])
        for row in made["fields"]
        if row["Metadata_QC_Status"] in USABLE
    }


def _inputs(made: Mapping[str, Any]) -> dict[Field, list[FileStamp]]:
    """The images that each field of a well was made from."""
    return {
        (site, time): [FileStamp(*stamp) for stamp in stamps if not LIGHT.search(stamp[0])]
        for site, time, stamps in made["inputs"]
    }


def _is_kept(
    made: Mapping[str, Any],
    there: Fields,
    pool: ThreadPoolExecutor,
    *,
    unread: list[BadImage],
) -> bool:
    """Whether no image that was used differs; those of which that is not known go to `unread`."""
    usable = _usable(made)
    used = ((f, stamps) for f, stamps in _inputs(made).items() if f in usable)
    images = [(stamp, there.get(f, ())) for f, stamps in used for stamp in stamps]
    is_among = partial(_is_among, unread=unread)
    return all(pool.map(is_among, *zip(*images, strict=True))) if images else True


def _has_all(made: Mapping[str, Any], there: Fields) -> bool:
    """Whether nothing has come to a well, and nothing of its failed fields is other than it was."""
    inputs, usable = _inputs(made), _usable(made)
    if inputs.keys() != there.keys():
        return False
    for field, paths in there.items():
        known = Counter(_last(stamp.path) for stamp in inputs[field])
        if not Counter(map(_last, paths)) <= known:
            return False
    return all(
        any(is_unchanged(stamp, path) for path in _namesakes(stamp, there[field]))
        for field in inputs.keys() - usable
        for stamp in inputs[field]
    )


def _namesakes(stamp: FileStamp, paths: Sequence[str]) -> list[str]:
    """The images that may be the one that was stamped; it may lie in another folder now."""
    name = _last(stamp.path)
    return sorted((p for p in paths if _last(p) == name), key=lambda path: path != stamp.path)


def _is_among(stamp: FileStamp, paths: Sequence[str], *, unread: list[BadImage]) -> bool:
    """Whether one of some images is the one that was stamped, or may be: it cannot be read."""
    troubles: list[BadImage] = []
    for path in _namesakes(stamp, paths):
        try:
            if is_same_image(stamp, path):
                return True
        except BadImage as trouble:
            troubles.append(trouble)
    unread.extend(troubles)
    return bool(troubles)


def is_same_image(stamp: FileStamp, path: str) -> bool:
    """Whether a path leads to the image that was stamped, also in a file that has grown since.

    Args:
        stamp: Of the image as it was read.
        path: Of a file, or of a place in one.

    Raises:
        BadImage: `missing_file` or `unreadable`: nothing can be said of it now.
    """
    if is_unchanged(stamp, path):
        return True
    try:  # again, since the answer is the same for one that differs and one that cannot be read
        return read_file(path)[1].digest == stamp.digest
    except BadImage as reason:
        if reason.code in UNREAD:
            raise
        return False


def _last(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]
