"""Which run folder is a plate's: a name that comes again overwrites nothing."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from plates.address import parse_address
from plates.errors import BadRun, ProfilingError
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

Fields: TypeAlias = Mapping[tuple[int, int], Sequence[str]]  # site and time -> images
GoesOn: TypeAlias = Callable[[Request], bool]


def run_names(plate: str) -> Iterator[str]:
    """The run folders that may be a plate's, in turn.

    >>> names = run_names("P1")
    >>> next(names), next(names), next(names)
    ('P1', 'P1~2', 'P1~3')
    """
    yield plate
    yield from (f"{plate}~{number}" for number in count(2))


def may_go_on(request: Request) -> bool:
    """Whether a run folder is free, or holds what was made of the plate that is there now.

    Args:
        request: The plate, and the run folder in question.

    Returns:
        True without wells or results; else whether each image that they were made from is still
        there and holds the same bytes. Images may have come, and those of fields that failed may
        be others. One of unchanged path, size and time is taken as unchanged, others are read.

    Raises:
        BadRun: The store of the run cannot be read, or holds something else than a run.
    """
    out = _brought(request.out)
    wells = stored(out)
    if not wells:
        return not _has_results(out)
    try:
        there = _images(request)
    except ProfilingError:  # what it is made of is not known: the run will say why
        return False
    if not there.keys() >= set(wells):
        return False
    with ThreadPoolExecutor(THREADS) as pool:
        return all(_is_kept(_made(out, well), there[well], pool) for well in wells)


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
    found: dict[Well, dict[tuple[int, int], list[str]]] = {}
    for plate, well, site, time, *stacks in sets.select(*FIELD, *stains).iter_rows():
        paths = [path for stack in stacks for path in stack or ()]
        found.setdefault((plate, well), {})[site, time] = paths
    return found


def _made(out: Path, well: Well) -> Mapping[str, Any]:
    """What the footer of a well says; nothing of one that was cut short."""
    with suppress(BadRun):
        return read_footer(well_path(out, *well)).parameters
    return {"fields": [], "inputs": []}


def _is_kept(made: Mapping[str, Any], there: Fields, pool: ThreadPoolExecutor) -> bool:
    usable = {
        (row["Metadata_Site"], row["Metadata_Timepoint"])
        for row in made["fields"]
        if row["Metadata_QC_Status"] in USABLE
    }
    used = (
        (FileStamp(*stamp), there.get((site, time), ()))
        for site, time, stamps in made["inputs"]
        if (site, time) in usable
        for stamp in stamps
    )
    images = [(stamp, paths) for stamp, paths in used if not LIGHT.search(stamp.path)]
    return all(pool.map(_is_among, *zip(*images, strict=True))) if images else True


def _is_among(stamp: FileStamp, paths: Sequence[str]) -> bool:
    """Whether one of some images is the one that was stamped; it may lie in another folder now."""
    name = _last(stamp.path)
    namesakes = sorted((p for p in paths if _last(p) == name), key=lambda path: path != stamp.path)
    return any(is_same_image(stamp, path) for path in namesakes)


def is_same_image(stamp: FileStamp, path: str) -> bool:
    """Whether a path leads to the image that was stamped, also in a file that has grown since.

    Args:
        stamp: Of the image as it was read.
        path: Of a file, or of a place in one.
    """
    if is_unchanged(stamp, path):
        return True
    if parse_address(path).file == path:
        return False
    try:
        return read_file(path)[1].digest == stamp.digest
    except OSError:  # it is no longer there, or cannot be read
        return False


def _last(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]
