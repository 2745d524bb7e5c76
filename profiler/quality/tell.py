"""What the verdicts come to, in sentences."""

from collections.abc import Iterator

import polars as pl

from profiler.quality.judge import FAILED, OK, VERDICT
from profiler.quality.mark import LOW_COUNT

MOST_NAMES = 8
MOST = "Image_QC_Max_"
SURE, DOUBTFUL = "Metadata_Object_Confidence", "Metadata_Object_Doubtful"


def tell_quality(quality: pl.DataFrame, *, exclude: bool) -> Iterator[str]:
    """Say how far cells can be trusted, which fields are not believed, and what becomes of them."""
    yield from _tell_confidence(quality)
    yield from _tell_black(quality)
    bad = quality.filter(~pl.col(VERDICT).is_in([OK, FAILED]))
    if not bad.height:
        return
    counts = bad[VERDICT].value_counts().sort("count", VERDICT, descending=[True, False])
    listed = ", ".join(f"{name} {n}" for name, n in counts.iter_rows())
    cells = int(bad["Metadata_Object_Count"].sum())
    fate = "do not count" if exclude else "count all the same, as [profile] exclude_bad_fields says"
    flagged = f"{bad.height:,} of {quality.height:,} fields are flagged ({listed})"
    yield f"{flagged}; their {cells:,} cells {fate}."


def _tell_black(quality: pl.DataFrame) -> Iterator[str]:
    """Name the stains that are 0 throughout a plate: no verdict on a field tells of them."""
    for name in (column for column in quality.columns if column.startswith(MOST)):
        for (plate,), fields in quality.group_by("Metadata_Plate", maintain_order=True):
            seen = fields[name].drop_nulls()
            if len(seen) and seen.max() == 0:
                yield (
                    f"{plate}: {name.removeprefix(MOST)} is black in all {len(seen):,} fields that "
                    "could be read: every pixel is 0. Was it imaged?"
                )


def _tell_confidence(quality: pl.DataFrame) -> Iterator[str]:
    """Say how many cells are expected to be wrong, and how many were left out for that."""
    if not {SURE, DOUBTFUL} <= set(quality.columns):
        return  # cells of an older run
    counts, means = pl.col("Metadata_Object_Count"), pl.col(SURE)
    known = quality.filter(means.is_not_null())
    cells, wrong = known.select(cells=counts.sum(), wrong=(counts * (1 - means)).sum()).row(0)
    if cells:
        yield (
            f"Of {cells:,} cells about {wrong:,.0f} ({wrong / cells:.1%}) are expected to be "
            f"wrong, by their mean confidence of {1 - wrong / cells:.3f}."
        )
    elif quality["Metadata_Object_Count"].sum():
        yield "No cell has a confidence, as the network is not calibrated."
    if doubtful := quality[DOUBTFUL].sum():
        are = "cell was" if doubtful == 1 else "cells were"
        yield f"{doubtful:,} more {are} left out: below [segment] min_confidence."


def tell_few(wells: pl.DataFrame, *, min_cells: int) -> Iterator[str]:
    """Name the wells with too few cells."""
    few = wells.filter(pl.col(LOW_COUNT))
    if few.height:
        names = few.select(pl.format("{}/{}", "Metadata_Plate", "Metadata_Well")).to_series()
        shown = ", ".join(names.head(MOST_NAMES))
        more = f" and {few.height - MOST_NAMES} more" if few.height > MOST_NAMES else ""
        are = "well has" if few.height == 1 else "wells have"
        yield f"{few.height} {are} fewer than {min_cells} cells: {shown}{more}."
