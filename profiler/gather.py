"""From fields, as the device returns them, to whole wells, as the store wants them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from plates.imageset import FieldKey, path_column
from plates.loader import Failure
from plates.pixels import FileStamp
from profiler.field import FieldResult
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
        seconds: Share of its batch's time.
    """

    key: FieldKey
    status: str
    reason: str | None
    cells: pl.DataFrame
    seconds: float


def field_row(
    key: FieldKey, result: FieldResult, *, columns: tuple[str, ...], max_cells: int, seconds: float
) -> FieldRow:
    """Judge a computed field and lay out its cells."""
    status, reason = _verdict(result.count, max_cells)
    rows = result.count if status == OK else 0
    return FieldRow(key, status, reason, _cells(key, result, columns, rows), seconds)


def failed_row(failure: Failure, *, columns: tuple[str, ...]) -> FieldRow:
    """Lay out a field that could not be loaded."""
    none = FieldResult(
        np.empty((0, len(columns)), np.float32), 0, np.empty(0, bool), *[np.empty((0, 0))] * 2
    )
    cells = _cells(failure.key, none, columns, 0)
    return FieldRow(failure.key, failure.code, failure.message, cells, 0.0)


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


def _cells(key: FieldKey, result: FieldResult, columns: tuple[str, ...], rows: int) -> pl.DataFrame:
    keys = pl.DataFrame(
        {
            "Metadata_Plate": pl.repeat(key.plate, rows, eager=True, dtype=pl.String),
            "Metadata_Well": pl.repeat(key.well, rows, eager=True, dtype=pl.String),
            "Metadata_Site": pl.repeat(key.site, rows, eager=True, dtype=pl.Int32),
            "Metadata_ObjectNumber": pl.int_range(1, rows + 1, dtype=pl.Int32, eager=True),
            "Metadata_QC_TouchesBorder": pl.Series(result.touches_border[:rows], dtype=pl.Boolean),
        }
    )
    features = np.ascontiguousarray(result.features[:rows])
    table = pl.from_numpy(features, schema=dict.fromkeys(columns, pl.Float32), orient="row")
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
            inputs={key: self._inputs.pop(key) for key in sorted(rows)},
        )


FIELD_ROW = {
    "Metadata_Plate": pl.String,
    "Metadata_Well": pl.String,
    "Metadata_Site": pl.Int32,
    "Metadata_QC_Status": pl.String,
    "Metadata_QC_Reason": pl.String,
    "Metadata_Object_Count": pl.Int32,
    "Metadata_Seconds": pl.Float32,
}


def _describe(row: FieldRow) -> dict:
    values = (*row.key, row.status, row.reason, row.cells.height, row.seconds)
    return dict(zip(FIELD_ROW, values, strict=True))
