"""What befell a run: a row for each incident, kept for as long as the run is.

Fields that could not be used are rows of the field table; these befell the run itself.
"""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from profiler.store.run import FACTS
from profiler.store.schema import TABLES
from profiler.store.tables import scan_table, write_table

LEVEL = "incidents"
COLUMNS = {
    "time": pl.String,  # ISO 8601, UTC; of a killed run, when the next command found out
    "code": pl.String,
    "message": pl.String,
    "wells": pl.Int32,  # begun anew
    "fields": pl.Int32,  # computed in vain
}


def begin(out: Path) -> None:
    """Make the table, without a row, where a run has none yet: nothing has befallen it.

    Raises:
        BadRun: It cannot be written.
    """
    if not _path(out).is_file():
        _write(out, pl.DataFrame(schema=COLUMNS))


def note(out: Path, code: str, message: str, *, wells: int = 0, fields: int = 0) -> None:
    """Add an incident to a run's table; a folder that is no run yet has nothing to lose.

    Args:
        out: The run folder, held.
        code: What kind, such as "killed".
        message: What is known of it, in sentences.
        wells: How many are begun anew.
        fields: How many were computed in vain.

    Raises:
        BadRun: The table cannot be read or written.
    """
    if not (out / FACTS).is_file():
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    row = dict(zip(COLUMNS, (now, code, message, wells, fields), strict=True))
    begin(out)
    _write(out, pl.concat([scan_table(_path(out)).collect(), pl.DataFrame([row], COLUMNS)]))


def _write(out: Path, table: pl.DataFrame) -> None:
    write_table(_path(out), table, level=LEVEL, parameters={})


def _path(out: Path) -> Path:
    return out / TABLES[LEVEL].file
