"""A plate, or a night of them, from images to ranked hits."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import talk
from profiler.cli.words import Batch, Compounds, Layout, Plates, RecipeName, SaveLabels
from profiler.interrupt import heeding, stop_signals


class Where(StrEnum):
    """Where cells are computed."""

    local = "local"
    ray = "ray"


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to make it.")] = Path("demo"),
) -> None:
    """Make a synthetic 96-well plate with planted hits, and find them."""
    from profiler import demo as show
    from profiler.progress import draw

    truth = show.make_plate(folder)
    draw(show.run(folder))
    typer.echo(show.compare(folder, truth))
    talk(f"Open {folder / show.RUN / 'report.html'} in a browser.")


def run(
    plates: Plates,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Run folder to make or go on with, or s3://bucket/run."),
    ],
    recipe: RecipeName,
    layout: Layout = None,
    compounds: Compounds = None,
    wells: Annotated[str, typer.Option(help="Only these wells: A01,B02,...")] = "",
    save_labels: SaveLabels = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove an earlier run first.")
    ] = False,
    batch: Batch = None,
    trace: Annotated[
        bool, typer.Option("--profile", help="Write a trace and a table of where the time goes.")
    ] = False,
    executor: Annotated[
        Where, typer.Option(help="Compute in this process, or on a Ray cluster (extra `ray`).")
    ] = Where.local,
    address: Annotated[
        str | None, typer.Option(help="host:port of the Ray cluster, or auto; else this machine.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Ray workers; by default one a GPU, else one a core.")
    ] = None,
) -> None:
    """Segment and measure PLATEs, then profile, rank and report; finished wells are kept."""
    from profiler.pipeline import run as events
    from profiler.progress import draw
    from profiler.recipe import load_recipe
    from profiler.request import Cluster, Request

    if executor is Where.local and (address or workers):
        raise typer.BadParameter("--address and --workers go with --executor ray")
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
        profile=trace,
        cluster=Cluster(address, workers) if executor is Where.ray else None,
    )
    with stop_signals(at_once=True) as sign:
        try:
            draw(heeding(events(request), sign))
        except KeyboardInterrupt:
            talk("Interrupted. Finished wells are kept; the same command goes on from there.")
            raise typer.Exit(sign.exit_code) from None
