"""Command line: parse, call one function, draw. No science here."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
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
train = typer.Typer(no_args_is_help=True, help="Train networks on your own labels.")
app.add_typer(train, name="train")

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
    _talk(f"Open {folder / show.RUN / 'report.html'} in a browser.")


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
    layout: Annotated[
        Path | None, typer.Option(help="Plate map: CSV or TSV, or a folder by barcode.")
    ] = None,
    compounds: Annotated[
        Path | None, typer.Option(help="What is known of the compounds: CSV or TSV.")
    ] = None,
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
        compounds=compounds,
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
    diameter: Annotated[
        str, typer.Option(help="Width of nuclei in pixels, auto (estimated) or as-is.")
    ] = "auto",
) -> None:
    """Find nuclei in every image of a FOLDER, and write one label TIFF for each."""
    from profiler.images import segment_folder
    from profiler.progress import draw_images

    wide = {"auto": "auto", "as-is": None}.get(diameter, diameter)
    try:
        wide = wide if wide in ("auto", None) else float(wide)
    except ValueError:
        raise typer.BadParameter(f"--diameter {diameter}: a number, auto or as-is") from None
    done = segment_folder(folder, out, model=model, min_area_px=min_area, diameter_px=wide)
    draw_images(done, out=out)


@app.command()
def evaluate(
    found: Annotated[Path, typer.Argument(help="Label images that were made.")],
    truth: Annotated[Path, typer.Argument(help="True label images of the same names.")],
    specks: Annotated[
        int, typer.Option(min=0, help="Objects of fewer pixels are dropped on both sides.")
    ] = 25,
    images: Annotated[bool, typer.Option("--images", help="One row per image.")] = False,
) -> None:
    """Judge label images by the truth: AP, F1, PQ, splits, merges, with 95% intervals, as CSV."""
    from profiler.segment.evaluation.folders import evaluate as judge

    judged = judge(found, truth, speck_px=specks)
    _say(judged.notes)
    _print_table(judged.images if images else judged.scores)


@train.command()
def segmenter(
    data: Annotated[Path, typer.Argument(help="Folder with images/ and labels/.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Network to write, .safetensors.")],
    start: Annotated[str | None, typer.Option("--from", help="Model to go on from.")] = None,
    ignore: Annotated[int | None, typer.Option(help="Label of pixels nobody looked at.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches to learn from.")] = 2000,
    freeze: Annotated[
        int, typer.Option(min=0, help="With --from: steps before the encoder learns.")
    ] = 200,
    rate: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 1e-3,
    half: Annotated[bool, typer.Option("--bfloat16", help="Half precision, for GPUs.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same network.")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove an earlier network first.")
    ] = False,
) -> None:
    """Train a nuclei network on DATA; an interrupted run goes on when started again."""
    from profiler.progress import draw_training
    from profiler.segment.training.step import Schedule
    from profiler.segment.training.trainer import TrainRequest, train_segmenter

    frozen = freeze if start else 0
    schedule = Schedule(steps=steps, learning_rate=rate, frozen=frozen, bfloat16=half)
    request = TrainRequest(data, out, start, ignore, schedule=schedule, seed=seed, replace=replace)
    draw_training(train_segmenter(request))


@app.command()
def profile(run: Out) -> None:
    """Make well profiles again from the cells of a RUN; `hits` and `phenotype` follow."""
    from profiler.pipeline import make_profiles, redo

    with _held(run):
        _say(redo(run, make_profiles).notes)


@app.command()
def hits(
    run: Out,
    readout: Annotated[str | None, typer.Option(help="Feature to rank by.")] = None,
    rank_by: Annotated[RankBy | None, typer.Option(help="Readout, or whole profile.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, help="Robust z of a hit.")] = None,
) -> None:
    """Rank the wells and compounds of a RUN again, and print the compounds."""
    from profiler.pipeline import make_hits, redo
    from profiler.store.screen import open as open_screen

    asked = {"readout": readout, "rank_by": rank_by and rank_by.value, "threshold": threshold}
    changes = {name: value for name, value in asked.items() if value is not None}
    with _held(run):
        _say(redo(run, partial(make_hits, changes=changes)).notes)
    _print_table(open_screen(run).compounds.collect())


@app.command()
def phenotype(run: Out) -> None:
    """Find clusters, a map, nearest phenotypes and mechanisms among the profiles of a RUN again."""
    from profiler.pipeline import make_phenotypes, redo

    with _held(run):
        _say(redo(run, make_phenotypes).notes)


@app.command()
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
        _say(written.notes)
        typer.echo(written.path)
        return
    if to is not None or table != "profiles":
        raise typer.BadParameter("--to and --table go with --export; the page is RUN/report.html")
    from profiler.report import write_report

    with _held(run):
        typer.echo(write_report(run))


@app.command()
def query(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN... SQL", help="Run folders, then one SELECT, in quotes."),
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

    *folders, sql = runs
    if not folders:
        raise typer.BadParameter("expected one or more run folders, then an SQL statement")
    screen = open_screen(folders, features=features.value, repeated_plates=repeated_plates)
    _print_table(ask(screen, sql))


class Store(StrEnum):
    """What a plate can be written as."""

    ome_zarr = "ome-zarr"
    ome_zarr_04 = "ome-zarr-0.4"
    hdf5 = "hdf5"


@app.command()
def convert(
    plate: Annotated[str, typer.Argument(help="Plate folder, index file or fsspec address.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Store to make.")],
    to: Annotated[Store, typer.Option(help="Its format.")] = Store.ome_zarr,
) -> None:
    """Write a PLATE anew as OME-Zarr (extra `zarr`) or HDF5; stdout lists the planes lost."""
    from plates.convert import convert as events

    for event in events(plate, out, to=to.value):
        for lost in event.unread:
            typer.echo(f"{event.key.well} site {event.key.site} {lost.channel}: {lost.message}")
    _talk(f"Written: {out}.")


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

    lists = [name for name, kind in table.schema.items() if isinstance(kind, pl.List)]
    words = pl.col(lists).cast(pl.List(pl.String)).list.join(" ")
    typer.echo(table.with_columns(words).write_csv(), nl=False)


if __name__ == "__main__":
    main()
