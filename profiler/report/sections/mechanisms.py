"""How often the nearest neighbour has the right mechanism: whether predictions can be believed."""

from collections.abc import Mapping, Sequence

from profiler.report.numbers import percent
from profiler.report.run import Run
from profiler.report.tables import Cell, Table, figure

COLUMNS = ("Rule", "Treatments", "Right", "By cell count alone", "By chance", "p")
CAPTION = (
    "Mechanisms predicted by the nearest treatment, of those whose own is known. A prediction says "
    "something where it is right more often than by cell counts alone and by chance."
)


def accuracy_table(run: Run) -> Table | None:
    """Lay out accuracy.parquet, one row per rule; None without it."""
    table = run.table("accuracy")
    if table is None:
        return None
    return Table(CAPTION, COLUMNS, [_row(row) for row in table.iter_rows(named=True)])


def _row(row: Mapping) -> Sequence[Cell]:
    shares = (_share(row[name]) for name in ("accuracy", "accuracy_by_count", "chance"))
    rule = str(row["rule"]).replace("_", " ")
    return (Cell(rule), figure(row["n_treatments"]), *shares, figure(row["p_value"]))


def _share(value: float | None) -> Cell:
    return figure(value)._replace(text=percent(value))
