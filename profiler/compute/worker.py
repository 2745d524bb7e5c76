"""The work of one task: fields of a plate in, finished wells on disk out.

Every executor, here or on a cluster, runs `work`; what it needs travels in the task. Threads
read and decode the fields to come, one sends the next batch to the device while this one is
computed, and one lays out, draws and writes what is done.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from plates.errors import BadPlate
from plates.loader import Batch, PixelFormat, batches, expected_format
from plates.remote import asked_again
from profiler.compute.devices import batch_size
from profiler.compute.field import FieldProgram, Share, fetch, time_alone
from profiler.compute.fitting import Fitting
from profiler.compute.gather import FieldRow, WellGatherer, failed_row, field_row, wells_of
from profiler.compute.pictures import Pictures, has_times, plate_limits
from profiler.compute.prospect import Prospect
from profiler.events import BatchHalved, Event, FieldsDone, Incident, TaskTimed, WellSaved
from profiler.illuminate.run import light_of, with_light
from profiler.request import Request
from profiler.store.incidents import REQUEST_FAILED
from profiler.store.schema import cell_schema
from profiler.store.wells import write_well
from profiler.throughput.ahead import ahead, behind
from profiler.throughput.clock import Clock

Taken: TypeAlias = Callable[[str, str], None]  # told of the plate and the well that is on disk


@dataclass(frozen=True)
class Task:
    """Whole wells of one plate.

    Attributes:
        sets: Image sets of the whole plate: its format and its grey levels are judged by all.
        todo: Those to compute, all fields of their wells.
        pixel_size_um: Of its images, as far as the microscope says.
    """

    sets: pl.DataFrame
    todo: pl.DataFrame
    pixel_size_um: float | None = None


class _Computed(NamedTuple):
    """A batch whose numbers are known and still on the device."""

    batch: Batch
    shares: list[Share]
    seconds: float


class Look(NamedTuple):
    """What the images of a plate are like, and how they are drawn: its sample of fields says."""

    pixel_format: PixelFormat
    pictures: Pictures


@dataclass
class Looker:
    """Looks at a plate once, however many tasks in a row are of it."""

    request: Request
    _last: tuple[str, Look] | None = None

    def __call__(self, sets: pl.DataFrame) -> Look:
        """Read the sample of a plate, or remember it."""
        plate = sets["plate"][0]
        if self._last is None or self._last[0] != plate:
            pixel_format = _format(sets, tuple(self.request.recipe.images.channels))
            look = Look(pixel_format, _pictures(self.request, sets, pixel_format))
            self._last = (plate, look)
        return self._last[1]


def work(
    request: Request,
    program: FieldProgram,
    task: Task,
    *,
    look: Looker | None = None,
    take: Taken | None = None,
) -> Iterator[Event]:
    """Compute the fields of a task and write each well as soon as it is whole.

    Args:
        request: What is asked for.
        program: The recipe, compiled.
        task: Which wells.
        look: Of the worker, where it is to do several tasks.
        take: Takes each finished well to its place, if that is not on this disk.

    Raises:
        OutOfMemory: A single field is too large for the device.
        BadRun: A well cannot be written.
    """
    clock = Clock(keeps=request.profile)
    images = request.recipe.images
    stains = tuple(images.channels)
    with clock("look"):
        seen = (look or Looker(request))(task.sets)
    pixel_format = seen.pixel_format
    pixels = pixel_format.height * pixel_format.width
    size = request.batch or batch_size(pixels=pixels, channels=len(stains))
    prospect = Prospect(program.computed_by, pixel_format, len(stains), size, task.todo.height)
    yield prospect.before()

    loaded = batches(
        task.todo,
        channels=stains,
        pixel_format=pixel_format,
        size=size,
        projection=images.projection,
        span=clock,
    )
    pixel_size_um = request.recipe.embed.pixel_size_um or task.pixel_size_um
    program = program.sized(pixel_size_um)
    if request.recipe.illumination.method != "none":
        program, loaded = _lit(task, request, program, loaded, pixel_format)
    fitting = Fitting(program, most=size, span=clock)
    schema = cell_schema(program.columns)
    gatherer = WellGatherer(wells_of(task.todo), schema, program.image_columns)
    finisher = _Finisher(request, program, seen, gatherer, clock, pixel_size_um)
    with (
        closing(_computed(loaded, fitting, clock)) as computed,
        closing(behind(computed, finisher.finish)) as written,
        # In a thread of its own: a store answers slowly, and the next wells are to be written.
        closing(behind(written, partial(_taken, take, clock)) if take else written) as done,
    ):
        for events in done:
            yield from events
            yield from prospect.after(events, at=clock.elapsed)
    prospect.keep()
    yield _timed(task, request, clock)


def _lit(
    task: Task,
    request: Request,
    program: FieldProgram,
    loaded: Generator[Batch, None, None],
    pixel_format: PixelFormat,
) -> tuple[FieldProgram, Generator[Batch, None, None]]:
    """Correct the fields by their plate's illumination functions, or fail them all."""
    plate = task.sets["plate"][0]
    light = light_of(request.out, request.recipe, plate, pixel_format)
    if isinstance(light, str):
        return program, with_light(loaded, request.out, plate, problem=light)
    return program.lit(light), with_light(loaded, request.out, plate)


def _computed(
    loaded: Generator[Batch, None, None], fitting: Fitting, clock: Clock
) -> Generator[_Computed | BatchHalved | Incident, None, None]:
    """Compute batch after batch, the next one already on its way to the device."""
    faltered: list[str] = []

    def placed() -> Generator[tuple[Batch, Any], None, None]:
        with closing(loaded):
            for batch in loaded:
                with clock("copy"):
                    there = fitting.place(batch.images) if batch.keys else None
                yield batch, there

    with closing(ahead(placed())) as ready:
        for batch, there in ready:
            faltered += batch.faltered
            most, start, shares = fitting.most, clock.elapsed, []
            if batch.keys:
                with clock("compute"):
                    shares = fitting.compute(batch.images, placed=there, fields=len(batch.keys))
            if fitting.most < most:
                yield BatchHalved(fitting.most)
            yield _Computed(batch, shares, clock.elapsed - start)
    if faltered:
        yield Incident(REQUEST_FAILED, asked_again(faltered), wells=None)


@dataclass(frozen=True)
class _Finisher:
    """What is done with a batch once it is computed, in a thread of its own."""

    request: Request
    program: FieldProgram
    look: Look
    gatherer: WellGatherer
    clock: Clock
    pixel_size_um: float | None

    def finish(self, done: _Computed | BatchHalved | Incident) -> list[Event]:
        """Write the wells that a batch completes."""
        if isinstance(done, BatchHalved | Incident):
            return [done]
        rows = self._rows(done)
        failed = sum(row.status not in ("ok", "no_cells") for row in rows)
        events: list[Event] = [FieldsDone(len(rows), failed, sum(row.rows for row in rows))]
        with self.clock("tables"):
            whole = list(self.gatherer.add(rows, done.batch.inputs))
        for well in whole:
            with self.clock("write"):
                write_well(
                    self.request.out,
                    well,
                    computed_by=self.program.computed_by,
                    embedder=self.program.embedder,
                    pixel_size_um=self.pixel_size_um if self.program.embedder else None,
                    pixel_format=str(self.look.pixel_format),
                )
            events.append(WellSaved(well.plate, well.well))
        return events

    def _rows(self, done: _Computed) -> list[FieldRow]:
        batch, program = done.batch, self.program
        with self.clock("fetch"):
            results = fetch(done.shares)[: len(batch.keys)]
        with self.clock("pictures"):
            for key, image, result in zip(batch.keys, batch.images, results, strict=False):
                self.look.pictures.keep(key, image, result)
        max_cells = self.request.recipe.segment.max_cells
        seconds = done.seconds / max(len(batch.keys), 1)
        good = zip(batch.keys, results, strict=True)
        return [
            *(field_row(key, each, max_cells=max_cells, seconds=seconds) for key, each in good),
            *(failed_row(failure, program=program) for failure in batch.failures),
        ]


def _taken(take: Taken, clock: Clock, events: list[Event]) -> list[Event]:
    """Take the wells that are told to be saved to where they belong, before anybody hears of it."""
    for event in events:
        if isinstance(event, WellSaved):
            with clock("store"):
                take(event.plate, event.well)
    return events


def _timed(task: Task, request: Request, clock: Clock) -> TaskTimed:
    elapsed, alone = clock.elapsed, {}
    if request.profile and (image := _first_image(task, request)) is not None:
        alone = time_alone(request.recipe, image)
    return TaskTimed(
        name=" ".join(task.todo.select(pl.col("plate", "well").first()).row(0)),
        fields=task.todo.height,
        elapsed=elapsed,
        seconds=dict(clock.seconds),
        alone=alone,
        stretches=tuple(clock.stretches),
    )


def _first_image(task: Task, request: Request) -> np.ndarray | None:
    images, sample = request.recipe.images, task.todo.head(1)
    stains = tuple(images.channels)
    (batch,) = batches(
        sample,
        channels=stains,
        pixel_format=_format(task.sets, stains),
        size=1,
        projection=images.projection,
    )
    return batch.images[0] if batch.keys else None


def _pictures(request: Request, sets: pl.DataFrame, pixel_format: PixelFormat) -> Pictures:
    images = request.recipe.images
    stains = tuple(images.channels)
    limits = plate_limits(
        sets, stains=stains, pixel_format=pixel_format, projection=images.projection
    )
    first = sets.select(pl.col("site").min()).item()
    return Pictures(request.out, stains, limits, request.save_labels, first, has_times(sets))


def _format(sets: pl.DataFrame, stains: tuple[str, ...]) -> PixelFormat:
    """What the plate's images are like; where none can be read, each is to say why."""
    try:
        return expected_format(sets, channels=stains)
    except BadPlate:
        return PixelFormat(1, 1, np.dtype(np.uint16))
