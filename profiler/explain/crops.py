"""Crops of cells that were chosen: each field is read once, whatever its cells are for."""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.imageset import FieldKey
from profiler.compute.reread import Reader
from profiler.explain.events import Read
from profiler.explain.vectors import FIELD


class Crops(NamedTuple):
    """Crops by row of a table of cells.

    Attributes:
        number: Where in the arrays a row's crop is.
        pixels: [crop, side, side, channel], 0 to 1.
        inside: Which pixels are the cell's, [crop, side, side].
    """

    number: dict[int, int]
    pixels: np.ndarray
    inside: np.ndarray

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and masks of some rows, in their order."""
        where = [self.number[int(row)] for row in rows]
        return self.pixels[where], self.inside[where]


def gather_crops(
    cells: pl.DataFrame, rows: np.ndarray, *, read: Reader
) -> Generator[Read, None, Crops]:
    """Read the fields of some cells again and keep the crops of these alone.

    Args:
        cells: `FIELD` and Metadata_ObjectNumber of all that there are.
        rows: Which of them, perhaps named twice.
        read: From `field_reader`.

    Yields:
        Each field as it is read.
    """
    wanted = np.unique(rows).tolist()
    by_field: dict[FieldKey, list[int]] = {}
    for row, key in zip(wanted, cells[wanted].select(FIELD).iter_rows(), strict=True):
        by_field.setdefault(FieldKey(*key), []).append(row)
    objects = cells["Metadata_ObjectNumber"].to_numpy()
    found, pixels, inside = [], [], []
    for number, (field, own) in enumerate(by_field.items(), start=1):
        seen = read(field)
        found += own
        pixels.append(seen.pixels[objects[own] - 1])
        inside.append(seen.inside[objects[own] - 1])
        yield Read(field, number, len(by_field), "for crops")
    where = {row: number for number, row in enumerate(found)}
    return Crops(where, np.concatenate(pixels), np.concatenate(inside))
