"""Effect against significance: which treatments do something, and how much."""

import math
from collections.abc import Mapping

import polars as pl

from profiler.report.draw.palette import OKABE_ITO, OTHER, Look
from profiler.report.draw.scatter import Point, Threshold, scatter
from profiler.report.figure import Figure
from profiler.report.numbers import number
from profiler.report.run import Run, table_file
from profiler.report.wells import treatment

Q = 0.05
LEAST_P = 1e-16
MAX_POINTS = 3_000
ACTIVE, POSITIVE, INACTIVE = Look(OKABE_ITO[0]), Look(OKABE_ITO[1]), Look(OTHER, is_ring=True)
KEY = {
    "Metadata_Compound": "compound",
    "Metadata_Role": "role",
    "Metadata_Concentration": "concentration",
    "Metadata_Unit": "unit",
}
EFFECTS = {"z": "Median robust z of the readout", "score": "Median profile score"}


def volcano(run: Run, wells: pl.DataFrame, *, cards: Mapping[str, str]) -> Figure | None:
    """Draw every treatment of activity.parquet that has a q-value and an effect.

    Args:
        run: Whose activity is drawn.
        wells: From `well_table`, for the effect: the readout's, else the profile's.
        cards: Compounds with a card, whose points lead there.

    Returns:
        None without activity, or where none of its treatments has an effect.
    """
    name = next((c for c in EFFECTS if wells[c].is_not_null().any()), None)
    activity = run.table("activity")
    if activity is None or name is None:
        return None
    points = treatment_effects(activity, wells, column=name)
    if not points.height:
        return None
    shown = points.sort("q_value", maintain_order=True).head(MAX_POINTS)
    thresholds = [Threshold("y", -math.log10(Q), f"q = {Q}"), Threshold("x", 0.0)]
    n, tested = points.filter(pl.col("q_value") <= Q).height, points.height
    words = (
        f"{n:,} of {tested:,} treatments are active (q at most {Q}, filled; positive controls "
        "are orange): the profiles of their replicates are more alike than chance. Up is surer, "
        "left and right is stronger."
    )
    svg = scatter(
        [_point(row, cards) for row in shown.iter_rows(named=True)],
        x_label=EFFECTS[name],
        y_label="−log10 q of the mean average precision",
        label=f"Volcano plot: {words}",
        thresholds=thresholds,
    )
    few = shown.height < tested
    remark = f"The {shown.height:,} surest of {tested:,} treatments are drawn." if few else ""
    sources = [table_file("activity"), table_file("hits")]
    return Figure("Effect and significance", svg, words, sources, remark)


def treatment_effects(activity: pl.DataFrame, wells: pl.DataFrame, *, column: str) -> pl.DataFrame:
    """Join the median effect of its wells to every tested treatment.

    Args:
        activity: From activity.parquet; its rows tell apart what its columns of `KEY` do.
        wells: From `well_table`.
        column: Of the wells, whose median is the effect.

    Returns:
        Rows of activity that have a q-value and wells with an effect, with `effect`,
        `compound`, `role`, `concentration` and `unit`.
    """
    key = [name for name in KEY if name in activity.columns]
    renamed = activity.rename({name: KEY[name] for name in key})
    by = [KEY[name] for name in key]
    others = [name for name in KEY.values() if name not in by]
    effects = wells.group_by(by).agg(
        pl.col(column).median().alias("effect"), pl.col(others).drop_nulls().first()
    )
    tested = renamed.filter(pl.col("q_value").is_not_null())
    joined = tested.join(effects, on=by, nulls_equal=True, maintain_order="left")
    return joined.filter(pl.col("effect").is_finite())


def _point(row: Mapping, cards: Mapping[str, str]) -> Point:
    about = (
        f"effect {number(row['effect'])}",
        f"mean average precision {number(row['mean_average_precision'])}",
        f"p {number(row['p_value'])}",
        f"q {number(row['q_value'])}",
    )
    look = INACTIVE if row["q_value"] > Q else POSITIVE if row["role"] == "positive" else ACTIVE
    card = cards.get(row["compound"] or "")
    return Point(
        row["effect"],
        -math.log10(max(row["q_value"], LEAST_P)),
        f"{treatment(row)}: {', '.join(about)}",
        look,
        href=f"#{card}" if card else "",
    )
