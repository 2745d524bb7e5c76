"""The whole flow, top to bottom: plates in, cells, profiles, hits and a report out.

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
from profiler.hits import Hits as HitTables
from profiler.hits import call_hits
from profiler.profile import (
    aggregate,
    annotate,
    feature_columns,
    is_role,
    lost_features,
    robust_z,
)
from profiler.recipe import Recipe, parse_recipe
from profiler.report import write_report
from profiler.request import Request, find_fields, find_layout
from profiler.store.lock import locked
from profiler.store.run import check, read_facts, write_facts
from profiler.store.screen import open as open_screen
from profiler.store.tables import scan_table, write_table

DERIVED = ("wells", "profiles", "statistics", "curves", "hits", "compounds")


def run(request: Request) -> Iterator[Event]:
    """Turn plates into cells, profiles, hits and a report, yielding what happens.

    Wells that are finished and whose images, recipe and weights are unchanged are not
    computed again; stopping and starting again costs one well at most.

    Raises:
        ProfilingError: Whatever cannot be mended by going on; the message says what was kept.
    """
    from profiler.cells import make_cells

    plates = find_fields(request)
    layout = find_layout(request, plates.sets)
    if not request.replace:
        check(request.out, recipe=request.recipe.name)
    with locked(request.out):
        yield from make_cells(request, plates, layout)
        yield from analyse(request.out, is_whole=not request.wells)


def analyse(out: Path, *, is_whole: bool = True) -> Iterator[Event]:
    """Run every stage after the cells, from the Parquet alone; the report is made whatever fails.

    Args:
        out: The run folder.
        is_whole: Whether all wells were asked for; a few may well lack controls.

    Raises:
        BadPlate: No field of the run could be used.
        NoControls: The plate map's negative controls are missing or failed.
    """
    summary: dict[str, Any] = count_fields(scan_table(out / "fields.parquet").collect())
    for name in DERIVED:  # what a failing stage leaves must not pass for this run's
        (out / f"{name}.parquet").unlink(missing_ok=True)
    try:
        if not summary["fields_ok"] + summary["fields_empty"]:
            raise BadPlate(_all_failed(out))
        for stage in (make_profiles, make_hits):
            done = stage(out) if is_whole else _without_controls(stage, out)
            summary |= {done.name: list(done.notes)} | dict(done.found)
            yield done
    finally:
        write_facts(out, replace(read_facts(out), summary=summary))
        report = write_report(out)
    yield StageDone("report", (str(report),))
    yield Finished(out, summary)


def make_profiles(out: Path) -> StageDone:
    """Write `wells.parquet` and, where there is a plate map, `profiles.parquet`."""
    settings = _recipe(out).profile
    cells = open_screen(out).cells
    if settings.exclude_border:
        cells = cells.filter(~pl.col("Metadata_QC_TouchesBorder"))
    fields, layout = scan_table(out / "fields.parquet").collect(), _layout(out)

    medians = aggregate(cells, how=settings.aggregate)
    wells, coverage = annotate(medians, fields=fields, layout=layout)
    write_table(out / "wells.parquet", wells, level="wells", parameters=settings.model_dump())
    notes = tuple(coverage.sentences())
    if layout is None:
        return StageDone("profiles", (*notes, "Without a plate map wells are not normalised."))

    how = {"features": feature_columns(wells), "reference": is_role("negative")}
    profiles, lost = robust_z(wells, **how), lost_features(wells, **how)
    parameters = {"method": "robust_z", "reference": "negative", "within": "Metadata_Plate"}
    write_table(out / "profiles.parquet", profiles, level="profiles", parameters=parameters)
    return StageDone("profiles", (*notes, *_tell_lost(lost)))


def make_hits(out: Path, *, changes: Mapping[str, Any] | None = None) -> StageDone:
    """Write `statistics`, `curves`, `hits` and `compounds.parquet`.

    Args:
        out: The run folder.
        changes: Settings of the recipe's [hits] to use instead of those the run was made with.
    """
    if _layout(out) is None:
        return StageDone("hits", ("Without a plate map there are no controls, and no hits.",))
    settings = _recipe(out, hits=changes or {}).hits.model_dump()
    screen = open_screen(out)
    hits = call_hits(screen.wells.collect(), screen.profiles.collect(), **settings)
    parameters = settings | {"readout": hits.readout, "rank_by": hits.ranked_by}
    for name in ("statistics", "curves", "hits", "compounds"):
        write_table(out / f"{name}.parquet", getattr(hits, name), level=name, parameters=parameters)
    found = {"readout": hits.readout, "best_readout": hits.best, "ranked_by": hits.ranked_by}
    return StageDone("hits", _tell_hits(hits), found)


def _without_controls(stage: Callable[[Path], StageDone], out: Path) -> StageDone:
    """Run a stage on a few wells, where a lack of controls is to be told, not raised."""
    try:
        return stage(out)
    except NoControls as lack:
        return StageDone(stage.__name__.removeprefix("make_"), (str(lack),))


def count_fields(fields: pl.DataFrame) -> dict[str, Any]:
    """Count fields by what became of them, for the summary."""
    status = fields["Metadata_QC_Status"]
    empty, good = int((status == "no_cells").sum()), int((status == "ok").sum())
    codes = fields.filter(~status.is_in(["ok", "no_cells"]))["Metadata_QC_Status"].value_counts()
    return {
        "wells": fields.select("Metadata_Plate", "Metadata_Well").n_unique(),
        "fields": fields.height,
        "fields_ok": good,
        "fields_empty": empty,
        "fields_failed": dict(sorted(codes.iter_rows())),
        "cells": int(fields["Metadata_Object_Count"].sum()),
        "seconds_per_field": fields.filter(status == "ok")["Metadata_Seconds"].median(),
        "measure_seconds_per_field": fields.filter(status == "ok")[
            "Metadata_Seconds_Measure"
        ].median(),
    }


def _tell_hits(hits: HitTables) -> tuple[str, ...]:
    """Say what was found: how good the assay is, and how many hits."""
    quality = hits.statistics.filter(pl.col("readout").is_in([hits.readout, hits.best]))
    columns = ("Metadata_Plate", "readout", "z_prime")
    rows = quality.drop_nulls("z_prime").select(columns).iter_rows()
    lines = [f"{plate}: Z' {z:.2f} of {name}" for plate, name, z in rows]
    found = hits.compounds.filter((pl.col("Metadata_Role") == "treatment") & pl.col("is_hit"))
    names = ", ".join(found["Metadata_Compound"]) or "none"
    return (*lines, f"{found.height} compounds are hits, ranked by {hits.ranked_by}: {names}")


def _tell_lost(lost: pl.DataFrame) -> Iterator[str]:
    """Say which features have no value after normalisation on a plate, and why."""
    why = {
        "no_spread": "the negative controls do not vary in them",
        "no_reference": "no negative control has a value",
        "infinite": "some wells are infinite",
    }
    for key, features in lost.group_by("Metadata_Plate", "reason", maintain_order=True):
        plate, reason = map(str, key)
        names = features["feature"].to_list()
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        listed = f"{', '.join(names[:3])}{more}"
        yield f"{plate}: {len(names)} features are null, as {why[reason]}: {listed}."


def _recipe(out: Path, *, hits: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe as `run.json` keeps it, so that later stages need nothing else."""
    settings = dict(read_facts(out).settings)
    settings["hits"] = {**settings["hits"], **(hits or {})}
    return parse_recipe(settings, where=str(out / "run.json"))


def _layout(out: Path) -> pl.DataFrame | None:
    path = out / "layout.parquet"
    return scan_table(path).collect() if path.is_file() else None


def _all_failed(out: Path) -> str:
    fields = scan_table(out / "fields.parquet").collect()
    return (
        f"None of the {fields.height} fields could be used, so there is nothing to profile. "
        f"The first: {fields['Metadata_QC_Reason'][0]} All reasons are in {out}/fields.parquet "
        "and the report."
    )
