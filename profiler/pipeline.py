"""The whole flow, top to bottom: plates in, cells, profiles, hits, phenotypes and a report out.

Every function is a stage and can be run alone, by the recipe that `run.json` keeps or by
another; nothing is computed here. The stages after
the cells read Parquet and need no JAX, so the one that does is imported where it is used.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from plates.errors import BadPlate, NoControls, lookup
from profiler.events import BatchHalved, Event, Finished, Incident, StageDone
from profiler.hits import HitRule, call_hits
from profiler.hits.scores.scale import on_scale
from profiler.phenotype import Clustering, Settings, find_phenotypes
from profiler.profile import consensus, feature_columns, is_role, process
from profiler.profile.blocks import weigh_blocks
from profiler.profile.stains import stains_of
from profiler.profile.wells.cell_scale import cell_scales
from profiler.profile.wells.sets import check_cells, load_aggregator
from profiler.profile.wells.summarise import (
    Learned,
    learned_summaries,
    plain_summaries,
    summarise,
)
from profiler.profile.wells.timepoints import (
    annotate_times,
    at_time,
    chosen_time,
    steps_in_time,
    treatment_keys,
    well_keys,
)
from profiler.quality import (
    Checks,
    as_unusable,
    flag_few,
    judge,
    marked,
    tell_few,
    tell_quality,
)
from profiler.quality.judge import KEYS
from profiler.recipe import Recipe, parse_recipe
from profiler.report import write_report
from profiler.request import (
    Request,
    check_columns,
    check_recipe,
    find_fields,
    find_layout,
    measured_readouts,
)
from profiler.store import incidents
from profiler.store.columns import matching
from profiler.store.ending import now
from profiler.store.home import all_but_labels, at_home, everything
from profiler.store.run import check, read_facts, write_facts
from profiler.store.schema import TABLES
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer, scan_table, write_table
from profiler.summary import all_failed, count_fields, tell_hits, tell_time

NOT_DERIVED = ("cells", "images", "fields", "incidents")
DERIVED = tuple(name for name in TABLES if name not in NOT_DERIVED)
HITS = (
    "statistics", "positions", "curves", "hits", "compounds", "activity", "replicates",
    "consistency",
)  # fmt: skip
PHENOTYPES = (
    "map", "clusters", "enrichment", "neighbours", "subpopulations", "kinds", "mechanisms",
    "accuracy",
)  # fmt: skip

Stage: TypeAlias = Callable[[Path, Recipe], StageDone]


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
    covers = everything if request.save_labels else all_but_labels
    with at_home(request.out, covers=covers, is_to_go=request.replace) as home:
        request = replace(request, out=home.folder)
        told = list(plates.notes)
        plates = plates._replace(notes=(*plates.notes, *home.notes))
        for event in make_cells(request, plates, layout, home=home):
            if isinstance(event, BatchHalved | Incident):
                told.append(event.sentence)
                home.note(_befell(event))
            yield event
        finished = Finished(home.name)
        for event in analyse(home.folder, is_whole=not request.wells, notes=tuple(told)):
            home.push()
            if isinstance(event, Finished):  # told when the run is let go: nobody may ask further
                finished = replace(event, out=home.name)
            else:
                yield event
    yield finished


def _befell(event: BatchHalved | Incident) -> incidents.Incident:
    if isinstance(event, BatchHalved):
        return incidents.Incident(now(), event.code, event.sentence)
    lost = (None, None) if event.wells is None else (len(event.wells), event.fields)
    return incidents.Incident(now(), event.code, event.message, *lost)


def analyse(
    out: Path,
    *,
    recipe: Recipe | None = None,
    is_whole: bool = True,
    notes: tuple[str, ...] = (),
) -> Iterator[Event]:
    """Run every stage after the cells, from the Parquet alone; the report is made whatever fails.

    Args:
        out: The run folder; hold it where others may use it.
        recipe: What `run.json` is to say from now on; by default what it says.
        is_whole: Whether all wells were asked for; a few may well lack controls.
        notes: What was found of images and plate maps before, for the summary.

    Raises:
        BadRecipe: A step of its profile could not be run; nothing was changed.
        UnknownName: The recipe names a readout that no cell has; nothing was changed.
        BadPlate: No field of the run could be used.
        NoControls: The plate map's negative controls are missing or failed.
    """
    recipe = recipe or recipe_of(out)
    check_recipe(recipe, layout=_layout(out))
    _check_readouts(out, recipe)
    if (screen := open_screen(out)).has("cells"):
        columns = screen.cells.collect_schema().names()
        check_columns(recipe, columns, embedder=read_facts(out).embedder)
    fields = scan_table(out / "fields.parquet").collect()
    summary: dict[str, Any] = count_fields(fields) | {"input": list(notes)}
    _forget(out, DERIVED)  # what a failing stage leaves must not pass for this run's
    try:
        if not summary["fields_ok"] + summary["fields_empty"]:
            raise BadPlate(all_failed(fields, out=str(out)))
        for stage in (make_quality, make_profiles, make_hits, make_phenotypes):
            done = stage(out, recipe) if is_whole else _without_controls(stage, out, recipe)
            summary |= _told(done)
            yield done
    finally:
        _write_facts(out, recipe, summary)
        report = write_report(out)
    yield StageDone("report", (str(report),))
    yield Finished(out, summary)


def _check_readouts(out: Path, recipe: Recipe) -> None:
    named, screen = measured_readouts(recipe), open_screen(out)
    columns = screen.cells.collect_schema() if named and screen.has("cells") else {}
    for readout in named if columns else ():
        lookup(columns, kind="measured readout", name=readout)


def redo(out: Path, stage: Stage, *, recipe: Recipe | None = None) -> StageDone:
    """Run one stage again, and say in `run.json` and the report what it found and dropped.

    Args:
        out: The run folder; hold it where others may use it.
        stage: `make_hits` or `make_phenotypes`, which no other stage follows.
        recipe: As for `analyse`.
    """
    recipe = recipe or recipe_of(out)
    done = stage(out, recipe)
    _write_facts(out, recipe, dict(read_facts(out).summary) | _told(done))
    write_report(out)
    return done


def recipe_of(out: Path) -> Recipe:
    """The recipe as `run.json` keeps it, so that later stages need nothing else."""
    return parse_recipe(dict(read_facts(out).settings), where=str(out / "run.json"))


def _write_facts(out: Path, recipe: Recipe, summary: Mapping[str, Any]) -> None:
    settings = recipe.model_dump(mode="json")
    write_facts(out, replace(read_facts(out), settings=settings, summary=summary))


def _told(done: StageDone) -> dict[str, Any]:
    return {done.name: list(done.notes)} | dict(done.found)


def make_quality(out: Path, recipe: Recipe | None = None) -> StageDone:
    """Write `quality`: which fields are not to be believed, and why."""
    recipe = recipe or recipe_of(out)
    settings, stains = recipe.quality, tuple(recipe.images.channels)
    cells = recipe.segment.cells or recipe.segment.nuclei
    how = (settings.false_alarms, settings.saturated_percent)
    checks = Checks(settings.checks, recipe.segment.nuclei, cells, stains, *how)
    fields = scan_table(out / "fields.parquet").collect()
    numbers = open_screen(out).select("images", *KEYS, "Image_QC_*").collect()
    found = judge(numbers, fields=fields, checks=checks)
    parameters = settings.model_dump(mode="json") | {"thresholds": found.thresholds}
    write_table(out / "quality.parquet", found.table, level="quality", parameters=parameters)
    exclude = recipe.profile.exclude_bad_fields
    return StageDone("quality", tuple(tell_quality(found.table, exclude=exclude)))


def make_profiles(out: Path, recipe: Recipe | None = None) -> StageDone:
    """Write `wells`, and where there is a plate map `profiles`, `selected` and `consensus`."""
    recipe = recipe or recipe_of(out)
    settings = recipe.profile
    fields, layout = _fields(out, recipe), _layout(out)

    keys = well_keys(fields)
    learned, features = _learned(out, recipe, layout=layout), _features(out, recipe)
    how = plain_summaries(settings.aggregate)
    summaries = {"by": keys, "how": how, "features": features, "learned": learned}
    made = summarise(_parts(out, recipe), **summaries)
    wells, lacks = annotate_times(made, fields=fields, layout=layout)
    wells = flag_few(wells, min_cells=recipe.quality.min_cells)
    how = settings.model_dump(mode="json")
    counted = ("aggregate", "features", "exclude_border", "exclude_bad_fields")
    summarised = {name: how[name] for name in counted}
    summarised |= {"aggregator": learned and learned.aggregator.card.sha256}
    write_table(out / "wells.parquet", wells, level="wells", parameters=summarised)
    few = tell_few(wells, min_cells=recipe.quality.min_cells)
    notes = (*lacks, *_border_notes(out, recipe), *few)
    if layout is None:
        return StageDone("profiles", (*notes, "Without a plate map wells are not normalised."))

    steps = steps_in_time(how["steps"], wells)
    made = process(wells, features=feature_columns(wells), steps=steps)
    even = weigh_blocks(made.selected, features=made.features, blocks=settings.blocks)
    by = treatment_keys(wells)
    agreed = consensus(even.table, features=made.features, by=by, how=settings.consensus)
    done = {"steps": steps, "factors": even.factors}
    for name, table, parameters in (
        ("profiles", made.profiles, {"steps": steps[: made.n_profile_steps]}),
        ("selected", even.table, done),
        ("consensus", agreed, done | {"consensus": settings.consensus}),
    ):
        parameters = summarised | parameters
        write_table(out / f"{name}.parquet", table, level=name, parameters=parameters)
    told = (*notes, *made.notes, *even.sentences())
    return StageDone("profiles", told, {"aggregator": summarised["aggregator"]})


def _features(out: Path, recipe: Recipe) -> list[str]:
    """The cells' columns that profiles are made of."""
    every, patterns = feature_columns(open_screen(out).cells), recipe.profile.features
    if not patterns:
        return every
    chosen = set(matching(every, patterns, table="cells"))
    return [name for name in every if name in chosen]


def _learned(out: Path, recipe: Recipe, *, layout: pl.DataFrame | None) -> Learned | None:
    """The learned aggregator that the recipe names, and the scale of every plate."""
    for path in learned_summaries(recipe.profile.aggregate):
        aggregator, cells = load_aggregator(path), _that_count(open_screen(out).cells, recipe)
        columns = cells.collect_schema().names()
        facts = read_facts(out)
        stains = stains_of(facts.settings)
        check_cells(aggregator.card, columns, embedder=facts.embedder, stains=stains)
        controls = None
        if layout is not None and "Metadata_Role" in layout.columns:
            controls = layout.filter(is_role("negative"))
        scales = cell_scales(cells, features=aggregator.card.features, controls=controls)
        return Learned(aggregator, scales)
    return None


def make_hits(out: Path, recipe: Recipe | None = None) -> StageDone:
    """Write the tables of `HITS`."""
    if _layout(out) is None:
        return StageDone("hits", ("Without a plate map there are no controls, and no hits.",))
    recipe = recipe or recipe_of(out)
    settings, labels, screen = recipe.hits, recipe.phenotype.labels, open_screen(out)
    time = chosen_time(screen.wells, timepoint=settings.timepoint)
    tables = (screen.wells, screen.profiles, screen.selected)
    wells, profiles, selected = (at_time(table, time).collect() for table in tables)
    rule = HitRule(settings.rank_by, settings.threshold, settings.toxic_below)
    options = {"readout": settings.readout, "labels": labels, "rule": rule}
    steps = read_footer(out / "profiles.parquet").parameters["steps"]  # not a later recipe's
    scaled = on_scale(wells, profiles, steps=steps)
    hits = call_hits(wells, scaled.profiles, selected=selected, **options)
    chosen = {"readout": hits.readout, "rank_by": hits.ranked_by, "timepoint": time}
    parameters = settings.model_dump() | chosen | {"labels": labels}
    _write(out, HITS, hits, parameters=parameters)
    found = {"readout": hits.readout, "best_readout": hits.best, "ranked_by": hits.ranked_by}
    told = (*tell_time(time), *scaled.notes, *tell_hits(hits))
    return StageDone("hits", told, found | {"timepoint": time})


def make_phenotypes(out: Path, recipe: Recipe | None = None) -> StageDone:
    """Write those tables of `PHENOTYPES` that the run is large enough for."""
    if _layout(out) is None:
        return StageDone("phenotypes", ("Without a plate map there is nothing to compare.",))
    recipe = recipe or recipe_of(out)
    settings, screen = recipe.phenotype, open_screen(out)
    time = chosen_time(screen.wells, timepoint=recipe.hits.timepoint)
    cells = at_time(_that_count(screen.cells, recipe), time)
    found = find_phenotypes(
        at_time(screen.selected, time).collect(),
        cells=cells if settings.subpopulations else None,
        settings=Settings(
            seed=settings.seed,
            wells=Clustering(settings.clustering),
            n_neighbours=settings.neighbours,
            labels=settings.labels,
        ),
    )
    _write(out, PHENOTYPES, found, parameters=settings.model_dump() | {"timepoint": time})
    return StageDone("phenotypes", (*tell_time(time), *(note.text for note in found.notes)))


def _write(out: Path, names: tuple[str, ...], tables: Any, *, parameters: Mapping) -> None:
    """Write the tables that were made, and leave none of an earlier time beside them."""
    _forget(out, names)
    for name in names:
        if (table := getattr(tables, name)) is not None:
            write_table(out / f"{name}.parquet", table, level=name, parameters=parameters)


def _forget(out: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (out / f"{name}.parquet").unlink(missing_ok=True)


def _without_controls(stage: Stage, out: Path, recipe: Recipe) -> StageDone:
    """Run a stage on a few wells, where a lack of controls is to be told, not raised."""
    try:
        return stage(out, recipe)
    except NoControls as lack:
        return StageDone(stage.__name__.removeprefix("make_"), (str(lack),))


def _parts(out: Path, recipe: Recipe) -> Iterator[pl.LazyFrame]:
    """The cells that count, a few wells at a time: the memory needed is theirs."""
    yield from (_that_count(part, recipe) for part in open_screen(out).parts())


def _that_count(cells: pl.LazyFrame, recipe: Recipe) -> pl.LazyFrame:
    is_cut = pl.col("Metadata_QC_TouchesBorder")
    whole = cells.filter(~is_cut) if recipe.profile.exclude_border else cells
    return marked(whole, exclude=recipe.profile.exclude_bad_fields)


def _fields(out: Path, recipe: Recipe) -> pl.DataFrame:
    """The fields, those that are not believed among the failed ones."""
    fields = scan_table(out / "fields.parquet").collect()
    if not recipe.profile.exclude_bad_fields:
        return fields
    return as_unusable(fields, quality=scan_table(out / "quality.parquet").collect())


def _border_notes(out: Path, recipe: Recipe) -> list[str]:
    if not recipe.profile.exclude_border:
        return []
    is_cut = pl.col("Metadata_QC_TouchesBorder").sum()
    n, n_cut = open_screen(out).cells.select(pl.len(), is_cut).collect().row(0)
    return [f"{n_cut:,} of {n:,} cells touch the border of their field and do not count."]


def _layout(out: Path) -> pl.DataFrame | None:
    path = out / "layout.parquet"
    return scan_table(path).collect() if path.is_file() else None
