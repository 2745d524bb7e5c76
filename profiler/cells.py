"""The stage that needs the device: fields in, finished wells on disk out."""

import hashlib
import importlib.metadata
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from plates.errors import BadPlate, lookup
from plates.imageset import FieldKey
from plates.loader import Batch, PixelFormat, batches, expected_format
from plates.well import parse_well
from profiler.events import Event, FieldsDone, Planned, WellSaved
from profiler.field import FieldProgram, batch_size, compile_recipe, device_name
from profiler.gather import FieldRow, WellGatherer, failed_row, field_row, wells_of
from profiler.pictures import LABELS, Pictures, label_path, plate_limits
from profiler.recipe import Recipe
from profiler.request import PlateFields, Request
from profiler.store.index import write_index
from profiler.store.places import stored
from profiler.store.run import FACTS, RunFacts, claim, discard
from profiler.store.tables import write_table
from profiler.store.wells import Files, Well, collect_fields, finished, strays, sweep, write_well

PACKAGES = ("plate-profiler", "jax", "jaxlib", "flax", "numpy", "polars", "pyarrow", "numba")


def make_cells(
    request: Request, plates: PlateFields, layout: pl.DataFrame | None
) -> Iterator[Event]:
    """Compute the wells that are not up to date, then gather `fields.parquet`.

    Call it where the run folder is locked. Whatever stops it, finished wells stay.

    Raises:
        UnknownName: The recipe ranks by a readout that it does not measure.
    """
    program = compile_recipe(request.recipe)
    if layout is not None:
        _check_readouts(request.recipe, program)
    if request.replace and (request.out / FACTS).exists():
        discard(request.out)
    claim(request.out, facts=_facts(request, plates.sets, layout, program))
    sweep(request.out)
    _keep_layout(request, layout)

    wanted = wells_of(plates.asked)
    done = _up_to_date(request, wanted, program)
    todo = plates.asked.join(
        _wells_frame(done), on=["plate", "well"], how="anti", maintain_order="left"
    )
    notes = (*plates.notes, *_stray_notes(request, wanted))
    yield Planned(todo.height, len(wanted), len(done), notes)

    worker = _Worker(request, program, WellGatherer(wanted))
    for (plate,), fields in todo.group_by("plate", maintain_order=True):
        yield from worker.plate(plates.sets.filter(pl.col("plate") == plate), fields)

    rows = collect_fields(request.out, stored(request.out))
    parameters = {"computed_by": program.computed_by}
    write_table(request.out / "fields.parquet", rows, level="fields", parameters=parameters)
    write_index(request.out)


@dataclass(frozen=True)
class _Worker:
    """What stays the same from plate to plate."""

    request: Request
    program: FieldProgram
    gatherer: WellGatherer

    def plate(self, sets: pl.DataFrame, todo: pl.DataFrame) -> Iterator[Event]:
        """Compute the fields `todo` of one plate, whose fields are all in `sets`."""
        images = self.request.recipe.images
        stains = tuple(images.channels)
        pixel_format = _format(sets, stains)
        pictures = self._pictures(sets, stains, pixel_format)
        loaded = batches(
            todo,
            channels=stains,
            pixel_format=pixel_format,
            size=self.request.batch or batch_size(),
            projection=images.projection,
        )
        for batch in loaded:
            rows = self._compute(batch, pictures)
            failed = sum(row.status not in ("ok", "no_cells") for row in rows)
            yield FieldsDone(len(rows), failed, sum(row.cells.height for row in rows))
            for well in self.gatherer.add(rows, batch.inputs):
                write_well(self.request.out, well, computed_by=self.program.computed_by)
                yield WellSaved(well.plate, well.well)

    def _compute(self, batch: Batch, pictures: Pictures) -> list[FieldRow]:
        start = time.perf_counter()
        program, max_cells = self.program, self.request.recipe.segment.max_cells
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

    def _pictures(
        self, sets: pl.DataFrame, stains: tuple[str, ...], pixel_format: PixelFormat
    ) -> Pictures:
        projection = self.request.recipe.images.projection
        limits = plate_limits(sets, stains=stains, pixel_format=pixel_format, projection=projection)
        first = sets.select(pl.col("site").min()).item()
        return Pictures(self.request.out, stains, limits, self.request.save_labels, first)


def _up_to_date(request: Request, wanted: Mapping[Well, Files], program: FieldProgram) -> set[Well]:
    done = finished(request.out, wanted=wanted, computed_by=program.computed_by)
    if not request.save_labels:
        return done
    return done - _without_labels(request, done)


def _without_labels(request: Request, wells: set[Well]) -> set[Well]:
    """Finished wells whose label images are yet to be written; failed fields have none."""
    fields = collect_fields(request.out, wells).filter(
        pl.col("Metadata_QC_Status").is_in(["ok", "no_cells", "too_many_cells"])
    )
    keys = [FieldKey(*row) for row in fields.select(pl.nth(0, 1, 2)).iter_rows()]
    return {
        (key.plate, key.well)
        for key in keys
        for name in LABELS
        if not label_path(request.out, key, name).is_file()
    }


def _format(sets: pl.DataFrame, stains: tuple[str, ...]) -> PixelFormat:
    """What the plate's images are like; where none can be read, each is to say why."""
    try:
        return expected_format(sets, channels=stains)
    except BadPlate:
        return PixelFormat(1, 1, np.dtype(np.uint16))


def _keep_layout(request: Request, layout: pl.DataFrame | None) -> None:
    """Keep the plate map for the stages to come; of a few wells, the part that is theirs."""
    path = request.out / "layout.parquet"
    if layout is None:
        path.unlink(missing_ok=True)
        return
    if request.wells:
        there = {well for _, well in stored(request.out)} | set(map(parse_well, request.wells))
        layout = layout.filter(pl.col("Metadata_Well").is_in(sorted(there)))
    write_table(path, layout, level="layout", parameters={})


def _check_readouts(recipe: Recipe, program: FieldProgram) -> None:
    """Refuse a readout that no cell would have, before a night's computing."""
    named = recipe.hits.readout or ()
    for readout in (named,) if isinstance(named, str) else named:
        lookup(dict.fromkeys(program.columns), kind="measured readout", name=readout)


def _wells_frame(wells: set[Well]) -> pl.DataFrame:
    return pl.DataFrame(sorted(wells), schema={"plate": pl.String, "well": pl.String}, orient="row")


def _stray_notes(request: Request, wanted: Mapping[Well, Files]) -> tuple[str, ...]:
    others = strays(request.out, wanted)
    if not others or request.wells:
        return ()
    names = ", ".join(f"{plate} {well}" for plate, well in others[:5])
    return (
        f"{len(others)} wells of an earlier run are no longer on the plates ({names}); their "
        "cells stay in the tables. Use --replace to start afresh.",
    )


def _facts(
    request: Request, sets: pl.DataFrame, layout: pl.DataFrame | None, program: FieldProgram
) -> RunFacts:
    recipe: Recipe = request.recipe
    return RunFacts(
        recipe=recipe.name,
        settings=recipe.model_dump(mode="json"),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
        device=device_name(),
        weights=program.weights,
        layout=None if layout is None else _digest(layout.write_csv().encode()),
        plates=tuple(sets["plate"].unique().sort()),
    )


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
