"""Why a network sets a treatment or a class apart."""

from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import held, say, talk
from profiler.cli.words import Out


def explain(
    run: Out,
    compound: Annotated[str | None, typer.Option(help="As in the plate map.")] = None,
    cells_from: Annotated[
        Path | None,
        typer.Option("--cells-from", help="CSV or Parquet of cells to explain instead."),
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
        float | None, typer.Option(help="Micrometres a pixel, where the encoder asks.")
    ] = None,
    cells: Annotated[int, typer.Option(min=1, help="How many treated cells to show.")] = 12,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Of --classifier: explain its cells instead.")
    ] = None,
    classifier: Annotated[
        Path | None, typer.Option(help="That the run was classified with, .safetensors.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labelled cells, to show the nearest beside each.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Of --labels, which holds the label.")] = None,
) -> None:
    """Show by which pixels, stains and features a network tells a compound's or a class's cells."""
    from profiler.classify.content import follow
    from profiler.classify.evidence import class_evidence
    from profiler.classify.labels import read_labels
    from profiler.classify.model import read_model
    from profiler.explain import Read, Told, Wanted, Written, read_listed
    from profiler.explain import explain as events
    from profiler.explain.listed import KIND as LISTED
    from profiler.store.screen import open as open_screen

    if (class_name is None) != (classifier is None):
        raise typer.BadParameter("A class is one of a classifier: give --class and --classifier.")
    if column is not None and labels is None:
        raise typer.BadParameter("--column is one of a label table: give --labels, too.")
    known_cells = read_labels(labels, column=column) if labels else None
    with held(run) as home:
        screen, listed = open_screen(home.folder), None
        if cells_from:
            listed = read_listed(screen, cells_from, timepoint=timepoint)
            followed = follow(listed.cells, listed.noted, screen, kind=LISTED)
            listed = listed._replace(cells=followed.cells, told=followed.told)
        if known_cells:
            followed = follow(known_cells.cells, known_cells.noted, screen)
            known_cells = known_cells._replace(cells=followed.cells)
            say(followed.told)
        given = None
        if class_name is not None and classifier is not None:
            known = read_model(classifier)
            given = class_evidence(home.folder, known, class_name, timepoint=timepoint)
        asked = (compound, listed, concentration, timepoint, model, pixel_size, cells)
        for event in events(home.folder, Wanted(*asked, given=given, labels=known_cells)):
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
