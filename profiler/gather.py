"""From fields, as the device returns them, to whole wells, as the store wants them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from plates.imageset import FieldKey, path_column
from plates.loader import Failure
from plates.pixels import FileStamp
from profiler.field import FieldProgram, FieldResult
from profiler.store.schema import FIELD_KEYS, FIELDS
from profiler.store.wells import Files, Well, WellTables

OK = "ok"
NO_CELLS = "no_cells"
TOO_MANY_CELLS = "too_many_cells"


def wells_of(sets: pl.DataFrame) -> dict[Well, Files]:
    """The files of every field of every well, in the order they are read."""
    stains = [column for column in sets.columns if column.startswith(path_column(""))]
    wells: dict[Well, Any] = {}
    for plate, well, site, *files in sets.select("plate", "well", "site", *stains).iter_rows():
        paths = tuple(path for stack in files for path in stack or ())
        wells.setdefault((plate, well), {})[FieldKey(plate, well, site)] = paths
    return wells


@dataclass(frozen=True)
class FieldRow:
    """One field, ready for its well: a row of the field table and its cells.

    Attributes:
        key: Which field.
        status: "ok" or a code.
        reason: A sentence, where the status is not ok.
        cells: Rows for the cell table, empty for a field that failed.
        image: Row for the image table, null for a field that failed.
        seconds: Share of its batch's time.
        measure_seconds: Measuring's part of it.
    """

    key: FieldKey
    status: str
    reason: str | None
    cells: pl.DataFrame
    image: pl.DataFrame
    seconds: float
    measure_seconds: float


def field_row(
    key: FieldKey,
    result: FieldResult,
    *,
    program: FieldProgram,
    max_cells: int,
    seconds: float,
) -> FieldRow:
    """Judge a computed field and lay out its features."""
    status, reason = _verdict(result.count, max_cells)
    rows = result.count if status == OK else 0
    return FieldRow(
        key,
        status,
        reason,
        _cells(key, result.features[:rows], result.touches_border[:rows], program.columns),
        _features(_keys(key, 1), result.image[None], program.image_columns),
        seconds,
        result.measure_seconds,
    )


def failed_row(failure: Failure, *, program: FieldProgram) -> FieldRow:
    """Lay out a field that could not be loaded."""
    no_cells = np.empty((0, len(program.columns)), np.float32)
    unknown = np.full((1, len(program.image_columns)), np.nan, np.float32)
    return FieldRow(
        failure.key,
        failure.code,
        failure.message,
        _cells(failure.key, no_cells, np.empty(0, bool), program.columns),
        _features(_keys(failure.key, 1), unknown, program.image_columns),
        0.0,
        0.0,
    )


def _verdict(count: int, max_cells: int) -> tuple[str, str | None]:
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


def _cells(
    key: FieldKey, features: np.ndarray, touches_border: np.ndarray, columns: tuple[str, ...]
) -> pl.DataFrame:
    rows = len(features)
    keys = _keys(key, rows).with_columns(
        pl.int_range(1, rows + 1, dtype=pl.Int32, eager=True).alias("Metadata_ObjectNumber"),
        pl.Series("Metadata_QC_TouchesBorder", touches_border, dtype=pl.Boolean),
    )
    return _features(keys, features, columns)


def _keys(key: FieldKey, rows: int) -> pl.DataFrame:
    named = zip(FIELD_KEYS, key, strict=True)
    return pl.DataFrame(
        {
            column.name: pl.repeat(
                value, rows, eager=True, dtype=pl.Int32 if isinstance(value, int) else pl.String
            )
            for column, value in named
        }
    )


def _features(keys: pl.DataFrame, features: np.ndarray, columns: tuple[str, ...]) -> pl.DataFrame:
    schema = dict.fromkeys(columns, pl.Float32)
    table = pl.from_numpy(np.ascontiguousarray(features), schema=schema, orient="row")
    return pl.concat([keys, table.fill_nan(None)], how="horizontal")


@dataclass
class WellGatherer:
    """Collects fields until their well is complete.

    Attributes:
        wanted: The fields of every well to come.
    """

    wanted: Mapping[Well, Files]
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
            cells=pl.concat([row.cells for row in ordered]),
            fields=pl.DataFrame([_describe(row) for row in ordered], schema=FIELD_ROW),
            images=pl.concat([row.image for row in ordered]),
            inputs={key: self._inputs.pop(key) for key in sorted(rows)},
        )


FIELD_ROW = pl.DataFrame(FIELDS.empty_table()).schema


def _describe(row: FieldRow) -> dict[str, Any]:
    count, seconds = row.cells.height, (row.seconds, row.measure_seconds)
    values = (*row.key, row.status, row.reason, count, *seconds)
    return dict(zip(FIELD_ROW, values, strict=True))
