"""What befell a run: a row for each incident, kept for as long as the run is.

Fields that could not be used are rows of the field table; these befell the run itself.
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from profiler.store.run import FACTS
from profiler.store.schema import INCIDENTS, TABLES
from profiler.store.tables import scan_table, write_table

LEVEL = "incidents"
FILE = TABLES[LEVEL].file
REQUEST_FAILED = "request_failed"  # a store did not answer, and was asked again
COLUMNS = pl.DataFrame(INCIDENTS.empty_table()).schema


class Incident(NamedTuple):
    """A row of the table.

    Attributes:
        time: When it was (ISO 8601, UTC).
        code: What kind, such as "killed".
        message: What is known of it, in sentences.
        wells: How many are begun anew; None where nobody knows.
        fields: How many were computed in vain, likewise.
    """

    time: str
    code: str
    message: str
    wells: int | None = None
    fields: int | None = None


def begin(out: Path) -> None:
    """Make the table, without a row, where a run has none yet: nothing has befallen it.

    Raises:
        BadRun: It cannot be written.
    """
    if not (out / FILE).is_file():
        _write(out, pl.DataFrame(schema=COLUMNS))


def note(out: Path, *incidents: Incident) -> None:
    """Add incidents to a run's table; a folder that is no run yet has nothing to lose.

    Args:
        out: The run folder, held.
        incidents: What befell it, in order.

    Raises:
        BadRun: The table cannot be read or written.
    """
    if not (out / FACTS).is_file() or not incidents:
        return
    begin(out)
    new = pl.DataFrame(incidents, schema=COLUMNS, orient="row")
    _write(out, pl.concat([scan_table(out / FILE).collect(), new]))


def _write(out: Path, table: pl.DataFrame) -> None:
    write_table(out / FILE, table, level=LEVEL, parameters={})
