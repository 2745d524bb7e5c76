"""What follows from the cells of a run, and what can be asked of it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import held, print_table, say
from profiler.cli.words import Out, Sections


class RankBy(StrEnum):
    """What wells are ranked by."""

    readout = "readout"
    profile = "profile"


class Export(StrEnum):
    """What a table can be exported for."""

    anndata = "anndata"
    csv = "csv"
    copairs = "copairs"


class Features(StrEnum):
    """Which columns several runs have together."""

    same = "same"
    common = "common"
    all = "all"


def profile(run: Out, recipe: Sections = "") -> None:
    """Make profiles again from the cells of a RUN, and hits, phenotypes and report from them."""
    from profiler.amend import amend
    from profiler.pipeline import analyse, recipe_of
    from profiler.progress import draw
    from profiler.store.run import read_facts

    with held(run) as home:
        used = amend(recipe_of(home.folder), recipe)
        before = tuple(read_facts(home.folder).summary.get("input", ()))
        draw(analyse(home.folder, recipe=used, notes=before))


def hits(
    run: Out,
    readout: Annotated[str | None, typer.Option(help="Feature to rank by.")] = None,
    timepoint: Annotated[
        int | None, typer.Option(min=1, help="Time point, in a run over time.")
    ] = None,
    rank_by: Annotated[RankBy | None, typer.Option(help="Readout, or whole profile.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, help="Robust z of a hit.")] = None,
    recipe: Sections = "",
) -> None:
    """Rank the wells and compounds of a RUN again, and print the compounds."""
    from profiler.amend import amend
    from profiler.pipeline import make_hits, recipe_of, redo
    from profiler.store.screen import open as open_screen

    asked = {"readout": readout, "rank_by": rank_by and rank_by.value, "threshold": threshold}
    asked["timepoint"] = timepoint
    changes = {name: value for name, value in asked.items() if value is not None}
    with held(run) as home:
        used = amend(recipe_of(home.folder), recipe, sections=("hits",), changes={"hits": changes})
        say(redo(home.folder, make_hits, recipe=used).notes)
        compounds = open_screen(home.folder).compounds.collect()
    print_table(compounds)


def phenotype(run: Out, recipe: Sections = "") -> None:
    """Find clusters, a map, nearest phenotypes and mechanisms among the profiles of a RUN again."""
    from profiler.amend import amend
    from profiler.pipeline import make_phenotypes, recipe_of, redo

    with held(run) as home:
        used = amend(recipe_of(home.folder), recipe, sections=("phenotype",))
        say(redo(home.folder, make_phenotypes, recipe=used).notes)


def report(
    run: Out,
    export: Annotated[
        Export | None, typer.Option(help="Write one table for another program instead.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="File that --export makes.")] = None,
    table: Annotated[
        str, typer.Option(help="Table that --export takes: cells, wells, profiles, hits, ...")
    ] = "profiles",
) -> None:
    """Write the HTML page of a RUN again, or one of its tables for another program."""
    if export:
        from profiler.export import export as write

        if to is None:
            raise typer.BadParameter("--export needs --to FILE")
        written = write(run, to=export.value, path=to, table=table)
        say(written.notes)
        typer.echo(written.path)
        return
    if to is not None or table != "profiles":
        raise typer.BadParameter("--to and --table go with --export; the page is RUN/report.html")
    from profiler.report import write_report

    with held(run) as home:
        page = write_report(home.folder)
    typer.echo(f"{home.name}/{page.name}")


def query(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... SQL",
            help="Run folders or addresses, or a watcher's folder of runs; then one SELECT, in "
            "quotes.",
        ),
    ],
    features: Annotated[
        Features, typer.Option(help="What to do with runs of different columns.")
    ] = Features.same,
    repeated_plates: Annotated[
        bool, typer.Option("--repeated-plates", help="A plate may be in several runs.")
    ] = False,
) -> None:
    """Ask the tables of one or more RUNs a question in SQL; the answer is CSV on stdout."""
    from profiler.store.query import query as ask
    from profiler.store.screen import open as open_screen
    from profiler.watch.nights import with_index

    *folders, sql = runs
    if not folders:
        raise typer.BadParameter("expected one or more run folders, then an SQL statement")
    folders, beside = with_index(folders)
    screen = open_screen(folders, features=features.value, repeated_plates=repeated_plates)
    print_table(ask(screen, sql, beside=beside))
