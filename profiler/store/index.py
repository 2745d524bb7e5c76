"""What the footers of a run's cell files say, in one file: opening a screen need not read them all.

The index is a convenience, never the truth: a file that is not as large or as old as the index
says has its footer read, so a run folder without an index, or a copied one, only opens slower.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import polars as pl

from plates.errors import BadRun
from profiler.store.places import Well, stored, well_paths
from profiler.store.tables import read_footers, scan_table, write_table

INDEX = "index.parquet"


class Entry(NamedTuple):
    """One file: which it is, what tells it from another version of it, and what computed it."""

    table: str
    plate: str
    well: str
    bytes: int
    mtime_ns: int
    computed_by: str


_TYPES = {str: pl.String, int: pl.Int64}
_SCHEMA = {name: _TYPES[kind] for name, kind in Entry.__annotations__.items()}


def write_index(out: Path) -> Path:
    """Write the index anew from the footers; call it where the run folder is locked.

    Args:
        out: A run folder, its cells finished.

    Returns:
        The file written.

    Raises:
        BadRun: A cell file cannot be read, or the disk is full.
    """
    wells = stored(out)
    paths = {table: well_paths(out, wells, table=table) for table in ("cells", "images")}
    there = {well: path for well, path in paths["images"].items() if path.is_file()}
    entries = [*_read(paths["cells"], "cells"), *_read(there, "images")]
    frame = pl.DataFrame(entries, schema=_SCHEMA, orient="row")
    write_table(out / INDEX, frame, level="index", parameters={})
    return out / INDEX


def makers(out: Path, paths: Mapping[Well, Path], *, table: str) -> dict[Well, str]:
    """Look up what each well was computed by, reading only the footers the index does not know.

    Args:
        out: The run folder.
        paths: The file of each well, from `profiler.store.places.well_paths`.
        table: "cells" or "images".

    Returns:
        Hash of all that the numbers depend on besides the images, by well, in their order.

    Raises:
        BadRun: A file is absent, cut short, of another program or of another version.
    """
    known = _known(out, table)
    found = {well: known.get((well, _stamp(path))) for well, path in paths.items()}
    others = {well: paths[well] for well, maker in found.items() if maker is None}
    read = {(entry.plate, entry.well): entry.computed_by for entry in _read(others, table)}
    return {well: maker or read[well] for well, maker in found.items()}


def _known(out: Path, table: str) -> dict[tuple[Well, tuple[int, int]], str]:
    entries: Iterable[tuple] = ()
    with suppress(BadRun):  # none, or one of another version: the footers say the same
        frame = scan_table(out / INDEX).filter(pl.col("table") == table).collect()
        entries = frame.select(Entry._fields[1:]).iter_rows()
    return {((plate, well), (size, time)): by for plate, well, size, time, by in entries}


def _read(paths: Mapping[Well, Path], table: str) -> Iterator[Entry]:
    # Stamps before footers: a file that is replaced between is read again.
    stamps = [_stamp(path) for path in paths.values()]
    footers = read_footers(paths.values())
    for (well, path), stamp, footer in zip(paths.items(), stamps, footers, strict=True):
        if footer.level != table:
            raise BadRun(
                f"{path} is a table of {footer.level}, not of {table}. Delete it and run again: "
                "only that well is computed."
            )
        yield Entry(table, *well, *stamp, footer.parameters["computed_by"])


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise BadRun(
            f"{path} is not there or cannot be read ({error.strerror}). Run again: only what is "
            "missing is computed."
        ) from error
    return found.st_size, found.st_mtime_ns
