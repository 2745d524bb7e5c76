"""Why a network sets a treatment apart."""

from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import held, talk
from profiler.cli.words import Out


def explain(
    run: Out,
    compound: Annotated[str | None, typer.Option(help="As in the plate map.")] = None,
    cells_from: Annotated[
        Path | None, typer.Option("--cells-from", help="CSV of cells to explain instead.")
    ] = None,
    concentration: Annotated[
        float | None, typer.Option(help="Which dose; by default the one that speaks most.")
    ] = None,
    timepoint: Annotated[
        int | None, typer.Option(min=1, help="Time point, in a run over time.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Encoder to explain; by default the run's own.")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(min=0, help="Micrometres a pixel, where the encoder asks.")
    ] = None,
    cells: Annotated[int, typer.Option(min=1, help="How many treated cells to show.")] = 12,
    seed: Annotated[int, typer.Option(help="Decides which cells are looked at.")] = 0,
) -> None:
    """Show by which pixels, stains and features a network tells a compound's cells of a RUN."""
    from profiler.explain import Read, Told, Wanted, Written
    from profiler.explain import explain as events

    asked = (compound, cells_from, concentration, timepoint, model, pixel_size, cells, seed)
    with held(run) as home:
        for event in events(home.folder, Wanted(*asked)):
            match event:
                case Read():
                    field = f"{event.field.plate} {event.field.well} site {event.field.site}"
                    talk(f"Read {event.number} of {event.fields} fields {event.why}: {field}")
                case Told():
                    talk(event.sentence)
                case Written():
                    for sheet in event.sheets:
                        typer.echo(sheet)
                    talk(f"Show it in the report with: profiler report {home.name}")
        home.push()
