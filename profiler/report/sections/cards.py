"""One card per hit: its place with its interval, what speaks for it, its curve and its cells."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from profiler.report.draw.svg import Markup
from profiler.report.examples import Choose, Strip, example_cells, typical_cells
from profiler.report.numbers import defined, number, quantity
from profiler.report.run import Run, table_file
from profiler.report.sections.doses import CurveCard, Series, control_bands, curve_card
from profiler.report.sections.evidence import Evidence, evidence, phenotype
from profiler.report.sections.ranking import marked, ranked
from profiler.report.tables import breakable, left_out
from profiler.report.wells import IS_TREATED

MAX_CARDS = 24
MAX_FEATURES = 5


class Feature(NamedTuple):
    """A feature that moved, by how many robust sds, and its bar's share of the longest."""

    name: Markup
    z: str
    share: float
    is_up: bool


class Card(NamedTuple):
    """One compound."""

    id: str
    compound: str
    rank: str
    title: Markup
    evidence: Sequence[Evidence]
    features: Sequence[Feature]
    curve: CurveCard | None
    treated: Strip | None
    control: Strip | None


class CardSection(NamedTuple):
    """All cards.

    Attributes:
        cards: The best first.
        remark: What was left out.
        sources: Files that the cards show.
    """

    cards: Sequence[Card]
    remark: str
    sources: Sequence[str]


def carded(run: Run) -> pl.DataFrame:
    """The compounds that are hits, by rank, without controls."""
    compounds = run.table("compounds")
    if compounds is None:
        return pl.DataFrame(schema={"Metadata_Compound": pl.String})
    tested = compounds.filter(pl.col("Metadata_Compound").is_not_null())
    if "Metadata_Role" in tested.columns:
        is_control = pl.col("Metadata_Role").is_in(["negative", "positive", "empty"])
        tested = tested.filter(~is_control.fill_null(value=False))
    hits = tested.filter("is_hit") if "is_hit" in tested.columns else tested.clear()
    return ranked(hits).unique("Metadata_Compound", keep="first", maintain_order=True)


def card_ids(run: Run) -> dict[str, str]:
    """Compounds with a card, and the id of the card on the page."""
    names = carded(run)["Metadata_Compound"].head(MAX_CARDS)
    return {name: f"card-{i}" for i, name in enumerate(names, start=1)}


def card_section(
    run: Run,
    wells: pl.DataFrame,
    series: Mapping[str, Series],
    *,
    choose: Choose = typical_cells,
) -> CardSection:
    """Make the cards, at most `MAX_CARDS`.

    Args:
        run: With compounds.parquet; each other table adds what it knows.
        wells: From `well_table`.
        series: From `all_series`, for the curves.
        choose: As for `example_cells`.
    """
    chosen, ids = carded(run), card_ids(run)
    source = _Source(run, wells, choose)
    rows = chosen.head(MAX_CARDS).iter_rows(named=True)
    cards = [
        _card(row, ids[row["Metadata_Compound"]], source, series.get(row["Metadata_Compound"]))
        for row in rows
    ]
    remark = left_out(chosen.height, len(cards), what="hits", where=table_file("compounds"))
    tables = ("compounds", "curves", "map", "neighbours", "mechanisms")
    sources = [table_file(name) for name in tables if run.table(name) is not None]
    return CardSection(cards, remark, sources)


class _Source(NamedTuple):
    """What every card draws on."""

    run: Run
    wells: pl.DataFrame
    choose: Choose

    def cells(self, wells: pl.DataFrame, features: Sequence[str], what: str) -> Strip | None:
        """Cells of some wells."""
        return example_cells(self.run, wells, features=features, what=what, choose=self.choose)


def _card(row: Mapping[str, Any], id_: str, source: _Source, series: Series | None) -> Card:
    run, wells, _ = source
    name = row["Metadata_Compound"]
    best = best_wells(wells, row)
    features = [str(feature) for feature in row.get("top_features") or []] or run.vectors()
    on_its_plates = pl.col("plate").is_in(best["plate"].unique().to_list())
    controls = wells.filter(pl.col("role") == "negative", on_its_plates)
    dose = row.get("best_concentration")
    what = f"{name} {quantity(dose, row.get('Metadata_Unit'))}" if defined(dose) else name
    return Card(
        id_,
        name,
        number(row.get("rank")),
        marked(name, row),
        [*evidence(row), *phenotype(run, wells, row)],
        moved_features(row),
        series and curve_card(series, control_bands(wells), run=run),
        source.cells(best, features, what),
        source.cells(controls, features, "Negative controls"),
    )


def best_wells(wells: pl.DataFrame, row: Mapping[str, Any]) -> pl.DataFrame:
    """The wells of a compound at its best dose, the most typical of its effect first.

    Args:
        wells: From `well_table`.
        row: Of compounds.parquet.
    """
    own = wells.filter(IS_TREATED & (pl.col("compound") == row["Metadata_Compound"]))
    dose = row.get("best_concentration")
    at_best = own.filter(pl.col("concentration") == dose) if defined(dose) else own
    away = (pl.col("response") - pl.col("response").median()).abs()
    return at_best.sort(away, "plate", "well", nulls_last=True)


def moved_features(row: Mapping[str, Any]) -> list[Feature]:
    """The features that drive the effect, the strongest first; without sizes only names."""
    names = list(row.get("top_features") or [])[:MAX_FEATURES]
    sizes = list(row.get("top_z") or [])[:MAX_FEATURES]
    if len(sizes) < len(names):
        return [Feature(breakable(name), "", 0.0, is_up=True) for name in names]
    longest = max((abs(z) for z in sizes), default=1.0) or 1.0
    return [
        Feature(breakable(name), number(z), abs(z) / longest, z > 0)
        for name, z in zip(names, sizes, strict=True)
    ]
