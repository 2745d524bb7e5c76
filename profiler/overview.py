"""What is in a plate folder, said without computing anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from plates.irregular import check_names, copies, lost_files
from plates.readers import scan
from plates.well import smallest_format
from profiler.recipe import load_recipe


def planes(folders: Sequence[Path], *, recipe: str | None = None) -> pl.DataFrame:
    """List every image plane of some plates.

    Args:
        folders: Plate folders, or index files.
        recipe: Whose reader and pattern to use; detected by default.

    Raises:
        BadPlate: A folder cannot be read, or two hold a plate of the same name.
    """
    how = reading(recipe)
    found = {folder: scan(folder, **how) for folder in folders}
    check_names(found)
    return pl.concat(found.values())


def reading(recipe: str | None) -> dict[str, Any]:
    """Reader and pattern of a recipe, as `plates.readers.scan` takes them; detected by default."""
    images = load_recipe(recipe).images if recipe else None
    return {"reader": images.reader, "pattern": images.pattern} if images else {}


def describe(table: pl.DataFrame) -> str:
    """Tell what plates, wells, sites and channels a plane table holds, and what it lacks."""
    plates = [_plate(name, rows) for (name,), rows in table.group_by("plate", maintain_order=True)]
    return "\n".join([*plates, *copies(table)])


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
        f"channels {listed}{extra}{_lost(rows)}"
    )


def _lost(rows: pl.DataFrame) -> str:
    lost = lost_files(rows)
    are = "files that it lists are" if len(lost) > 1 else "file that it lists is"
    return f"; {len(lost)} {are} not there, the first: {lost[0]}" if lost else ""
