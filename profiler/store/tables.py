"""One table, one Parquet file that says in its footer what it is and how it was made."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from plates.errors import BadRun
from profiler.store.atomic import replacing
from profiler.store.schema import TABLES, VERSION

_READERS = 8  # threads: footers wait for the disk or the network, not for the processor
_ROW_GROUP = 2**16  # rows that are read or skipped together
# How polars skips files of a data lake. Not public: where it is gone, all footers are read.
_CAN_SKIP = "_table_statistics" in signature(pl.scan_parquet).parameters


@dataclass(frozen=True)
class Footer:
    """What a file says about itself.

    Attributes:
        level: Which table it is, such as "cells".
        parameters: How it was made.
    """

    level: str
    parameters: Mapping[str, Any]


def write_table(
    path: Path,
    table: pl.DataFrame | pa.Table,
    *,
    level: str,
    parameters: Mapping[str, Any],
    may_have_nan: bool = True,
) -> None:
    """Write a table whole or not at all; NaN becomes null on the way.

    Args:
        path: The Parquet file to make or replace.
        table: Any table. Arrow tables keep their schema, polars tables their types.
        level: Which table this is, a name of `profiler.store.schema.TABLES`.
        parameters: How it was made; anything JSON can hold.
        may_have_nan: False where NaN is null already: looking costs as much as writing.

    Raises:
        BadRun: The disk is full or the file cannot be written; `path` is as before.
    """
    arrow = table.to_arrow() if isinstance(table, pl.DataFrame) else table
    arrow = _without_nan(arrow) if may_have_nan else arrow
    footer = {
        "profiler:version": VERSION,
        "profiler:level": level,
        "profiler:parameters": json.dumps(parameters, sort_keys=True, allow_nan=False),
    }
    with replacing(path) as draft, _writer(draft, table, arrow.schema) as writer:
        writer.write_table(arrow, row_group_size=_ROW_GROUP)
        writer.add_key_value_metadata(footer)


def read_footer(path: Path) -> Footer:
    """Read what a file says about itself, without reading its rows.

    Raises:
        BadRun: The file is absent, cut short, of another program or of another version.
    """
    try:
        found = pl.read_parquet_metadata(path)
    except FileNotFoundError as error:
        raise BadRun(f"{path} is not there. Run the command that makes it again.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path, error) from error
    return _footer(path, found)


def made_with(out: Path) -> str | None:
    """Hash of all that the cells of a run depend on, as `fields.parquet` says; None without it."""
    path = out / "fields.parquet"
    return read_footer(path).parameters.get("computed_by") if path.is_file() else None


def read_footers(paths: Iterable[Path]) -> list[Footer]:
    """Read many footers at once, in the order of `paths`; raises as `read_footer` does."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read_footer, paths))


def scan_table(path: Path) -> pl.LazyFrame:
    """Check a file's footer and open it lazily: rows are read when collected.

    Args:
        path: Of a run folder, where a file is named by the table that it holds.

    Raises:
        BadRun: The file is absent, cut short, of another program or of another version; or it
            is named as one table, and its footer says that it is another.
    """
    level = read_footer(path).level
    if path.stem in TABLES and level != path.stem:
        raise BadRun(
            f"{path} holds the table {level!r}, as its footer says, and not {path.stem!r}. Was it "
            f"copied or renamed? Make {path.stem} again with: "
            f"{TABLES[path.stem].command.format(out=path.parent)}"
        )
    return scan_checked([path])


def scan_checked(
    paths: Sequence[Path], *, keys: Mapping[str, Sequence[str]] | None = None
) -> pl.LazyFrame:
    """Open files of one schema, whose footers have been read, as one lazy table.

    Args:
        paths: The files, at least one.
        keys: Columns that have one value in each file, such as the plate, and that value for
            each: a filter on them leaves the other files unopened.
    """
    # Names are names: a bracket is not a pattern, and "a=b" in a folder is not a column.
    options: dict[str, Any] = {"_table_statistics": _bounds(keys)} if keys and _CAN_SKIP else {}
    return pl.scan_parquet(list(paths), glob=False, hive_partitioning=False, **options)


def _bounds(keys: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Least and greatest value of each column in each file, as polars wants to know it."""
    bounds = [
        expression
        for name in keys
        for expression in (
            pl.col(name).alias(f"{name}_min"),
            pl.col(name).alias(f"{name}_max"),
            pl.lit(0, pl.UInt32).alias(f"{name}_nc"),  # nulls
        )
    ]
    return pl.DataFrame(keys).select(pl.lit(None, pl.UInt32).alias("len"), *bounds)


def _damaged(path: Path, reason: object) -> BadRun:
    return BadRun(
        f"{path} is not a whole Parquet file: it was cut short or overwritten ({reason}). "
        "Delete it and run again: only what is missing is computed."
    )


def _writer(path: Path, table: pl.DataFrame | pa.Table, schema: pa.Schema) -> pq.ParquetWriter:
    # Floats hardly repeat: a dictionary or the range of them only costs time and space. Arrow's
    # own copy of the schema is half the footer of a wide table, and only polars' types need it.
    kind: dict[str, Any] = {
        "compression": "zstd",
        "use_dictionary": [column.name for column in schema if _is_string(column.type)],
        "write_statistics": [c.name for c in schema if not pa.types.is_floating(c.type)],
        "store_schema": isinstance(table, pl.DataFrame),
    }
    return pq.ParquetWriter(path, schema, **kind)


def _footer(path: Path, found: Mapping[str, str]) -> Footer:
    version = found.get("profiler:version")
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
    try:
        return Footer(found["profiler:level"], json.loads(found["profiler:parameters"]))
    except (KeyError, ValueError) as error:
        raise _damaged(path, f"its footer has no {error}") from error


def _without_nan(arrow: pa.Table) -> pa.Table:
    columns = [_nan_is_null(arrow.column(i)) for i in range(arrow.num_columns)]
    return pa.table(columns, schema=arrow.schema)


def _nan_is_null(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    # By numpy, as NaN and null are to be one: several times faster than an if-else.
    if not (pa.types.is_float32(column.type) or pa.types.is_float64(column.type)):
        return column
    return pa.array(column.to_numpy(), type=column.type, from_pandas=True)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
