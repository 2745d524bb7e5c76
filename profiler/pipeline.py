"""The whole flow, top to bottom: plates in, cells, profiles, hits, phenotypes and a report out.

Every function is a stage and can be run alone; nothing is computed here. The stages after
the cells read Parquet and need no JAX, so the one that does is imported where it is used.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from plates.errors import BadPlate, NoControls
from profiler.events import Event, Finished, StageDone
from profiler.hits import call_hits
from profiler.phenotype import Clustering, Settings, find_phenotypes
from profiler.profile import (
    aggregate,
    annotate,
    consensus,
    feature_columns,
    process,
)
from profiler.recipe import Recipe, parse_recipe
from profiler.report import write_report
from profiler.request import Request, check_recipe, find_fields, find_layout
from profiler.store.lock import locked
from profiler.store.run import check, read_facts, write_facts
from profiler.store.schema import TABLES
from profiler.store.screen import open as open_screen
from profiler.store.tables import scan_table, write_table
from profiler.summary import all_failed, count_fields, tell_hits

NOT_DERIVED = ("cells", "images", "fields")
DERIVED = tuple(name for name in TABLES if name not in NOT_DERIVED)
HITS = ("statistics", "positions", "curves", "hits", "compounds", "activity", "replicates")
WELL = ("Metadata_Plate", "Metadata_Well")
PHENOTYPES = (
    "map", "clusters", "enrichment", "neighbours", "subpopulations", "kinds", "mechanisms",
    "accuracy",
)  # fmt: skip


def run(request: Request) -> Iterator[Event]:
    """Turn plates into cells, profiles, hits and a report, yielding what happens.

    Wells that are finished and whose images, recipe and weights are unchanged are not
    computed again; stopping and starting again costs one well at most.

    Raises:
        ProfilingError: Whatever cannot be mended by going on; the message says what was kept.
    """
    from profiler.cells import make_cells

    check_recipe(request.recipe)
    plates = find_fields(request)
    layout, notes = find_layout(request, plates.sets)
    plates = plates._replace(notes=(*plates.notes, *notes))
    if not request.replace:
        check(request.out, recipe=request.recipe.name)
    with locked(request.out):
        yield from make_cells(request, plates, layout)
        yield from analyse(request.out, is_whole=not request.wells, notes=plates.notes)


def analyse(out: Path, *, is_whole: bool = True, notes: tuple[str, ...] = ()) -> Iterator[Event]:
    """Run every stage after the cells, from the Parquet alone; the report is made whatever fails.

    Args:
        out: The run folder.
        is_whole: Whether all wells were asked for; a few may well lack controls.
        notes: What was found of images and plate maps before, for the summary.

    Raises:
        BadPlate: No field of the run could be used.
        NoControls: The plate map's negative controls are missing or failed.
    """
    fields = scan_table(out / "fields.parquet").collect()
    summary: dict[str, Any] = count_fields(fields) | {"input": list(notes)}
    _forget(out, DERIVED)  # what a failing stage leaves must not pass for this run's
    try:
        if not summary["fields_ok"] + summary["fields_empty"]:
            raise BadPlate(all_failed(fields, out=str(out)))
        for stage in (make_profiles, make_hits, make_phenotypes):
            done = stage(out) if is_whole else _without_controls(stage, out)
            summary |= _told(done)
            yield done
    finally:
        write_facts(out, replace(read_facts(out), summary=summary))
        report = write_report(out)
    yield StageDone("report", (str(report),))
    yield Finished(out, summary)


def redo(out: Path, stage: Callable[[Path], StageDone]) -> StageDone:
    """Run one stage again, and say in the summary of `run.json` what it found and dropped.

    Args:
        out: The run folder; lock it where others may use it.
        stage: `make_profiles`, `make_hits` or `make_phenotypes`.
    """
    done = stage(out)
    facts = read_facts(out)
    write_facts(out, replace(facts, summary=dict(facts.summary) | _told(done)))
    return done


def _told(done: StageDone) -> dict[str, Any]:
    return {done.name: list(done.notes)} | dict(done.found)


def make_profiles(out: Path) -> StageDone:
    """Write `wells`, and where there is a plate map `profiles`, `selected` and `consensus`."""
    settings = _recipe(out).profile
    fields, layout = scan_table(out / "fields.parquet").collect(), _layout(out)

    summaries = pl.concat([aggregate(part, how=settings.aggregate) for part in _parts(out)])
    wells, coverage = annotate(summaries.sort(WELL), fields=fields, layout=layout)
    how = settings.model_dump(mode="json")
    summarised = {name: how[name] for name in ("aggregate", "exclude_border")}
    write_table(out / "wells.parquet", wells, level="wells", parameters=summarised)
    notes = (*coverage.sentences(), *_border_notes(out))
    if layout is None:
        return StageDone("profiles", (*notes, "Without a plate map wells are not normalised."))

    made = process(wells, features=feature_columns(wells), steps=settings.steps)
    agreed = consensus(made.selected, features=made.features, how=settings.consensus)
    steps = how["steps"]
    for name, table, parameters in (
        ("profiles", made.profiles, {"steps": steps[: made.n_profile_steps]}),
        ("selected", made.selected, {"steps": steps}),
        ("consensus", agreed, {"steps": steps, "consensus": settings.consensus}),
    ):
        parameters = summarised | parameters
        write_table(out / f"{name}.parquet", table, level=name, parameters=parameters)
    return StageDone("profiles", (*notes, *made.notes))


def make_hits(out: Path, *, changes: Mapping[str, Any] | None = None) -> StageDone:
    """Write the tables of `HITS`.

    Args:
        out: The run folder.
        changes: Settings of the recipe's [hits] to use instead of those the run was made with.
    """
    if _layout(out) is None:
        return StageDone("hits", ("Without a plate map there are no controls, and no hits.",))
    settings = _recipe(out, hits=changes or {}).hits.model_dump()
    screen = open_screen(out)
    tables = (screen.wells, screen.profiles, screen.selected)
    wells, profiles, selected = (table.collect() for table in tables)
    hits = call_hits(wells, profiles, selected=selected, **settings)
    parameters = settings | {"readout": hits.readout, "rank_by": hits.ranked_by}
    _write(out, HITS, hits, parameters=parameters)
    found = {"readout": hits.readout, "best_readout": hits.best, "ranked_by": hits.ranked_by}
    return StageDone("hits", tuple(tell_hits(hits)), found)


def make_phenotypes(out: Path) -> StageDone:
    """Write those tables of `PHENOTYPES` that the run is large enough for."""
    if _layout(out) is None:
        return StageDone("phenotypes", ("Without a plate map there is nothing to compare.",))
    settings, screen = _recipe(out).phenotype, open_screen(out)
    found = find_phenotypes(
        screen.selected.collect(),
        cells=_that_count(screen.cells, out) if settings.subpopulations else None,
        settings=Settings(
            seed=settings.seed,
            wells=Clustering(settings.clustering),
            n_neighbours=settings.neighbours,
            labels=settings.labels,
        ),
    )
    _write(out, PHENOTYPES, found, parameters=settings.model_dump())
    return StageDone("phenotypes", tuple(note.text for note in found.notes))


def _write(out: Path, names: tuple[str, ...], tables: Any, *, parameters: Mapping) -> None:
    """Write the tables that were made, and leave none of an earlier time beside them."""
    _forget(out, names)
    for name in names:
        if (table := getattr(tables, name)) is not None:
            write_table(out / f"{name}.parquet", table, level=name, parameters=parameters)


def _forget(out: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (out / f"{name}.parquet").unlink(missing_ok=True)


def _without_controls(stage: Callable[[Path], StageDone], out: Path) -> StageDone:
    """Run a stage on a few wells, where a lack of controls is to be told, not raised."""
    try:
        return stage(out)
    except NoControls as lack:
        return StageDone(stage.__name__.removeprefix("make_"), (str(lack),))


def _parts(out: Path) -> Iterator[pl.LazyFrame]:
    """The cells that count, a few wells at a time: the memory needed is theirs."""
    yield from (_that_count(part, out) for part in open_screen(out).parts())


def _that_count(cells: pl.LazyFrame, out: Path) -> pl.LazyFrame:
    is_cut = pl.col("Metadata_QC_TouchesBorder")
    return cells.filter(~is_cut) if _recipe(out).profile.exclude_border else cells


def _border_notes(out: Path) -> list[str]:
    if not _recipe(out).profile.exclude_border:
        return []
    is_cut = pl.col("Metadata_QC_TouchesBorder").sum()
    n, n_cut = open_screen(out).cells.select(pl.len(), is_cut).collect().row(0)
    return [f"{n_cut:,} of {n:,} cells touch the border of their field and do not count."]


def _recipe(out: Path, *, hits: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe as `run.json` keeps it, so that later stages need nothing else."""
    settings = dict(read_facts(out).settings)
    settings["hits"] = {**settings["hits"], **(hits or {})}
    return parse_recipe(settings, where=str(out / "run.json"))


def _layout(out: Path) -> pl.DataFrame | None:
    path = out / "layout.parquet"
    return scan_table(path).collect() if path.is_file() else None
