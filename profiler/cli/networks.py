"""Networks: used on single images, judged, corrected, trained."""

from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import print_table, say, talk


def segment(
    folder: Annotated[Path, typer.Argument(help="Images, one plane each.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the label TIFFs.")],
    model: Annotated[str, typer.Option(help="Shipped model, or a .safetensors file.")] = "nuclei",
    nuclei: Annotated[
        Path | None, typer.Option(help="With a model of cells: nuclear stains of the same names.")
    ] = None,
    min_area: Annotated[int, typer.Option(min=1, help="Smallest object, in pixels.")] = 25,
    diameter: Annotated[
        str, typer.Option(help="Width of the objects in pixels, auto (estimated) or as-is.")
    ] = "auto",
) -> None:
    """Find nuclei (or cells: --model cells) in the images of a FOLDER; one label TIFF for each."""
    from profiler.images import segment_folder
    from profiler.progress import draw_images

    wide = {"auto": "auto", "as-is": None}.get(diameter, diameter)
    try:
        wide = wide if wide in ("auto", None) else float(wide)
    except ValueError:
        raise typer.BadParameter(f"--diameter {diameter}: a number, auto or as-is") from None
    asked = {"model": model, "nuclei": nuclei, "min_area_px": min_area, "diameter_px": wide}
    done = segment_folder(folder, out, **asked)
    draw_images(done, out=out)


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
    say(judged.notes)
    print_table(judged.images if images else judged.scores)


def suggest(
    where: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run (a folder or an address), or images.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Gets images/, labels/ and a list.")],
    fields: Annotated[int, typer.Option(min=1, help="How many to write.")] = 10,
    sample: Annotated[int, typer.Option(min=1, help="How many to look at.")] = 200,
    model: Annotated[str | None, typer.Option(help="Network to judge by.")] = None,
) -> None:
    """Write the fields of a RUN whose correction by hand would teach `train segmenter` most."""
    from profiler.progress import draw_looks
    from profiler.suggest import LIST, Wanted
    from profiler.suggest import suggest as looks

    draw_looks(looks(where, out, wanted=Wanted(fields, sample, model)))
    typer.echo((out / LIST).read_text(), nl=False)
    talk(f"Correct {out / 'labels'}, then: profiler train segmenter {out} --from nuclei ...")


def segmenter(
    data: Annotated[Path, typer.Argument(help="Folder with images/ and labels/.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Network to write, .safetensors.")],
    start: Annotated[str | None, typer.Option("--from", help="Model to go on from.")] = None,
    head: Annotated[
        str | None, typer.Option(help="What is predicted: watershed, stars, flows, ...")
    ] = None,
    block: Annotated[
        str | None, typer.Option(help="What the network is made of: plain, residual, ...")
    ] = None,
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
    """Train a network of nuclei or cells on DATA; an interrupted run goes on when started again."""
    from profiler.progress import draw_training
    from profiler.segment.training.step import Schedule
    from profiler.segment.training.trainer import TrainRequest, train_segmenter

    frozen = freeze if start else 0
    schedule = Schedule(steps=steps, learning_rate=rate, frozen=frozen, bfloat16=half)
    asked = {"head": head, "block": block}
    architecture = {name: value for name, value in asked.items() if value is not None}
    request = TrainRequest(
        data, out, start, ignore, architecture, schedule, seed=seed, replace=replace
    )
    draw_training(train_segmenter(request))


def models() -> None:
    """List the networks that ship, with what they were trained on and their scores."""
    from profiler.models import describe

    typer.echo(describe())
