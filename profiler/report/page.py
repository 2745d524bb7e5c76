"""One self-contained HTML page per run."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from profiler.report.doses import all_series, curve_section
from profiler.report.facts import fact_groups
from profiler.report.gallery import gallery
from profiler.report.maps import map_section
from profiler.report.quality import quality, statistics_table
from profiler.report.ranking import compound_table, hit_table, ranked
from profiler.report.run import Run, read_run
from profiler.report.verdict import tiles, verdict
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

    The page holds everything it shows: it opens without a network and can be mailed.
    Tables that are not there are named with the command that makes them.

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
    for name in ("style.css", "sort.js"):
        key = name.replace(".", "_")
        environment.globals[key] = Markup((TEMPLATES / name).read_text(encoding="utf-8"))
    return environment


def _context(run: Run) -> Mapping[str, Any]:
    wells = well_table(run)
    compounds = run.table("compounds")
    statistics = run.table("statistics")
    hits = run.table("hits")
    series = all_series(run, wells)
    return {
        "name": run.folder.resolve().name,
        "plates": wells["plate"].unique().sort().to_list(),
        "readout": run.readout,
        "verdict": verdict(run, wells),
        "tiles": tiles(run, wells),
        "compounds": None if compounds is None else compound_table(compounds, series=series),
        "hits": None if hits is None else hit_table(hits),
        "curves": curve_section(run, wells, series, order=_order(compounds)),
        "maps": map_section(run, wells),
        "gallery": gallery(run, wells),
        "statistics": statistics
        if statistics is None
        else statistics_table(statistics, readout=run.readout),
        "quality": quality(run, wells),
        "facts": fact_groups(run.facts),
        "absences": _absences(run),
    }


def _order(compounds: pl.DataFrame | None) -> list[str]:
    return [] if compounds is None else ranked(compounds)["Metadata_Compound"].to_list()


def _absences(run: Run) -> dict[str, Absence]:
    """What to say in place of each table that is absent or empty."""
    names = ("fields", "wells", "statistics", "curves", "hits", "compounds")
    return {
        name: Absence(run.absence(name), "" if name in run.tables else run.command(name))
        for name in names
        if run.table(name) is None
    }
