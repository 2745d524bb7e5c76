"""One self-contained HTML page per run."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from profiler.report.columns import page_columns
from profiler.report.montage import montages
from profiler.report.run import SHOWN, Run, read_run, table_file
from profiler.report.script import script_data
from profiler.report.sections.cards import card_ids, card_section
from profiler.report.sections.clusters import cluster_table
from profiler.report.sections.consensus import consensus_figure
from profiler.report.sections.doses import Series, all_series, curve_section
from profiler.report.sections.drift import drift_section
from profiler.report.sections.embedding import embedding, is_mapped
from profiler.report.sections.explained import explained_section
from profiler.report.sections.facts import fact_groups
from profiler.report.sections.fields import field_section
from profiler.report.sections.gallery import gallery
from profiler.report.sections.illumination import illumination_section
from profiler.report.sections.kinds import kind_table
from profiler.report.sections.maps import drawn_plates, map_section, on_page
from profiler.report.sections.mechanisms import accuracy_table, consistency_table
from profiler.report.sections.quality import quality, statistics_table
from profiler.report.sections.ranking import compound_table, hit_table, ranked
from profiler.report.sections.replicates import replicate_figures
from profiler.report.sections.verdict import tiles, verdict
from profiler.report.sections.volcano import volcano
from profiler.report.tables import Table
from profiler.report.wells import well_table
from profiler.store.atomic import replacing

REPORT = "report.html"
TEMPLATES = Path(__file__).parent / "templates"


class Absence(NamedTuple):
    """Why a section is empty, and the command that fills it."""

    reason: str
    command: str


def write_report(run: Path) -> Path:
    """Write the page of a run from its tables alone.

    The page holds everything it shows: it opens without a network and can be mailed; only the
    links to the Parquet files need the run folder beside it. Tables that are not there are named
    with the command that makes them. However large the screen, the page stays below 16 MB: plates
    beyond 12,000 wells and points beyond 5,000 are counted, not drawn, and the page says so.

    Args:
        run: Run folder.

    Returns:
        `report.html` in the run folder; an older one is replaced.

    Raises:
        BadRun: The folder is absent or no run folder, a file in it is cut short, or the
            page cannot be written.
    """
    page = render(read_run(run))
    path = run / REPORT
    with replacing(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return path


def render(run: Run) -> str:
    """Lay out the page of a run as HTML text."""
    return _environment().get_template("report.html.jinja").render(_context(run))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("profiler.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Our own files, not a user's text: they go into the page as they are.
    for name in ("style.css", "report.js"):
        key = name.replace(".", "_")
        environment.globals[key] = Markup((TEMPLATES / name).read_text(encoding="utf-8"))
    return environment


def _context(run: Run) -> Mapping[str, Any]:
    table = well_table(run)
    plates = drawn_plates(table) if table.height else []
    wells = on_page(table, plates=plates, points=is_mapped(run, table))
    columns = page_columns(run, wells)
    cards, series = card_ids(run), all_series(run, wells)
    sheets = montages(run, wells, plates=plates)
    about = {
        "name": run.folder.resolve().name,
        "plates": wells["plate"].unique().sort().to_list(),
        "readout": run.readout,
        "verdict": verdict(run, wells),
        "tiles": tiles(run, wells),
        "facts": fact_groups(run.facts),
        "files": [table_file(name) for name in run.tables],
        "absences": _absences(run),
        "data": script_data(wells, columns, cards=cards),
    }
    return about | {
        **_tables(run, series, cards),
        "cards": card_section(run, wells, series),
        "explained": explained_section(run),
        "maps": map_section(wells, columns, montages=sheets),
        "drift": drift_section(run, wells),
        "replicates": replicate_figures(run, wells),
        "volcano": volcano(run, wells, cards=cards),
        "embedding": embedding(run, wells, columns),
        "consensus": consensus_figure(run),
        "kinds": kind_table(run, wells),
        "curves": curve_section(run, wells, series, order=_order(run), elsewhere=cards),
        "gallery": gallery(run, wells),
        "quality": quality(run, wells),
        "judged": field_section(run),
        "illumination": illumination_section(run),
    }


def _tables(
    run: Run, series: Mapping[str, Series], cards: Mapping[str, str]
) -> dict[str, Table | None]:
    """Sections that are a table each; None where the run has none."""
    compounds, hits, statistics = (run.table(n) for n in ("compounds", "hits", "statistics"))
    return {
        "compounds": None
        if compounds is None
        else compound_table(compounds, series=series, cards=cards),
        "hits": None if hits is None else hit_table(hits),
        "statistics": None
        if statistics is None
        else statistics_table(statistics, readout=run.readout),
        "clusters": cluster_table(run),
        "accuracy": accuracy_table(run),
        "consistency": consistency_table(run),
    }


def _order(run: Run) -> list[str]:
    compounds = run.table("compounds")
    return [] if compounds is None else ranked(compounds)["Metadata_Compound"].to_list()


def _absences(run: Run) -> dict[str, Absence]:
    """What to say in place of each table that is absent or empty."""
    return {
        name: Absence(run.absence(name), run.command(name))
        for name in SHOWN
        if run.table(name) is None
    }
