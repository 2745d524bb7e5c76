"""CSV as pycytominer and spreadsheets read it."""

import gzip
import shutil
from pathlib import Path

import polars as pl

from profiler.export.source import Exported, Source


def export_csv(source: Source, path: Path) -> Exported:
    """Write a table as CSV: `Metadata_` columns, other results, then features.

    The table is streamed, so that it may be larger than the memory. Null is an empty field, and
    lists are their elements with a space between them.

    Args:
        source: The table; any will do.
        path: The file; compressed if its name has `.gz`.

    Returns:
        What was written; nothing is left out.

    Source:
        The profile format of pycytominer, which tells metadata and features by the columns'
        prefixes; it loads and normalises the file in tests/export/test_delimited.py.
    """
    schema = source.frame.collect_schema()
    lists = [name for name in source.others if isinstance(schema[name], pl.List)]
    joined = pl.col(lists).cast(pl.List(pl.String)).list.join(" ")
    frame = source.frame.select(*source.others, *source.features).with_columns(joined)
    frame.sink_csv(path)
    rows = source.frame.select(pl.len()).collect(engine="streaming").item()
    if ".gz" in path.suffixes:
        _compress(path)
    return Exported(path, rows, len(source.features))


def _compress(path: Path) -> None:
    packed = path.with_name(f"{path.name}.packed")
    try:
        # No name and no time: the same table makes the same bytes.
        with (
            path.open("rb") as plain,
            packed.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as out,
        ):
            shutil.copyfileobj(plain, out, length=2**20)
        packed.replace(path)
    finally:
        packed.unlink(missing_ok=True)
