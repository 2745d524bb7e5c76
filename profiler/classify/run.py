"""Every cell of a run gets a class: one file per well, written whole, and only where it lacks."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from plates.errors import BadRun
from profiler.classify.learned import LETTERS
from profiler.classify.model import Model
from profiler.classify.predict import Judge, check_fits, classes_of, judge_of
from profiler.classify.scale import Scale, plate_scale
from profiler.profile.stains import Stains, stains_of
from profiler.store.atomic import is_draft
from profiler.store.classes import CLASSES, LEVEL, classes_path, identity
from profiler.store.places import Well, stored, well_paths
from profiler.store.run import read_facts
from profiler.store.schema import CELL_KEYS
from profiler.store.tables import Footer, read_footer, read_footers, scan_checked, write_table

KEYS = [key.name for key in CELL_KEYS if key.name != "Metadata_QC_Confidence"]


class WellClassified(NamedTuple):
    """A well is done.

    Attributes:
        plate: Its plate.
        well: Its name.
        cells: How many it has.
        total: How many wells there are to do; those that were done already are none of them.
        notes: What a person should know of its plate, with the plate's first well.
    """

    plate: str
    well: str
    cells: int
    total: int
    notes: tuple[str, ...] = ()


def classify_cells(out: Path, model: Model, *, coverage: float) -> Iterator[WellClassified]:
    """Write the classes of all cells of a run.

    Wells that have been classified by the same classifier, with the same coverage, and whose plate
    has not changed since, are left as they are; what wells no longer there had is removed. Cells
    that the classifier learned from get the class that was said of them while held apart.

    Args:
        out: The run folder; hold it where others may use it.
        model: The classifier.
        coverage: What sets are to hold.

    Raises:
        BadModel: The cells lack columns, or have embeddings of another network or of other stains;
            nothing was written.
        BadRecipe: A coverage that is none.
        BadRun: There are no cells, or a file cannot be read or written.
    """
    judge = judge_of(model, coverage=coverage)
    wells = stored(out)
    if not wells:
        raise BadRun(f"{out} has no cells yet. Make them with: profiler run PLATE --out {out}")
    paths = well_paths(out, wells, table="cells")
    footers = dict(zip(wells, read_footers(paths.values()), strict=True))
    _check(model, paths, footers, stains=stains_of(read_facts(out).settings))
    for name in ("classes", "class_hits"):  # of earlier classes: only now that nothing is refused
        (out / f"{name}.parquet").unlink(missing_ok=True)
    _sweep(out, wells)
    wanted = _wanted(model, footers, coverage=coverage)
    todo = [well for well in wells if not _is_done(out, well, wanted[well])]
    for plate in dict.fromkeys(plate for plate, _ in todo):
        own = {well: path for well, path in paths.items() if well[0] == plate}
        scale = plate_scale(scan_checked(list(own.values())), features=model.card.features)
        notes = tuple(_tell(plate, scale, model.card.features))
        for well in (well for well in todo if well[0] == plate):
            cells = _write(out, well, paths[well], judge=judge, scale=scale, made=wanted[well])
            yield WellClassified(*well, cells, len(todo), notes)
            notes = ()


def _write(
    out: Path, well: Well, path: Path, *, judge: Judge, scale: Scale, made: Mapping[str, Any]
) -> int:
    features = judge.model.card.features
    cells = pl.read_parquet(path, columns=[*KEYS, *features], hive_partitioning=False, glob=False)
    learned = judge.model.learned
    seen = learned.of(cells, made["cells"][:LETTERS]) if learned else None
    said = classes_of(cells, judge, scale, seen=seen)
    found = pl.concat([cells.select(KEYS), said], how="horizontal")
    write_table(classes_path(out, well), found, level=LEVEL, parameters=made)
    return found.height


def _check(
    model: Model,
    paths: Mapping[Well, Path],
    footers: Mapping[Well, Footer],
    *,
    stains: Stains | None,
) -> None:
    """All files before any is written: columns once for each network that cells were made with."""
    seen: set[tuple] = set()
    for well, footer in footers.items():
        made = footer.parameters
        kind = (made.get("embedder"), made["computed_by"])
        if kind not in seen:
            names = pl.read_parquet_schema(paths[well])
            made_of = {"embedder": kind[0], "stains": stains}
            check_fits(model, list(names), **made_of, where=str(paths[well]))
            seen.add(kind)


def _wanted(
    model: Model, footers: Mapping[Well, Footer], *, coverage: float
) -> dict[Well, dict[str, Any]]:
    """What the footer of each well is to say: classes depend on all cells of the plate."""
    own = {well: identity(footer) for well, footer in footers.items()}
    plates: dict[str, Any] = {}
    for (plate, _), content in own.items():
        plates.setdefault(plate, hashlib.sha256()).update(content.encode())
    shared = {"model": model.card.sha256, "coverage": coverage}
    return {
        well: {**shared, "cells": content, "plate": plates[well[0]].hexdigest()}
        for well, content in own.items()
    }


def _is_done(out: Path, well: Well, wanted: Mapping[str, Any]) -> bool:
    try:
        footer = read_footer(classes_path(out, well))
    except BadRun:  # absent, cut short or foreign: written again
        return False
    return footer.level == LEVEL and footer.parameters == wanted


def _sweep(out: Path, wells: Sequence[Well]) -> None:
    """Remove what a killed run was writing, and classes of wells that are no longer there."""
    kept = set(well_paths(out, wells, table=CLASSES).values())
    for path in (out / CLASSES).glob("*/*.parquet"):
        if path not in kept:
            path.unlink(missing_ok=True)
    for path in (out / CLASSES).glob("*/.*"):
        if is_draft(path):
            path.unlink(missing_ok=True)


def _tell(plate: str, scale: Scale, features: Sequence[str]) -> Iterator[str]:
    still = int((scale.spread == 0).sum())
    gaps = round(float((1 - scale.known).sum()) * scale.cells)
    if gaps:
        yield (
            f"{gaps:,} of {scale.cells * len(features):,} values of plate {plate} are undefined; "
            "the plate's median stands for them."
        )
    if still:
        yield (
            f"{still} of {len(features)} features do not vary among the cells of plate {plate}: "
            "they say nothing of its cells' classes."
        )
