"""The ranked compounds and the ranked wells as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from profiler.report.draw.svg import Markup, element, join
from profiler.report.numbers import Number, count, defined, interval, number, percent, quantity
from profiler.report.sections.doses import Series, spark
from profiler.report.tables import Cell, Table, breakable, figure, left_out, pill, stacked
from profiler.report.wells import treatment

MAX_COMPOUNDS = 200
MAX_FEATURES = 3
DIRECTION = "Direction"
COLUMNS = (
    "Rank", "Compound", "Score", "EC50", "Dose-response", "Best dose", "Hit wells", DIRECTION,
    "Strongest features",
)  # fmt: skip
MAX_WELLS = 100
WELL_COLUMNS = (
    "Rank", "Plate", "Well", "Contents", "Cells", "Readout", "z", "Effect", "Profile score",
    "Viability",
)  # fmt: skip
ARROWS = {"up": "↑ up", "down": "↓ down"}


def ranked(compounds: pl.DataFrame) -> pl.DataFrame:
    """Sort compounds by rank, those without one last."""
    return compounds.sort("rank", nulls_last=True) if "rank" in compounds.columns else compounds


def compound_table(
    compounds: pl.DataFrame,
    *,
    series: Mapping[str, Series],
    cards: Mapping[str, str] | None = None,
) -> Table:
    """Lay out the best compounds.

    Args:
        compounds: From compounds.parquet; columns it lacks are shown as undefined.
        series: From `all_series`, for the small curves.
        cards: Compounds with a card, and its id, which their names then lead to.
    """
    first = ranked(compounds).head(MAX_COMPOUNDS)
    remark = left_out(compounds.height, MAX_COMPOUNDS, what="compounds", where="compounds.parquet")
    caption = "Compounds, the strongest first. EC50 with its 95 % interval."
    rows = [_row(row, series, cards or {}) for row in first.iter_rows(named=True)]
    if "direction" in first.columns and first["direction"].null_count() < first.height:
        return Table(caption, COLUMNS, rows, remark)
    without = COLUMNS.index(DIRECTION)  # a distance has none
    rows = [(*row[:without], *row[without + 1 :]) for row in rows]
    return Table(caption, (*COLUMNS[:without], *COLUMNS[without + 1 :]), rows, remark)


def hit_table(hits: pl.DataFrame) -> Table:
    """Lay out the best wells; columns that hits.parquet lacks are shown as undefined."""
    rows = [_well_row(row) for row in ranked(hits).head(MAX_WELLS).iter_rows(named=True)]
    remark = left_out(hits.height, MAX_WELLS, what="wells", where="hits.parquet")
    return Table("Wells, the strongest first.", WELL_COLUMNS, rows, remark)


def _well_row(row: Mapping[str, Any]) -> Sequence[Cell]:
    names = ("compound", "role", "concentration", "unit")
    contents = treatment({name: row.get(f"Metadata_{name.title()}") for name in names})
    effect, viability = row.get("percent_effect"), row.get("viability")
    return (
        figure(row.get("rank")),
        Cell(row["Metadata_Plate"]),
        Cell(row["Metadata_Well"]),
        Cell(marked(contents, row)),
        figure(row.get("Metadata_Object_Count")),
        figure(row.get("readout_value")),
        figure(row.get("readout_z")),
        figure(effect)._replace(text=percent(effect / 100 if defined(effect) else None)),
        figure(row.get("profile_score")),
        figure(viability)._replace(text=percent(viability)),
    )


def marked(text: str, row: Mapping[str, Any], *, href: str = "") -> Markup:
    """A name with what is special about it, and where it leads."""
    role = row.get("Metadata_Role")
    marks = [
        pill("hit", kind="hit") if row.get("is_hit") else "",
        pill("toxic", kind="toxic") if row.get("is_toxic") else "",
        pill(role, kind="role") if role and role != "treatment" else "",
    ]
    name = element("a", text, href=href) if href else text
    return Markup(" ").join([element("strong", name), *(mark for mark in marks if mark)])


def _href(row: Mapping[str, Any], cards: Mapping[str, str]) -> str:
    """A control that is also a compound has no card as a control."""
    card = cards.get(row["Metadata_Compound"] or "")
    is_control = row.get("Metadata_Role") in ("negative", "positive", "empty")
    return f"#{card}" if card and not is_control else ""


def _rank(row: Mapping[str, Any]) -> Cell:
    low, high = row.get("rank_low"), row.get("rank_high")
    between = f"{number(low)} to {number(high)}" if defined(low) and defined(high) else ""
    return figure(row.get("rank"), note=between)


def _row(
    row: Mapping[str, Any], series: Mapping[str, Series], cards: Mapping[str, str]
) -> Sequence[Cell]:
    unit = row.get("Metadata_Unit")
    potency = _ec50(row, unit)
    return (
        _rank(row),
        Cell(marked(row["Metadata_Compound"] or "no name", row, href=_href(row, cards))),
        figure(row.get("score")),
        potency,
        Cell(spark(series.get(row["Metadata_Compound"])), potency.sort),
        _dose(row.get("best_concentration"), unit),
        _hit_wells(row),
        Cell(ARROWS.get(str(row.get("direction")), str(row.get("direction") or ""))),
        Cell(_features(row.get("top_features") or [])),
    )


def _ec50(row: Mapping[str, Any], unit: str | None) -> Cell:
    ec50, status = row.get("ec50"), row.get("curve_status")
    between = interval(row.get("ec50_low"), row.get("ec50_high"))
    unclear = status.replace("_", " ") if status and status != "ok" else ""
    note = ", ".join(part for part in (between, unclear) if part)
    return Cell(quantity(ec50, unit), ec50 if defined(ec50) else None, is_number=True, note=note)


def _dose(value: Number | None, unit: str | None) -> Cell:
    return Cell(quantity(value, unit), value if defined(value) else None, is_number=True)


def _hit_wells(row: Mapping[str, Any]) -> Cell:
    hits = row.get("n_hits")
    text = f"{number(hits)} of {number(row.get('n_wells'))}"
    return Cell(text, hits if defined(hits) else None, is_number=True)


def _features(names: Sequence[str]) -> Markup:
    small = element("span", stacked(breakable(n) for n in names[:MAX_FEATURES]), class_="features")
    rest = len(names) - MAX_FEATURES
    more = element("small", f" and {count(rest, 'more', 'more')}", title="\n".join(names))
    return join([small, more if rest > 0 else ""])
