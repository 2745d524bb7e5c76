"""Networks: trained on a user's own labels, and listed."""

from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import interrupted, talk
from profiler.cli.words import Half, Rate, Replace, Weights
from profiler.interrupt import heeding, stop_signals

SEEDS = 2**32  # as in `profiler.segment.training.trainer`


def segmenter(
    data: Annotated[
        Path, typer.Argument(help="Folder with images/ and labels/; validation/ too, if you like.")
    ],
    out: Weights,
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
    rate: Rate = 1e-3,
    half: Half = False,
    seed: Annotated[
        int, typer.Option(min=0, max=SEEDS - 1, help="The same seed gives the same network.")
    ] = 0,
    replace: Replace = False,
) -> None:
    """Train a network of nuclei or cells on DATA; an interrupted run goes on when started again.

    One image in five validates; where DATA holds validation/images and validation/labels, those do.
    """
    from profiler.progress import draw_training
    from profiler.segment.training.drafts import checkpoint_path
    from profiler.segment.training.step import Schedule
    from profiler.segment.training.trainer import TrainRequest, train_segmenter

    frozen = freeze if start else 0
    schedule = Schedule(steps=steps, learning_rate=rate, frozen=frozen, bfloat16=half)
    asked = {"head": head, "block": block}
    architecture = {name: value for name, value in asked.items() if value is not None}
    request = TrainRequest(
        data, out, start, ignore, architecture, schedule, seed=seed, replace=replace
    )
    with stop_signals(at_once=True) as sign:
        try:
            draw_training(heeding(train_segmenter(request), sign))
        except KeyboardInterrupt:
            talk(interrupted(checkpoint_path(out), replace=replace))
            raise typer.Exit(sign.exit_code) from None


def models() -> None:
    """List the networks that ship, with what they were trained on and their scores."""
    from profiler.models import describe

    typer.echo(describe())
