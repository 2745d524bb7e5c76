"""From fields, as the device returns them, to whole wells, as the store wants them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from plates.imageset import FIELD, FieldKey, path_column
from plates.loader import Failure
from plates.pixels import FileStamp
from profiler.compute.field import FieldProgram, FieldResult
from profiler.store.matrix import table_of
from profiler.store.schema import FIELD_KEYS, FIELDS
from profiler.store.wells import Files, Well, WellTables

OK = "ok"
NO_CELLS = "no_cells"
TOO_MANY_CELLS = "too_many_cells"


def wells_of(sets: pl.DataFrame) -> dict[Well, Files]:
    """The files of every field of every well, in the order they are read."""
    stains = [column for column in sets.columns if column.startswith(path_column(""))]
    wells: dict[Well, Any] = {}
    for row in sets.select(*FIELD, *stains).iter_rows():
        key, files = FieldKey(*row[: len(FIELD)]), row[len(FIELD) :]
        paths = tuple(path for stack in files for path in stack or ())
        wells.setdefault((key.plate, key.well), {})[key] = paths
    return wells


@dataclass(frozen=True)
class FieldRow:
    """One field, ready for its well: a row of the field table and its cells.

    Attributes:
        key: Which field.
        status: "ok" or a code.
        reason: A sentence, where the status is not ok.
        features: Of its cells, [cell, column] float32; no rows for a field that failed.
        touches_border: [cell] bool.
        confidence: Of its cells, how likely each is right, [cell] float32, NaN if unknown.
        doubtful: Cells left out for their confidence.
        image: Of the field itself, [image column] float32, NaN for one that failed.
        seconds: Share of its batch's time.
        measure_seconds: Measuring's part of it.
    """

    key: FieldKey
    status: str
    reason: str | None
    features: np.ndarray
    touches_border: np.ndarray
    confidence: np.ndarray
    doubtful: int
    image: np.ndarray
    seconds: float
    measure_seconds: float

    @property
    def rows(self) -> int:
        """Cells in the table."""
        return len(self.features)

    @property
    def mean_confidence(self) -> float | None:
        """Of the cells in the table; None without any, or where it is unknown."""
        mean = float(self.confidence.mean()) if self.rows else np.nan
        return mean if np.isfinite(mean) else None


def field_row(key: FieldKey, result: FieldResult, *, max_cells: int, seconds: float) -> FieldRow:
    """Judge a computed field, and keep the rows that count."""
    status, reason = _verdict(result.count, max_cells, doubtful=result.doubtful)
    rows = result.count if status == OK else 0
    return FieldRow(
        key,
        status,
        reason,
        # Copies: the batch's whole tables, mostly empty rows, are not to wait for the well.
        result.features[:rows].copy(),
        result.touches_border[:rows].copy(),
        result.confidence[:rows].copy(),
        result.doubtful,
        result.image.copy(),
        seconds,
        result.measure_seconds,
    )


def failed_row(failure: Failure, *, program: FieldProgram) -> FieldRow:
    """Lay out a field that could not be loaded."""
    return FieldRow(
        failure.key,
        failure.code,
        failure.message,
        np.empty((0, len(program.columns)), np.float32),
        np.empty(0, bool),
        np.empty(0, np.float32),
        0,
        np.full(len(program.image_columns), np.nan, np.float32),
        0.0,
        0.0,
    )


def _verdict(count: int, max_cells: int, *, doubtful: int) -> tuple[str, str | None]:
    if count == 0 and doubtful:
        return NO_CELLS, (
            f"All {doubtful} cells found are less likely to be right than [segment] "
            "min_confidence. Look at the field, or lower it."
        )
    if count == 0:
        return (
            NO_CELLS,
            "No nuclei were found. Look at the field: empty, out of focus, or unstained?",
        )
    if count > max_cells:
        return TOO_MANY_CELLS, (
            f"{count} cells were found, and a field can hold {max_cells}; none was kept. Raise "
            "[segment] max_cells, or look at the segmentation first: out-of-focus fields often "
            "break into specks."
        )
    return OK, None


def _cells(rows: Sequence[FieldRow], schema: pa.Schema) -> pa.Table:
    counts = [row.rows for row in rows]
    numbers = [np.arange(1, count + 1, dtype=np.int32) for count in counts]
    keys = [column.combine_chunks() for column in _keys(rows, counts).to_arrow().columns]
    labels = pa.array(np.concatenate(numbers))
    borders = pa.array(np.concatenate([row.touches_border for row in rows]))
    sure = pa.array(np.concatenate([row.confidence for row in rows]), from_pandas=True)
    features = np.concatenate([row.features for row in rows])
    return table_of([*keys, labels, borders, sure], features, schema=schema)


def _images(rows: Sequence[FieldRow], columns: tuple[str, ...]) -> pl.DataFrame:
    return _features(_keys(rows, [1] * len(rows)), np.stack([row.image for row in rows]), columns)


def _keys(rows: Sequence[FieldRow], counts: Sequence[int]) -> pl.DataFrame:
    """The key of each field as often as its count says."""
    kinds = (pl.Int32 if isinstance(value, int) else pl.String for value in rows[0].key)
    schema = dict(zip((key.name for key in FIELD_KEYS), kinds, strict=True))
    keys = pl.DataFrame([row.key for row in rows], schema=schema, orient="row")
    return keys[np.repeat(np.arange(len(rows)), counts)]


def _features(keys: pl.DataFrame, features: np.ndarray, columns: tuple[str, ...]) -> pl.DataFrame:
    # Column by column in memory: polars would otherwise copy each of thousands on its own.
    by_column = np.asfortranarray(features)
    schema = dict.fromkeys(columns, pl.Float32)
    return pl.concat([keys, pl.from_numpy(by_column, schema=schema)], how="horizontal")


@dataclass
class WellGatherer:
    """Collects fields until their well is complete.

    Attributes:
        wanted: The fields of every well to come.
        schema: Of a cell table.
        image_columns: Names of the fields' own features.
    """

    wanted: Mapping[Well, Files]
    schema: pa.Schema
    image_columns: tuple[str, ...]
    _rows: dict[Well, dict[FieldKey, FieldRow]] = field(default_factory=dict)
    _inputs: dict[FieldKey, tuple[FileStamp, ...]] = field(default_factory=dict)

    def add(
        self, rows: Iterable[FieldRow], inputs: Mapping[FieldKey, tuple[FileStamp, ...]]
    ) -> Iterator[WellTables]:
        """Take a batch of fields, and yield the wells that it completes."""
        self._inputs.update(inputs)
        for row in rows:
            well = row.key.plate, row.key.well
            self._rows.setdefault(well, {})[row.key] = row
            if len(self._rows[well]) == len(self.wanted[well]):
                yield self._whole(well)

    def _whole(self, well: Well) -> WellTables:
        rows = self._rows.pop(well)
        ordered = [rows[key] for key in sorted(rows)]
        return WellTables(
            *well,
            cells=_cells(ordered, self.schema),
            fields=pl.DataFrame([_describe(row) for row in ordered], schema=FIELD_ROW),
            images=_images(ordered, self.image_columns),
            inputs={key: self._inputs.pop(key) for key in sorted(rows)},
        )


FIELD_ROW = pl.DataFrame(FIELDS.empty_table()).schema


def _describe(row: FieldRow) -> dict[str, Any]:
    objects = (row.rows, row.doubtful, row.mean_confidence)
    values = (*row.key, row.status, row.reason, *objects, row.seconds, row.measure_seconds)
    return dict(zip(FIELD_ROW, values, strict=True))
