"""The stage that needs the device: fields in, finished wells on disk out."""

import hashlib
import importlib.metadata
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from plates.loader import Batch, PixelFormat, batches, expected_format
from profiler.events import Event, FieldsDone, Planned, WellSaved
from profiler.field import FieldProgram, batch_size, compile_recipe, device_name
from profiler.gather import FieldRow, WellGatherer, failed_row, field_row, wells_of
from profiler.pictures import Pictures, label_path, plate_limits
from profiler.recipe import Recipe
from profiler.request import Request
from profiler.store.places import stored
from profiler.store.run import RunFacts, claim, discard
from profiler.store.tables import write_table
from profiler.store.wells import Files, Well, collect_fields, finished, strays, sweep, write_well

PACKAGES = ("plate-profiler", "jax", "jaxlib", "flax", "numpy", "polars", "pyarrow", "numba")


def make_cells(
    request: Request, sets: pl.DataFrame, layout: pl.DataFrame | None
) -> Iterator[Event]:
    """Compute the wells that are not up to date, then gather `fields.parquet`.

    Call it where the run folder is locked. Whatever stops it, finished wells stay.
    """
    program = compile_recipe(request.recipe)
    if request.replace:
        discard(request.out)
    claim(request.out, facts=_facts(request, sets, program))
    sweep(request.out)
    if layout is not None:
        write_table(request.out / "layout.parquet", layout, level="layout", parameters={})

    wanted = wells_of(sets)
    done = _up_to_date(request, wanted, program)
    todo = sets.join(_wells_frame(done), on=["plate", "well"], how="anti", maintain_order="left")
    yield Planned(todo.height, len(wanted), len(done), _stray_notes(request, wanted))

    worker = _Worker(request, program, WellGatherer(wanted))
    for (plate,), fields in todo.group_by("plate", maintain_order=True):
        yield from worker.plate(sets.filter(pl.col("plate") == plate), fields)

    rows = collect_fields(request.out, stored(request.out))
    parameters = {"computed_by": program.computed_by}
    write_table(request.out / "fields.parquet", rows, level="fields", parameters=parameters)


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
        pixel_format = expected_format(sets, channels=stains)
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
        columns, max_cells = self.program.columns, self.request.recipe.segment.max_cells
        results = self.program.run(batch.images)[: len(batch.keys)] if batch.keys else []
        share = (time.perf_counter() - start) / max(len(batch.keys), 1)
        for key, image, result in zip(batch.keys, batch.images, results, strict=False):
            pictures.keep(key, image, result)
        return [
            *(
                field_row(key, result, columns=columns, max_cells=max_cells, seconds=share)
                for key, result in zip(batch.keys, results, strict=True)
            ),
            *(failed_row(failure, columns=columns) for failure in batch.failures),
        ]

    def _pictures(
        self, sets: pl.DataFrame, stains: tuple[str, ...], pixel_format: PixelFormat
    ) -> Pictures:
        limits = plate_limits(sets, stains=stains, pixel_format=pixel_format)
        first = sets.select(pl.col("site").min()).item()
        return Pictures(self.request.out, stains, limits, self.request.save_labels, first)


def _up_to_date(request: Request, wanted: Mapping[Well, Files], program: FieldProgram) -> set[Well]:
    done = finished(request.out, wanted=wanted, computed_by=program.computed_by)
    if not request.save_labels:
        return done
    return {well for well in done if _has_labels(request, wanted[well])}


def _has_labels(request: Request, files: Files) -> bool:
    return all(label_path(request.out, key, "cells").is_file() for key in files)


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


def _facts(request: Request, sets: pl.DataFrame, program: FieldProgram) -> RunFacts:
    recipe: Recipe = request.recipe
    return RunFacts(
        recipe=recipe.name,
        settings=recipe.model_dump(mode="json"),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
        device=device_name(),
        weights=program.weights,
        layout=None if request.layout is None else _digest(request.layout.read_bytes()),
        plates=tuple(sets["plate"].unique().sort()),
    )


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
