"""What the classes of a run's cells come to: tables of wells and compounds, and a summary."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import polars as pl

from profiler.classify.learned import FILE, file_of
from profiler.classify.model import Model
from profiler.classify.predict import has_vectors
from profiler.classify.run import WellClassified, classify_cells
from profiler.classify.shares import COMPOUND, ROLE, compound_table, shares, well_table
from profiler.classify.tally import TIMEPOINT, WELL, Tally, tally
from profiler.profile.consensus import TREATMENT
from profiler.quality import marked
from profiler.store.places import stored, well_paths
from profiler.store.run import read_facts, write_facts
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footers, write_table

MOST_NAMES = 5


class Classified(NamedTuple):
    """The tables are written, and the run's summary says so.

    Attributes:
        wells: Of the table `classes`.
        notes: What was found and dropped, in sentences.
    """

    wells: pl.DataFrame
    notes: tuple[str, ...]


Event: TypeAlias = WellClassified | Classified


def classify_run(out: Path, model: Model, *, coverage: float = 0.9) -> Iterator[Event]:
    """Give every cell of a run a class, and count them by well and compound.

    Args:
        out: The run folder; hold it where others may use it.
        model: The classifier.
        coverage: Share of cells whose set of classes is to hold theirs.

    Yields:
        `WellClassified` for each well that was not done before, at last `Classified`.

    Raises:
        As `run.classify_cells`.
    """
    told: list[str] = []
    for event in classify_cells(out, model, coverage=coverage):
        told += event.notes
        yield event
    found = _annotated(out, tally(_that_count(out), model, keys=_keys(out)))
    held = shares(found)
    table, hits = well_table(found, held), compound_table(found, held)
    parameters = {"model": model.card.sha256, "coverage": coverage}
    write_table(out / "classes.parquet", table, level="classes", parameters=parameters)
    if hits is not None:
        write_table(out / "class_hits.parquet", hits, level="class_hits", parameters=parameters)
    said = (*_tell(found, held.reference, hits), *_tell_learned(out, model, found))
    notes = (*told, *said, *_tell_unchecked(model))
    facts = read_facts(out)
    write_facts(out, replace(facts, summary=dict(facts.summary) | {"classes": list(notes)}))
    yield Classified(table, notes)


def _that_count(out: Path) -> pl.LazyFrame:
    """The classes of cells that the run's profiles count, too."""
    settings = read_facts(out).settings.get("profile", {})
    classes = open_screen(out).cell_classes
    if settings.get("exclude_border", False):
        classes = classes.filter(~pl.col("Metadata_QC_TouchesBorder"))
    return marked(classes, exclude=settings.get("exclude_bad_fields", False))


def _keys(out: Path) -> tuple[str, ...]:
    times = open_screen(out).fields.select(pl.col(TIMEPOINT).n_unique()).collect().item()
    return (*WELL, TIMEPOINT) if times > 1 else WELL


def _annotated(out: Path, found: Tally) -> Tally:
    """Add what the plate map says of each well, where there is one."""
    screen = open_screen(out)
    if not screen.has("wells"):
        return found
    wells = screen.wells
    names = wells.collect_schema().names()
    known = wells.select(*WELL, *(name for name in TREATMENT if name in names)).unique(list(WELL))
    joined = found.wells.join(known.collect(), on=list(WELL), how="left", maintain_order="left")
    return found._replace(wells=joined)


def _tell(found: Tally, reference: list[str], hits: pl.DataFrame | None) -> Iterator[str]:
    wells, cells = found.wells, int(found.totals.sum())
    each = ", ".join(
        f"{name} {share:.1%}"
        for name, share in zip(found.names, found.counts.sum(axis=0) / max(cells, 1), strict=True)
    )
    yield f"{cells:,} cells of {_count(wells)} have a class: {each}."
    lost = int(found.wells["n_unclassified"].sum())
    if lost:
        yield f"{lost:,} cells have no class: fewer than half of their features are defined."
    if "plate" in reference:
        whole = wells.filter(pl.Series(reference) == "plate")
        yield (
            f"{_count(whole)} are on plates with fewer than three negative controls with cells: "
            "their enrichment is against all wells of the plate."
        )
    if hits is None:
        yield "No compounds are tested for classes: no plate map names compounds and controls."
        return
    enriched = hits.filter("is_enriched")
    some = ", ".join(
        f"{row[COMPOUND]} ({row['class']})"
        for row in enriched.unique([COMPOUND, "class"], maintain_order=True)
        .head(MOST_NAMES)
        .iter_rows(named=True)
    )
    of = f"{enriched.height} of {hits.height} pairs of a treatment and a class are enriched"
    yield f"{of} (q at most .05)" + (f", first {some}." if some else ".")


def _tell_learned(out: Path, model: Model, found: Tally) -> Iterator[str]:
    """Say how many of the run's cells, and of its controls', the classifier learned from."""
    if model.learned is None:
        yield (
            "The classifier's file does not say which cells it learned from. If some are of this "
            "run, they have the class that it was taught, and the shares of their wells are too "
            "near to the labels: train it anew."
        )
        return
    cells = model.learned.cells.with_columns(is_judged=model.learned.seen.apart >= 0)
    labelled = set(cells.select(WELL).rows())
    own = [well for well in stored(out) if well in labelled]
    footers = read_footers(well_paths(out, own, table="cells").values())
    rows = [(*well, file_of(footer)) for well, footer in zip(own, footers, strict=True)]
    names: list[str] = [*WELL, FILE]
    files = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    taught = cells.join(files, on=[*WELL, FILE], how="semi")
    if others := cells.join(files, on=list(WELL), how="semi").height - taught.height:
        yield (
            f"{others:,} cells that taught the classifier were of wells of these names, which have "
            "been computed anew since or are of another run: what is there now is judged as new. "
            "If the images are the same, train it anew."
        )
    if not taught.height:
        return
    is_control = pl.col(ROLE) == "negative"
    roles = found.wells.filter(is_control) if ROLE in found.wells.columns else found.wells.clear()
    controls = taught.join(roles, on=list(WELL), how="semi").height
    lost = int((~taught["is_judged"]).sum())
    yield (
        f"{taught.height:,} cells of the run, {controls:,} of them negative controls, taught the "
        "classifier: they have the class that was said of them while they were held apart"
        + (f", but {lost:,} that none could judge so." if lost else ".")
    )


def _tell_unchecked(model: Model) -> Iterator[str]:
    if has_vectors(model) and model.card.stains is None:
        yield (
            "The classifier's card does not say which stains its embeddings are of: that the "
            "run's are of the same, in the same order, was not checked."
        )


def _count(wells: pl.DataFrame) -> str:
    """Count wells, and in a run over time the time points that they are rows of."""
    counted = f"{wells.select(WELL).n_unique()} wells"
    if TIMEPOINT not in wells.columns:
        return counted
    times = wells[TIMEPOINT].n_unique()
    return f"{counted} at {times} time point{'s' * (times > 1)}"
