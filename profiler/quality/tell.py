"""What the verdicts come to, in sentences."""

from collections.abc import Iterator

import polars as pl

from profiler.quality.judge import FAILED, OK, VERDICT
from profiler.quality.mark import LOW_COUNT

MOST_NAMES = 8


def tell_quality(quality: pl.DataFrame, *, exclude: bool) -> Iterator[str]:
    """Say how many fields are not believed and why, and what becomes of their cells."""
    bad = quality.filter(~pl.col(VERDICT).is_in([OK, FAILED]))
    if not bad.height:
        return
    counts = bad[VERDICT].value_counts().sort("count", VERDICT, descending=[True, False])
    listed = ", ".join(f"{name} {n}" for name, n in counts.iter_rows())
    cells = int(bad["Metadata_Object_Count"].sum())
    fate = "do not count" if exclude else "count all the same, as [profile] exclude_bad_fields says"
    flagged = f"{bad.height:,} of {quality.height:,} fields are flagged ({listed})"
    yield f"{flagged}; their {cells:,} cells {fate}."


def tell_few(wells: pl.DataFrame, *, min_cells: int) -> Iterator[str]:
    """Name the wells with too few cells."""
    few = wells.filter(pl.col(LOW_COUNT))
    if few.height:
        names = few.select(pl.format("{}/{}", "Metadata_Plate", "Metadata_Well")).to_series()
        shown = ", ".join(names.head(MOST_NAMES))
        more = f" and {few.height - MOST_NAMES} more" if few.height > MOST_NAMES else ""
        are = "well has" if few.height == 1 else "wells have"
        yield f"{few.height} {are} fewer than {min_cells} cells: {shown}{more}."
