"""One table, one Parquet file that says in its footer what it is and how it was made."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from plates.errors import BadRun
from profiler.store.atomic import replacing
from profiler.store.schema import VERSION

_READERS = 8  # threads: footers wait for the disk or the network, not for the processor


@dataclass(frozen=True)
class Footer:
    """What a file says about itself.

    Attributes:
        level: Which table it is, such as "cells".
        parameters: How it was made.
        rows: How many rows it holds.
    """

    level: str
    parameters: Mapping[str, Any]
    rows: int


def write_table(
    path: Path,
    table: pl.DataFrame | pa.Table,
    *,
    level: str,
    parameters: Mapping[str, Any],
) -> None:
    """Write a table whole or not at all; NaN becomes null on the way.

    Args:
        path: The Parquet file to make or replace.
        table: Any table. Arrow tables keep their schema, polars tables their types.
        level: Which table this is, a name of `profiler.store.schema.TABLES`.
        parameters: How it was made; anything JSON can hold.

    Raises:
        BadRun: The disk is full or the file cannot be written; `path` is as before.
    """
    arrow = _without_nan(table)
    footer = {
        "profiler:version": VERSION,
        "profiler:level": level,
        "profiler:parameters": json.dumps(parameters, sort_keys=True, allow_nan=False),
    }
    # Floats hardly repeat: a dictionary of them only costs time and space.
    kind = {"compression": "zstd", "use_dictionary": _strings(arrow.schema)}
    with replacing(path) as draft, pq.ParquetWriter(draft, arrow.schema, **kind) as writer:
        writer.write_table(arrow)
        writer.add_key_value_metadata(footer)


def read_footer(path: Path) -> Footer:
    """Read what a file says about itself, without reading its rows.

    Raises:
        BadRun: The file is absent, cut short, of another program or of another version.
    """
    try:
        found = pq.read_metadata(path)
    except FileNotFoundError as error:
        raise BadRun(f"{path} is not there. Run the command that makes it again.") from error
    except (pa.ArrowException, OSError) as error:
        raise BadRun(
            f"{path} is not a whole Parquet file: it was cut short or overwritten ({error}). "
            "Delete it and run again: only what is missing is computed."
        ) from error
    return _footer(path, found)


def read_footers(paths: Iterable[Path]) -> list[Footer]:
    """Read many footers at once, in the order of `paths`; raises as `read_footer` does."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read_footer, paths))


def scan_table(path: Path) -> pl.LazyFrame:
    """Check a file's footer and open it lazily: rows are read when collected.

    Raises:
        BadRun: The file is absent, cut short, of another program or of another version.
    """
    read_footer(path)
    return scan_checked([path])


def scan_checked(paths: Sequence[Path]) -> pl.LazyFrame:
    """Open files of one schema, whose footers have been read, as one lazy table."""
    # Names are names: a bracket is not a pattern, and "a=b" in a folder is not a column.
    return pl.scan_parquet(list(paths), glob=False, hive_partitioning=False)


def _footer(path: Path, found: pq.FileMetaData) -> Footer:
    raw = {key.decode(): value for key, value in (found.metadata or {}).items()}
    version = raw.get("profiler:version", b"").decode()
    if not version:
        raise BadRun(
            f"{path} is a Parquet file of another program: its footer has no profiler:version. "
            "Move it out of the run folder and run again."
        )
    if version != VERSION:
        raise BadRun(
            f"{path} has store version {version}, and this program reads version {VERSION}. "
            "Use the program that wrote it, or choose another --out."
        )
    parameters = json.loads(raw["profiler:parameters"])
    return Footer(raw["profiler:level"].decode(), parameters, found.num_rows)


def _without_nan(table: pl.DataFrame | pa.Table) -> pa.Table:
    if isinstance(table, pl.DataFrame):
        return table.fill_nan(None).to_arrow()
    frame = pl.DataFrame(pl.from_arrow(table))
    return frame.fill_nan(None).to_arrow().cast(table.schema)


def _strings(schema: pa.Schema) -> list[str]:
    kinds = (pa.types.is_string, pa.types.is_large_string)
    return [column.name for column in schema if any(kind(column.type) for kind in kinds)]
