"""Plates that come by themselves: one line per event, and an exit code that says how it went."""

import time
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.words import Batch, Compounds, Layout, RecipeName, SaveLabels
from profiler.interrupt import stop_signals

SOME_FAILED = 3
MINUTE = 60.0


def watch(
    inbox: Annotated[Path, typer.Argument(metavar="INBOX", help="Folder that plates are put in.")],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the run folders, or s3://bucket/runs.")
    ],
    recipe: RecipeName,
    layout: Layout = None,
    compounds: Compounds = None,
    plates: Annotated[str, typer.Option(help="Which entries of INBOX are plates.")] = "*",
    manifest: Annotated[
        str | None, typer.Option(help="Take a plate only when it has a file of this name.")
    ] = None,
    quiet: Annotated[
        float, typer.Option(min=0, help="Else, minutes without a new or growing file.")
    ] = 10.0,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 30.0,
    tries: Annotated[int, typer.Option(min=1, help="Attempts at a plate that fails.")] = 3,
    pause: Annotated[float, typer.Option(min=0, help="Minutes before the next attempt.")] = 10.0,
    again: Annotated[bool, typer.Option("--again", help="Try what was given up again.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Run what is complete, and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Events as JSON lines on stdout.")] = False,
    save_labels: SaveLabels = False,
    batch: Batch = None,
    address: Annotated[
        str | None, typer.Option(help="Compute on the Ray cluster at host:port, or auto.")
    ] = None,
) -> None:
    """Run each plate in INBOX once it is complete, until stopped; exit 3 if any failed."""
    from profiler.pipeline import run
    from profiler.recipe import load_recipe
    from profiler.request import Cluster, Request
    from profiler.watch.log import as_json, as_text
    from profiler.watch.loop import watch as events
    from profiler.watch.settings import Clock, Watch
    from profiler.watch.status import utc

    settings = Watch(
        inbox,
        out,
        pattern=plates,
        manifest=manifest,
        quiet_s=quiet * MINUTE,
        poll_s=poll,
        tries=tries,
        pause_s=pause * MINUTE,
        again=again,
        once=once,
    )
    request = Request(
        plates=(),
        out=out,
        recipe=load_recipe(recipe),
        layout=layout,
        compounds=compounds,
        save_labels=save_labels,
        batch=batch,
        cluster=Cluster(address) if address else None,
    )
    with stop_signals(at_once=False) as sign:
        clock = Clock(time.time, sign.sleep, sign.is_set)
        failed = 0
        try:
            for event in events(settings, request, run=run, clock=clock):
                failed = getattr(event, "failed", failed)
                as_line = as_json if json else as_text
                typer.echo(as_line(event, time=utc(time.time())), err=not json)
        except KeyboardInterrupt:  # the second signal: whatever runs is cut off, and made again
            raise typer.Exit(sign.exit_code) from None
    if sign.is_set():
        raise typer.Exit(sign.exit_code)
    raise typer.Exit(SOME_FAILED if failed else 0)
