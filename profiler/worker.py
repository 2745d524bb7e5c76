"""The work of one task: fields of a plate in, finished wells on disk out.

Every executor, here or on a cluster, runs `work`; what it needs travels in the task.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from plates.errors import BadPlate
from plates.loader import Batch, PixelFormat, batches, expected_format
from profiler.events import Event, FieldsDone, WellSaved
from profiler.field import FieldProgram, batch_size
from profiler.gather import FieldRow, WellGatherer, failed_row, field_row, wells_of
from profiler.pictures import Pictures, plate_limits
from profiler.request import Request
from profiler.store.wells import write_well


@dataclass(frozen=True)
class Task:
    """Whole wells of one plate.

    Attributes:
        sets: Image sets of the whole plate: its format and its grey levels are judged by all.
        todo: Those to compute, all fields of their wells.
    """

    sets: pl.DataFrame
    todo: pl.DataFrame


def work(request: Request, program: FieldProgram, task: Task) -> Iterator[Event]:
    """Compute the fields of a task and write each well as soon as it is whole."""
    images = request.recipe.images
    stains = tuple(images.channels)
    pixel_format = _format(task.sets, stains)
    pictures = _pictures(request, task.sets, pixel_format)
    gatherer = WellGatherer(wells_of(task.todo))
    loaded = batches(
        task.todo,
        channels=stains,
        pixel_format=pixel_format,
        size=request.batch or batch_size(),
        projection=images.projection,
    )
    for batch in loaded:
        rows = _compute(batch, request, program, pictures)
        failed = sum(row.status not in ("ok", "no_cells") for row in rows)
        yield FieldsDone(len(rows), failed, sum(row.cells.height for row in rows))
        for well in gatherer.add(rows, batch.inputs):
            write_well(request.out, well, computed_by=program.computed_by)
            yield WellSaved(well.plate, well.well)


def _compute(
    batch: Batch, request: Request, program: FieldProgram, pictures: Pictures
) -> list[FieldRow]:
    start = time.perf_counter()
    max_cells = request.recipe.segment.max_cells
    results = program.run(batch.images)[: len(batch.keys)] if batch.keys else []
    share = (time.perf_counter() - start) / max(len(batch.keys), 1)
    for key, image, result in zip(batch.keys, batch.images, results, strict=False):
        pictures.keep(key, image, result)
    return [
        *(
            field_row(key, result, program=program, max_cells=max_cells, seconds=share)
            for key, result in zip(batch.keys, results, strict=True)
        ),
        *(failed_row(failure, program=program) for failure in batch.failures),
    ]


def _pictures(request: Request, sets: pl.DataFrame, pixel_format: PixelFormat) -> Pictures:
    images = request.recipe.images
    stains = tuple(images.channels)
    limits = plate_limits(
        sets, stains=stains, pixel_format=pixel_format, projection=images.projection
    )
    first = sets.select(pl.col("site").min()).item()
    return Pictures(request.out, stains, limits, request.save_labels, first)


def _format(sets: pl.DataFrame, stains: tuple[str, ...]) -> PixelFormat:
    """What the plate's images are like; where none can be read, each is to say why."""
    try:
        return expected_format(sets, channels=stains)
    except BadPlate:
        return PixelFormat(1, 1, np.dtype(np.uint16))
