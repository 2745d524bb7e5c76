"""What is in a plate folder, said without computing anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from plates.readers import scan
from plates.well import smallest_format
from profiler.recipe import load_recipe


def planes(folders: Sequence[Path], *, recipe: str | None = None) -> pl.DataFrame:
    """List every image plane of some plates.

    Args:
        folders: Plate folders, or index files.
        recipe: Whose reader and pattern to use; detected by default.
    """
    how = reading(recipe)
    return pl.concat([scan(folder, **how) for folder in folders])


def reading(recipe: str | None) -> dict[str, Any]:
    """Reader and pattern of a recipe, as `plates.readers.scan` takes them; detected by default."""
    images = load_recipe(recipe).images if recipe else None
    return {"reader": images.reader, "pattern": images.pattern} if images else {}


def describe(table: pl.DataFrame) -> str:
    """Tell what plates, wells, sites and channels a plane table holds."""
    return "\n".join(
        _plate(name, rows) for (name,), rows in table.group_by("plate", maintain_order=True)
    )


def _plate(name: str, rows: pl.DataFrame) -> str:
    wells = rows["well"].unique().to_list()
    channels = rows.group_by("channel").len().sort("channel")
    listed = ", ".join(f"{channel} ({count} planes)" for channel, count in channels.iter_rows())
    fields = rows.select("well", "site").n_unique()
    size = smallest_format(wells)
    depth, times = rows["z"].n_unique(), rows["timepoint"].n_unique()
    choose = ' (choose one with [images] timepoint, or "each")'
    extra = f", {depth} z planes" * (depth > 1) + f", {times} time points{choose}" * (times > 1)
    return (
        f"{name}: {len(wells)} wells of a {size.wells}-well plate, {fields} fields, "
        f"channels {listed}{extra}"
    )
