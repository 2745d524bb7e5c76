"""Classes for cells: taught by a table of labels, given to every cell of a run."""

from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import held, print_table, say, talk
from profiler.cli.words import Out

Model = Annotated[
    Path, typer.Option("--model", "-m", help="Classifier, as --out of `train classifier`.")
]


def classifier(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="Cell keys and a label: CSV or Parquet.")
    ],
    runs: Annotated[
        list[Path], typer.Option("--run", metavar="RUN", help="Whose cells; may be repeated.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Classifier to write, .safetensors.")],
    features: Annotated[
        list[str] | None,
        typer.Option(help="Columns to judge by, as 'Embedding_*'; may be repeated."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Of LABELS, which holds the label.")] = None,
    balance: Annotated[
        float, typer.Option(min=0, max=1, help="1 takes rare classes to be as frequent as others.")
    ] = 0.0,
    mixed: Annotated[
        bool, typer.Option("--mixed-plates", help="Cells of one plate may judge one another.")
    ] = False,
) -> None:
    """Train a classifier of cells on LABELS, and print how it does on plates it has not seen."""
    from profiler.classify.train import Trained, TrainRequest, train_classifier

    asked = tuple(features or ())
    request = TrainRequest(labels, tuple(runs), out, column, asked, balance, mixed)
    for event in train_classifier(request):
        if not isinstance(event, Trained):
            talk(f"{event.what} ...")
            continue
        say(event.notes)
        suspects = event.suspects.height
        if suspects:
            talk(f"{suspects} labels are probably wrong: look at {event.suspects_path}.")
        talk(f"Written: {event.path}. Use it with: profiler classify RUN --model {event.path}")
        print_table(event.scores.by_class)


def classify(
    run: Out,
    model: Model,
    coverage: Annotated[
        float, typer.Option(help="Share of cells whose set of classes is to hold theirs.")
    ] = 0.9,
) -> None:
    """Give every cell of a RUN a class, and print which compounds have more of one."""
    from rich.console import Console
    from rich.progress import Progress

    from profiler.classify.model import read_model
    from profiler.classify.tables import classify_run
    from profiler.store.screen import open as open_screen

    known = read_model(model)
    with held(run) as home:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("classifying", total=None)
            for event in classify_run(home.folder, known, coverage=coverage):
                bar.update(task, total=getattr(event, "total", None), advance=1)
        say(event.notes)
        screen = open_screen(home.folder)
        hits = screen.has("class_hits")
        print_table((screen.class_hits if hits else screen.classes).collect())


def suggest_cells(
    run: Out,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for a list and a page.")],
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Classifier whose doubts are asked.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Table of cells that are labelled already.")
    ] = None,
    cells: Annotated[int, typer.Option(min=1, help="How many to suggest.")] = 50,
    strategy: Annotated[
        str | None,
        typer.Option(help="mixed, uncertainty, margin, diversity, novelty or random."),
    ] = None,
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="Cells that no thumbnail shows, too.")
    ] = False,
) -> None:
    """Write the cells of a RUN whose labels would teach `train classifier` most, with pictures."""
    from profiler.classify.suggest import LIST, PAGE, Wanted, suggest

    wanted = Wanted(cells=cells, strategy=strategy, labels=labels, is_anywhere=anywhere)
    say(suggest(run, out, model=model, wanted=wanted).notes)
    typer.echo((out / LIST).read_text(), nl=False)
    talk(f"Label them in {out / PAGE}, or in {out / LIST} by hand, then: profiler train classifier")
