"""Kinds of cells, and the wells that hold more or fewer of them than controls do."""

from collections.abc import Mapping, Sequence

import polars as pl

from profiler.report.draw.svg import element
from profiler.report.numbers import number, percent
from profiler.report.run import Run
from profiler.report.tables import Cell, Table, deviating, figure, stacked
from profiler.report.wells import treatment

Q = 0.05
MAX_WELLS = 4  # the most shifted ones that are named
COLUMNS = (
    "Kind",
    "Share of all cells",
    "Stability",
    "Shifted wells",
    "Most shifted",
    "Stands out by",
)
CAPTION = (
    "Kinds of cells, found without looking at treatments, by their share. Shifted wells hold more "
    "or fewer of a kind than the plate's negative controls (q at most .05). Features are those "
    "that deviate most, in robust sds of the control cells."
)


def kind_table(run: Run, wells: pl.DataFrame) -> Table | None:
    """Lay out the kinds of cells, by number; None without kinds.parquet.

    Args:
        run: Its tables.
        wells: From `well_table`, for what is in a well.
    """
    kinds, shares = run.table("kinds"), run.table("subpopulations")
    if kinds is None or shares is None:
        return None
    total = int(shares["n_cells"].sum())
    names = {(well["plate"], well["well"]): treatment(well) for well in wells.iter_rows(named=True)}
    rows = [
        _row(kind, shares.filter(subpopulation=kind["subpopulation"]), total, names)
        for kind in kinds.sort("subpopulation").iter_rows(named=True)
    ]
    return Table(CAPTION, COLUMNS, rows)


def _row(
    kind: Mapping, shares: pl.DataFrame, total: int, names: Mapping[tuple[str, str], str]
) -> Sequence[Cell]:
    shifted = shares.filter(pl.col("q_value") <= Q)
    furthest = shifted.sort(
        "q_value", pl.col("log2_ratio").abs(), "Metadata_Plate", "Metadata_Well",
        descending=[False, True, False, False],
    )  # fmt: skip
    lines = [_well(row, names) for row in furthest.head(MAX_WELLS).iter_rows(named=True)]
    share = int(shares["n_cells"].sum()) / max(total, 1)
    return (
        figure(kind["subpopulation"]),
        Cell(percent(share), share, is_number=True),
        figure(kind["stability"]),
        figure(shifted.height),
        Cell(element("small", stacked(lines))),
        Cell(deviating(kind)),
    )


def _well(row: Mapping, names: Mapping[tuple[str, str], str]) -> str:
    key = (row["Metadata_Plate"], row["Metadata_Well"])
    place = " ".join(part for part in (*key, names.get(key, "")) if part)
    shares = f"{percent(row['share'])} instead of {percent(row['expected_share'])}"
    return f"{place}: {shares}, q {number(row['q_value'])}"
