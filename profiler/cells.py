"""The stage that needs the device: fields in, finished wells on disk out."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from plates.address import remote_address
from plates.errors import BadPlate, lookup
from plates.imageset import FieldKey
from plates.loader import expected_format
from plates.remote import asked_again
from plates.well import parse_well
from profiler.compute.devices import device_name, leave_accelerators
from profiler.compute.field import compile_recipe
from profiler.compute.gather import wells_of
from profiler.compute.pictures import LABELS, has_times, label_path
from profiler.compute.worker import Looker, Taken, Task, work
from profiler.events import Event, Incident, Planned
from profiler.execute.executor import About, Executor, NoCluster, Started
from profiler.execute.local import here
from profiler.execute.seat import versions
from profiler.illuminate.kept import FOLDER as ILLUMINATION
from profiler.illuminate.run import light_plates, with_functions
from profiler.recipe import Recipe
from profiler.request import PlateFields, Request, check_columns, measured_readouts
from profiler.store import incidents
from profiler.store.home import Home, apart, holder
from profiler.store.index import write_index
from profiler.store.places import safe_name, stored
from profiler.store.run import FACTS, RunFacts, claim
from profiler.store.tables import write_table
from profiler.store.wells import Files, Well, collect_fields, finished, strays, sweep
from profiler.throughput.trace import traced


def make_cells(
    request: Request,
    plates: PlateFields,
    layout: pl.DataFrame | None,
    *,
    home: Home | None = None,
) -> Iterator[Event]:
    """Compute the wells that are not up to date, then gather `fields.parquet`.

    Call it where the run is held; `request.out` is its folder then. Whatever stops it, finished
    wells stay.

    Args:
        request: What is asked for.
        plates: What is on the plates.
        layout: What the wells hold.
        home: Where the run lives; by default its folder.

    Raises:
        UnknownName: The recipe ranks by a readout that it does not measure.
        NoCluster: The request is for a cluster, and there is none; nothing was changed.
        WorkLost: Wells could not be computed there.
    """
    home = home or Home(request.out)
    with _executor(request, home) as executor:
        about = executor.about
        if layout is not None:
            _check_readouts(request.recipe, about)
        check_columns(request.recipe, about.columns, embedder=about.embedder)
        if request.replace and (request.out / FACTS).exists():
            home.discard()
        claim(request.out, facts=_facts(request, plates, layout, about))
        incidents.begin(request.out)
        sweep(request.out)
        _keep_layout(request, layout)
        yield from _compute(request, plates, executor, home)

    if request.cluster:
        home.pull()  # wells that workers elsewhere have given to the store
    rows = collect_fields(request.out, stored(request.out))
    parameters = {"computed_by": about.computed_by}
    write_table(request.out / "fields.parquet", rows, level="fields", parameters=parameters)
    write_index(request.out)


def _executor(request: Request, home: Home) -> AbstractContextManager[Executor]:
    """Where the cells are computed: in this process, or on a cluster."""
    cluster = request.cluster
    if cluster is None:
        return nullcontext(here(partial(_begin, request, home.saved if home.mirror else None)))
    try:
        from profiler.execute.cluster import on_cluster
        from profiler.execute.seat import Seat
    except ModuleNotFoundError as error:
        raise NoCluster(
            f"A cluster needs Ray, which is not installed ({error}). Install it on every machine "
            "with: pip install 'plate-profiler[ray]'; nothing was changed."
        ) from error
    leave_accelerators()
    out, seen = Path(home.name), tuple(p for p in request.plates if remote_address(p) is None)
    seat = Seat(cores=1, folder=Path.cwd(), out=out, holder=holder(out), seen=seen)
    far = partial(_begin_apart, request, str(home.name), lease=seat.holder)
    begin = far if home.mirror else partial(_begin, request)
    return on_cluster(begin, seat=seat, address=cluster.address, workers=cluster.workers)


def _begin(request: Request, take: Taken | None = None) -> Started:
    """What a worker does first, wherever it is."""
    program = compile_recipe(request.recipe)
    keys = program.weights, program.computed_by
    about = About(program.columns, *keys, device_name(), program.embedder)
    return Started(about, partial(work, request, program, look=Looker(request), take=take))


def _begin_apart(request: Request, address: str, *, lease: str) -> Started:
    """What a worker does first that gives its wells to a store, from a folder of its own."""
    home = apart(address, lease=lease)
    started = _begin(replace(request, out=home.folder), home.saved)

    def work_apart(task: Task) -> Iterator[Event]:
        with home.for_a_while():
            home.pull(f"{ILLUMINATION}/{safe_name(task.sets['plate'][0])}/")
            yield from started.work(task)
            if reasons := home.faltered():
                yield Incident(incidents.REQUEST_FAILED, asked_again(reasons), wells=None)

    return started._replace(work=work_apart)


def _compute(
    request: Request, plates: PlateFields, executor: Executor, home: Home
) -> Iterator[Event]:
    lit = light_plates(request.out, request.recipe, plates.sets, flat_fields=plates.flat_fields)
    told = tuple(lit)
    home.push()  # workers elsewhere need the functions
    wanted = with_functions(request.out, request.recipe, wells_of(plates.asked))
    done = _up_to_date(request, plates, wanted, executor.about)
    todo = plates.asked.join(
        _wells_frame(done), on=["plate", "well"], how="anti", maintain_order="left"
    )
    notes = (*plates.notes, *told, *_stray_notes(request, wanted), *executor.notes)
    yield Planned(todo.height, len(wanted), len(done), notes)
    tasks = (
        Task(plates.sets.filter(pl.col("plate") == plate), fields, plates.pixel_sizes.get(plate))
        for (plate,), fields in todo.group_by("plate", maintain_order=True)
    )
    yield from traced(executor.run(tasks), out=request.out if request.profile else None)


def _up_to_date(
    request: Request, plates: PlateFields, wanted: Mapping[Well, Files], about: About
) -> set[Well]:
    # The recipe's own pixel size is part of what cells are computed by.
    is_by_plate = about.embedder and not request.recipe.embed.pixel_size_um
    sizes = plates.pixel_sizes if is_by_plate else {}
    how = {"computed_by": about.computed_by, "pixel_sizes": sizes}
    judged = finished(request.out, wanted=wanted, **how)
    done = judged.keys() - set(_judged_otherwise(request, plates.sets, wanted, judged))
    if not request.save_labels:
        return done
    return done - _without_labels(request, plates.sets, done)


def _judged_otherwise(
    request: Request,
    sets: pl.DataFrame,
    wanted: Mapping[Well, Files],
    judged: Mapping[Well, str | None],
) -> Iterator[Well]:
    """Finished wells whose images were asked to be of another shape or type than the plate's are.

    What most of its images are is known for sure when all of them are there: until then some may
    have failed for what is now usual, and others passed for what no longer is. So plates are
    looked at that others have come to, or that a run was stopped on before all were judged alike.
    """
    growing = {plate for plate, _ in wanted.keys() - judged.keys()}
    stains = tuple(request.recipe.images.channels)
    for plate in sorted({plate for plate, _ in judged}):
        then = {well: asked for well, asked in judged.items() if well[0] == plate and asked}
        if then and (plate in growing or len(set(then.values())) > 1):
            try:
                usual = str(expected_format(sets.filter(pl.col("plate") == plate), channels=stains))
            except BadPlate:  # none can be read now, which says nothing of what was computed
                continue
            yield from (well for well, asked in then.items() if asked != usual)


def _without_labels(request: Request, sets: pl.DataFrame, wells: set[Well]) -> set[Well]:
    """Finished wells whose label images are yet to be written; failed fields have none."""
    fields = collect_fields(request.out, wells).filter(
        pl.col("Metadata_QC_Status").is_in(["ok", "no_cells", "too_many_cells"])
    )
    keys = [FieldKey(*row) for row in fields.select(pl.nth(0, 1, 2, 3)).iter_rows()]
    plates = sets.partition_by("plate")
    over_time = {plate["plate"][0] for plate in plates if has_times(plate)}
    return {
        (key.plate, key.well)
        for key in keys
        for name in LABELS
        if not label_path(request.out, key, name, has_times=key.plate in over_time).is_file()
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


def _check_readouts(recipe: Recipe, about: About) -> None:
    """Refuse a readout that no cell would have, before a night's computing."""
    for readout in measured_readouts(recipe):
        lookup(dict.fromkeys(about.columns), kind="measured readout", name=readout)


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
    request: Request, plates: PlateFields, layout: pl.DataFrame | None, about: About
) -> RunFacts:
    recipe: Recipe = request.recipe
    return RunFacts(
        recipe=recipe.name,
        settings=recipe.model_dump(mode="json"),
        packages=versions(),
        device=about.device,
        weights=about.weights,
        embedder=about.embedder,
        layout=None if layout is None else _digest(layout.write_csv().encode()),
        plates=tuple(plates.sets["plate"].unique().sort()),
        pixel_sizes=dict(plates.pixel_sizes),
    )


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
