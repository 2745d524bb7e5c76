"""Command line: parse, call one function, draw. No science here."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from plates.errors import ProfilingError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="From a night's screening plates to ranked hits.",
)

Out = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as made by `run`.")]
Plates = Annotated[
    list[Path], typer.Argument(metavar="PLATE...", help="Plate folders or LoadData CSVs.")
]
RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="Built-in recipe, or a .toml file.")
]


class RankBy(StrEnum):
    """What wells are ranked by."""

    readout = "readout"
    profile = "profile"


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to make it.")] = Path("demo"),
) -> None:
    """Make a synthetic 96-well plate with planted hits, and find them."""
    from profiler import demo as show
    from profiler.progress import draw

    truth = show.make_plate(folder)
    draw(show.run(folder))
    typer.echo(show.compare(folder, truth))
    _talk(f"Open {folder / 'report.html'} in a browser.")


@app.command()
def scan(plates: Plates, recipe: RecipeName = "", planes: bool = False) -> None:
    """Say what is in PLATE folders, without computing anything; --planes lists every file."""
    from profiler import overview

    table = overview.planes(plates, recipe=recipe or None)
    typer.echo(table.write_csv() if planes else overview.describe(table), nl=not planes)


@app.command()
def run(
    plates: Plates,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to make or go on with.")],
    recipe: RecipeName,
    layout: Annotated[Path | None, typer.Option(help="Plate map: CSV or TSV.")] = None,
    wells: Annotated[str, typer.Option(help="Only these wells: A01,B02,...")] = "",
    save_labels: Annotated[bool, typer.Option("--save-labels", help="Keep label images.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove an earlier run first.")
    ] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="Fields computed together.")] = None,
) -> None:
    """Segment and measure PLATEs, then profile, rank and report; finished wells are kept."""
    from profiler.pipeline import run as events
    from profiler.progress import draw
    from profiler.recipe import load_recipe
    from profiler.request import Request

    chosen = tuple(filter(None, (well.strip() for well in wells.split(","))))
    request = Request(
        plates=tuple(plates),
        out=out,
        recipe=load_recipe(recipe),
        layout=layout,
        wells=chosen,
        save_labels=save_labels,
        replace=replace,
        batch=batch,
    )
    try:
        draw(events(request))
    except KeyboardInterrupt:
        _talk("Interrupted. Finished wells are kept; the same command goes on from there.")
        raise typer.Exit(130) from None


@app.command()
def segment(
    folder: Annotated[Path, typer.Argument(help="Images, one plane each.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the label TIFFs.")],
    model: Annotated[str, typer.Option(help="Shipped model, or a .safetensors file.")] = "nuclei",
    min_area: Annotated[int, typer.Option(min=1, help="Smallest nucleus, in pixels.")] = 25,
) -> None:
    """Find nuclei in every image of a FOLDER, and write one label TIFF for each."""
    from profiler.images import segment_folder
    from profiler.progress import draw_images

    draw_images(segment_folder(folder, out, model=model, min_area_px=min_area), out=out)


@app.command()
def profile(run: Out) -> None:
    """Make well profiles again from the cells of a RUN."""
    from profiler.pipeline import make_profiles

    with _held(run):
        _say(make_profiles(run).notes)


@app.command()
def hits(
    run: Out,
    readout: Annotated[str | None, typer.Option(help="Feature to rank by.")] = None,
    rank_by: Annotated[RankBy | None, typer.Option(help="Readout, or whole profile.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, help="Robust z of a hit.")] = None,
) -> None:
    """Rank the wells and compounds of a RUN again, and print the compounds."""
    from profiler.pipeline import make_hits
    from profiler.store.screen import open as open_screen

    asked = {"readout": readout, "rank_by": rank_by and rank_by.value, "threshold": threshold}
    with _held(run):
        _say(make_hits(run, changes={k: v for k, v in asked.items() if v is not None}).notes)
    _print_table(open_screen(run).compounds.collect())


@app.command()
def report(run: Out) -> None:
    """Write the HTML page of a RUN again, and print where it is."""
    from profiler.report import write_report

    with _held(run):
        typer.echo(write_report(run))


@app.command()
def query(runs: Annotated[list[str], typer.Argument(metavar="RUN... SQL")]) -> None:
    """Ask the tables of one or more RUNs a question in SQL; the answer is CSV on stdout."""
    from profiler.store.query import query as ask
    from profiler.store.screen import open as open_screen

    *folders, sql = runs
    if not folders:
        raise typer.BadParameter("expected one or more run folders, then an SQL statement")
    _print_table(ask(open_screen(folders), sql))


@app.command()
def readers() -> None:
    """List the folder layouts that can be read."""
    from plates.readers import READERS

    typer.echo("\n".join(f"{name:12} {reader.needs}" for name, reader in READERS.items()))


@app.command()
def recipes() -> None:
    """List the built-in recipes."""
    from profiler.recipe import RECIPES, load_recipe

    typer.echo("\n".join(f"{name:16} {load_recipe(name).description}" for name in RECIPES))


@app.command()
def models() -> None:
    """List the networks that ship, with what they were trained on and their scores."""
    from profiler.models import describe

    typer.echo(describe())


@app.command()
def doctor() -> None:
    """Check this machine: versions, device, caches, and known faults."""
    from profiler.doctor import examine

    findings = list(examine())
    for finding in findings:
        typer.echo(f"{'ok ' if finding.is_fine else 'BAD'} {finding.name}: {finding.text}")
    raise typer.Exit(0 if all(finding.is_fine for finding in findings) else 1)


def main() -> None:
    """Run, showing fixable errors as one message."""
    try:
        app()
    except ProfilingError as error:
        sys.exit(f"profiler: {error}")


@contextmanager
def _held(run: Path) -> Iterator[None]:
    """Keep other commands out of a run folder, having checked that it is one."""
    from profiler.store.lock import locked
    from profiler.store.run import read_facts

    read_facts(run)
    with locked(run):
        yield


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        _talk(note)


def _talk(text: str) -> None:
    typer.echo(text, err=True)


def _print_table(table) -> None:
    """Print a polars frame in full as CSV; lists become words."""
    import polars as pl

    lists = [name for name, kind in table.schema.items() if kind == pl.List(pl.String)]
    typer.echo(table.with_columns(pl.col(lists).list.join(" ")).write_csv(), nl=False)


if __name__ == "__main__":
    main()
