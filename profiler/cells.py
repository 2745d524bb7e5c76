"""The stage that needs the device: fields in, finished wells on disk out."""

import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from functools import partial

import polars as pl

from plates.errors import lookup
from plates.imageset import FieldKey
from plates.well import parse_well
from profiler.events import Event, Planned
from profiler.execute.local import run_here
from profiler.field import FieldProgram, compile_recipe, device_name
from profiler.gather import wells_of
from profiler.pictures import LABELS, label_path
from profiler.recipe import Recipe
from profiler.request import PlateFields, Request
from profiler.store.index import write_index
from profiler.store.places import stored
from profiler.store.run import FACTS, RunFacts, claim, discard
from profiler.store.tables import write_table
from profiler.store.wells import Files, Well, collect_fields, finished, strays, sweep
from profiler.worker import Task, work

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

    tasks = [
        Task(plates.sets.filter(pl.col("plate") == plate), fields)
        for (plate,), fields in todo.group_by("plate", maintain_order=True)
    ]
    yield from run_here(tasks, partial(work, request, program))

    rows = collect_fields(request.out, stored(request.out))
    parameters = {"computed_by": program.computed_by}
    write_table(request.out / "fields.parquet", rows, level="fields", parameters=parameters)
    write_index(request.out)


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
