"""Whether mechanisms show: how often the nearest neighbour is right, and which labels cohere."""

from collections.abc import Mapping, Sequence

from profiler.report.numbers import percent
from profiler.report.run import Run, table_file
from profiler.report.tables import Cell, Table, figure, left_out

MAX_LABELS = 100
ACCURACY = ("Rule", "Treatments", "Right", "By cell count alone", "By chance", "p")
ACCURACY_CAPTION = (
    "Mechanisms predicted by the nearest treatment, of those whose own is known. A prediction says "
    "something where it is right more often than by cell counts alone and by chance."
)
LABELS = ("Kind", "Label", "Compounds", "Compared", "mAP", "By chance", "q", "Status")
LABELS_CAPTION = (
    "Labels whose compounds are more alike than those of other labels (mean average precision), "
    "the surest first. Compared are {compared}, each at its most active dose."
)


def accuracy_table(run: Run) -> Table | None:
    """Lay out accuracy.parquet, one row per rule; None without it."""
    table = run.table("accuracy")
    if table is None:
        return None
    rows = [_rule(row) for row in table.iter_rows(named=True)]
    return Table(ACCURACY_CAPTION, ACCURACY, rows)


def consistency_table(run: Run) -> Table | None:
    """Lay out consistency.parquet, the surest labels first; None without it."""
    table = run.table("consistency")
    if table is None:
        return None
    ordered = table.sort("q_value", "kind", "label", nulls_last=True)
    rows = [_label(row) for row in ordered.head(MAX_LABELS).iter_rows(named=True)]
    compared = "active compounds" if "active" in table["compared"] else "all compounds"
    remark = left_out(table.height, MAX_LABELS, what="labels", where=table_file("consistency"))
    return Table(LABELS_CAPTION.format(compared=compared), LABELS, rows, remark)


def _rule(row: Mapping) -> Sequence[Cell]:
    shares = (_share(row[name]) for name in ("accuracy", "accuracy_by_count", "chance"))
    rule = str(row["rule"]).replace("_", " ")
    return (Cell(rule), figure(row["n_treatments"]), *shares, figure(row["p_value"]))


def _label(row: Mapping) -> Sequence[Cell]:
    numbers = ("n_labelled", "n_compounds", "mean_average_precision", "chance_precision", "q_value")
    status = str(row["status"]).replace("_", " ")
    return (Cell(row["kind"]), Cell(row["label"]), *(figure(row[x]) for x in numbers), Cell(status))


def _share(value: float | None) -> Cell:
    return figure(value)._replace(text=percent(value))
