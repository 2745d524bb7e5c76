"""Training of what stands for a well's cells."""

from typing import Annotated

import typer

from profiler.cli.talk import say, talk
from profiler.cli.words import Runs, Weights


def aggregator(
    runs: Runs,
    out: Weights,
    features: Annotated[
        list[str] | None,
        typer.Option(help="Columns of cells to take, as 'Embedding_*'; may be repeated."),
    ] = None,
    cells: Annotated[int, typer.Option(min=1, help="Most cells taken of a well.")] = 200,
    apart: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of compounds kept apart to judge by.")
    ] = 0.2,
    steps: Annotated[int, typer.Option(min=1, help="Batches to learn from.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 0,
) -> None:
    """Teach a network to make well profiles that replicates share, for a recipe's `aggregate`."""
    from profiler.aggregator import AggregatorRequest, Judged, train_aggregator
    from profiler.embed.sets.learn import SetSchedule
    from profiler.embed.training.events import Learnt, Started, Trained

    schedule = SetSchedule(steps=steps)
    request = AggregatorRequest(
        tuple(runs), out, tuple(features or ()), cells, apart, schedule, seed
    )
    for event in train_aggregator(request):
        match event:
            case Started():
                talk(f"{event.cells:,} cells of {event.groups} plates to learn from.")
            case Learnt():
                talk(f"step {event.step} of {steps}: loss {event.loss:.3f}")
            case Trained():
                talk(f"{event.out} is written.")
            case Judged():
                say(event.notes)
                if not event.precision:
                    continue
                n, plates = len(event.split.compounds), ", ".join(event.split.plates)
                where = f" on {plates}" if plates else "; all plates were learnt from"
                talk(f"Judged by {n} compound{'s' * (n > 1)} kept apart{where}.")
                typer.echo("way,mean_average_precision,mean_average_precision_among_compounds")
                for name, (controls, others) in event.precision.items():
                    numbers = ("" if x != x else f"{x:.4f}" for x in (controls, others))
                    typer.echo(",".join((name, *numbers)))
