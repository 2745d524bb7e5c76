"""Cells marked with the verdict on their field, without a join: filters still reach the files."""

from pathlib import Path

import polars as pl

from profiler.store.schema import FIELD_KEYS, TABLES
from profiler.store.tables import scan_table

FIELD_VERDICT = "Metadata_QC_Field"
AFTER = "Metadata_QC_TouchesBorder"
OK = "ok"


def mark_cells(out: Path, cells: pl.LazyFrame) -> pl.LazyFrame:
    """Add `Metadata_QC_Field`, the verdict on each cell's field, where `quality.parquet` is there.

    The cell files do not hold it, as verdicts depend on the whole plate: who reads them raw joins
    `quality.parquet` on the keys of fields.
    """
    path = out / TABLES["quality"].file
    if not path.is_file():
        return cells
    keys = [key.name for key in FIELD_KEYS]
    verdict = "Metadata_QC_Verdict"
    bad = scan_table(path).filter(pl.col(verdict) != OK).select(*keys, verdict).collect()
    # Bad fields are few: an expression of them, not a join that would copy every column.
    mark = pl.lit(OK)
    for (name,), fields in bad.group_by(verdict, maintain_order=True):
        is_one = pl.struct(keys).is_in(fields.select(pl.struct(keys)).to_series().implode())
        mark = pl.when(is_one).then(pl.lit(str(name))).otherwise(mark)
    names = cells.collect_schema().names()
    place = names.index(AFTER) + 1
    marked = cells.with_columns(mark.alias(FIELD_VERDICT))
    return marked.select(*names[:place], FIELD_VERDICT, *names[place:])
