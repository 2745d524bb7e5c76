"""Columns of numbers on disk: written one after another, read by column or by row."""

import os
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from profiler.profile.groups import to_series
from profiler.profile.scaling.scale import mean


class Column(NamedTuple):
    """What is known of a column on disk: its name, its mean, and whether values are missing."""

    name: str
    mean: float
    has_gaps: bool


class Scratch:
    """A file without a name that is gone when closed; one writer, then any number of readers."""

    def __init__(self, *, n_rows: int, is_float32: bool):
        self.n_rows = n_rows
        self.dtype = np.dtype(np.float32 if is_float32 else np.float64)
        self.columns: list[Column] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, table: pl.DataFrame) -> None:
        """Append columns; null and infinite values are missing."""
        for column in table:
            values = column.cast(pl.Float64).to_numpy()
            values = np.where(np.isfinite(values), values, np.nan)
            self._file.write(values.astype(self.dtype).tobytes())
            has_gaps = bool(np.isnan(values).any())
            self.columns.append(Column(column.name, mean(values[None]).item(), has_gaps))
        self._file.flush()

    def _places(self, names: Sequence[str]) -> list[int]:
        places = {column.name: place for place, column in enumerate(self.columns)}
        return [places[name] for name in names]

    def rows(self, names: Sequence[str], rows: slice) -> Float[np.ndarray, "row feature"]:
        """Read some rows of some columns, in float64; NaN where missing."""
        start, stop, _ = rows.indices(self.n_rows)
        found = np.empty((len(names), stop - start), self.dtype)
        size = self.dtype.itemsize
        for line, place in zip(found, self._places(names), strict=True):
            _fill(self._file.fileno(), line, (place * self.n_rows + start) * size)
        return found.T.astype(np.float64)

    def table(self, names: Sequence[str]) -> pl.DataFrame:
        """Read whole columns; null where missing."""
        found = np.empty((len(names), self.n_rows), self.dtype)
        for line, place in zip(found, self._places(names), strict=True):
            _fill(self._file.fileno(), line, place * line.nbytes)
        is_float32 = self.dtype == np.float32
        columns = zip(names, found, strict=True)
        return pl.DataFrame([to_series(name, x, is_float32=is_float32) for name, x in columns])


def _fill(file: int, line: np.ndarray, start: int) -> None:
    """Read until the line is full: one call reads 2 GiB at most."""
    rest, done = line.view(np.uint8).data, 0
    while done < len(rest):
        done += os.preadv(file, [rest[done:]], start + done)
