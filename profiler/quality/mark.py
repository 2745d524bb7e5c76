"""Verdicts carried on: to the cells of bad fields, and to wells with few cells."""

import polars as pl

from profiler.quality.judge import KEYS, OK, VERDICT
from profiler.store.mark import FIELD_VERDICT

LOW_COUNT = "Metadata_QC_LowCount"
KEPT = ("ok", "empty")  # a field without cells is an answer: it counts as one, with none


def marked(cells: pl.LazyFrame, *, exclude: bool) -> pl.LazyFrame:
    """Leave out the cells of fields that are not believed."""
    if not exclude or FIELD_VERDICT not in cells.collect_schema():
        return cells
    return cells.filter(pl.col(FIELD_VERDICT) == OK)


def as_unusable(fields: pl.DataFrame, *, quality: pl.DataFrame) -> pl.DataFrame:
    """Give fields that are not believed their verdict as status, so that they count as failed.

    Args:
        fields: As `fields.parquet`.
        quality: From `judge`.
    """
    verdicts = quality.select(*KEYS, VERDICT)
    joined = fields.join(verdicts, on=KEYS, how="left", maintain_order="left")
    is_used = pl.col("Metadata_QC_Status").is_in(["ok", "no_cells"])
    is_bad = is_used & ~pl.col(VERDICT).is_in(KEPT)
    status = pl.when(is_bad).then(VERDICT).otherwise("Metadata_QC_Status")
    return joined.with_columns(status.alias("Metadata_QC_Status")).drop(VERDICT)


def flag_few(wells: pl.DataFrame, *, min_cells: int) -> pl.DataFrame:
    """Flag wells with fewer cells than a minimum; null where there is no count."""
    few = (pl.col("Metadata_Object_Count") < min_cells).alias(LOW_COUNT)
    flagged = wells.with_columns(few)
    place = wells.columns.index("Metadata_Object_Count") + 1
    return flagged.select(*wells.columns[:place], LOW_COUNT, *wells.columns[place:])
