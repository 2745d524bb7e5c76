"""A run, drawn on a terminal: bar, rate, time left, and what a person should know."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from profiler.events import (
    BatchHalved,
    Event,
    FieldsDone,
    Finished,
    Forecast,
    Incident,
    Planned,
    StageDone,
)
from profiler.segment.training.events import (
    Calibrated,
    Learnt,
    Started,
    Trained,
    TrainEvent,
    Validated,
)

BLIND = "training goes to its last step, and the network will know no confidence"
talk = Console(stderr=True, highlight=False)  # stdout is for data


def draw(events: Iterable[Event]) -> None:
    """Consume a run's events, drawing them."""
    with _bar("fields") as bar:
        task, failed = bar.add_task("measuring", total=None, rate="", visible=False), 0
        foretold: set[bool] = set()
        for event in events:
            match event:
                case Planned():
                    bar.update(task, total=event.fields, visible=event.fields > 0)
                    _tell(bar, (_plan(event), *event.notes))
                case FieldsDone():
                    failed += event.failed
                    bar.update(task, advance=event.fields, rate=_rate(bar, task, failed))
                case Forecast() if event.is_measured not in foretold:  # of many tasks, the first
                    foretold.add(event.is_measured)
                    _tell(bar, (_forecast(event),))
                case BatchHalved():
                    _tell(bar, (event.sentence,))
                case Incident():
                    bar.update(task, advance=-event.fields)
                    _tell(bar, (event.sentence,))
                case StageDone():
                    _tell(bar, (f"{event.name}: {note}" for note in event.notes))
                case Finished():
                    _tell(bar, (_summary(event),))


def draw_images(done: Iterable[tuple[str, int, int, int]], *, out: Path, table: str) -> None:
    """Consume (image, objects found, images in all, objects left out), drawing them.

    Args:
        done: Of each image.
        out: Where the label images are.
        table: Name of the table of objects beside them.
    """
    with _bar("images") as bar:
        task, objects, images = bar.add_task("segmenting", total=None, rate="", visible=False), 0, 0
        doubtful = 0
        try:
            for name, count, total, fewer in done:
                objects, images, doubtful = objects + count, images + 1, doubtful + fewer
                rate = f"{_rate(bar, task, 0)}  {name}: {count}"
                bar.update(task, advance=1, total=total, visible=True, rate=rate)
        finally:  # the labels are there, whatever befell others
            _tell(bar, _segmented(images, objects, doubtful, where=f"{out}, with {table}"))


def _segmented(images: int, objects: int, doubtful: int, *, where: str) -> Iterator[str]:
    if images:
        yield f"{images} images, {objects:,} objects. Label images are in {where}."
    if doubtful:
        were = "objects were" if doubtful > 1 else "object was"
        yield f"{doubtful:,} more {were} left out: below --min-confidence."


def draw_looks(looks: Iterable[tuple[str, float | None, int, str | None]]) -> None:
    """Consume (field, how much of it is doubtful, fields in all, why unreadable), drawing them."""
    with _bar("fields") as bar:
        task = bar.add_task("looking", total=None, rate="", visible=False)
        for name, doubt, total, problem in looks:
            seen = name if doubt is None else f"{name}: {doubt:.1f}"
            rate = f"{_rate(bar, task, 0)}  {seen}"
            bar.update(task, advance=1, total=total, visible=True, rate=rate)
            if problem:
                _tell(bar, (f"{name} was left out: {problem}",))


def draw_training(events: Iterable[TrainEvent]) -> None:
    """Consume a training run's events, drawing them."""
    with _bar("steps") as bar:
        task = bar.add_task("training", total=None, rate="")
        for event in events:
            match event:
                case Started():
                    bar.update(task, total=event.steps, completed=event.step)
                    blind = "" if event.apart else f": {BLIND}"
                    told = f"{event.images} images to learn from, {event.apart} kept apart{blind}."
                    _tell(bar, (told,))
                case Learnt():
                    loss = "loss " + " + ".join(f"{part:.3f}" for part in event.losses.values())
                    bar.update(task, completed=event.step, rate=loss)
                case Validated():
                    best = ", best so far, saved" if event.is_best else ""
                    ap, f1 = event.average_precision, event.f1
                    _tell(bar, (f"step {event.step}: AP {ap:.3f}, F1@.5 {f1:.3f}{best}",))
                case Calibrated():
                    off = "" if event.error is None else f", off by {event.error:.3f} on average"
                    _tell(bar, (f"Confidence: {event.note}{off}.",))
                case Trained():
                    _tell(bar, (f"{event.out}, from step {event.step}: {event.reason}.",))


def _bar(unit: str) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[rate]}"),
        TimeRemainingColumn(),
        console=talk,
    )


def _rate(bar: Progress, task, failed: int) -> str:
    speed = bar.tasks[task].speed
    rate = f"{speed:.1f}/s" if speed else ""
    return f"{rate}  {failed} failed" if failed else rate


def _plan(event: Planned) -> str:
    if not event.fields:
        return f"All {event.wells} wells are up to date; no field is computed."
    done = f", {event.wells_done} of {event.wells} wells are up to date" if event.wells_done else ""
    return f"{event.fields} fields to compute{done}."


def _forecast(event: Forecast) -> str:
    memory = f"{event.memory_bytes / 1e9:.1f} GB of memory"
    if event.device_bytes:
        memory += f" and {event.device_bytes / 1e9:.1f} GB of each device's"
    pixels = f"{event.pixel_bytes / 1e9:.2g} GB of pixels to read"
    pace = event.seconds_per_field
    if pace is None:
        return f"About {memory}, {pixels}; the time is known after the first fields."
    basis = "the first of them" if event.is_measured else "those of an earlier run"
    time = f"About {_duration(pace * event.fields)} for {event.fields} fields"
    return f"{time} ({pace:.2g} s each, as {basis} took), {memory}, {pixels}."


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _summary(event: Finished) -> str:
    s = event.summary
    failed = ", ".join(f"{n} {code}" for code, n in s["fields_failed"].items())
    trouble = f" {sum(s['fields_failed'].values())} failed ({failed})." if failed else ""
    empty = f" {s['fields_empty']} without cells." if s["fields_empty"] else ""
    pace, measuring = s["seconds_per_field"], s["measure_seconds_per_field"]
    speed = f", {pace:.2f} s a field ({measuring:.2f} s of it measuring)" if pace else ""
    return (
        f"{s['wells']} wells, {s['fields_ok']} of {s['fields']} fields, {s['cells']:,} cells"
        f"{speed}.{trouble}{empty} Results are in {event.out}."
    )


def _tell(bar: Progress, notes: Iterable[str]) -> None:
    for note in notes:
        bar.console.print(note, markup=False, soft_wrap=True)
