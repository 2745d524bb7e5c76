"""The tables of one or several runs, each a polars LazyFrame: nothing is read until asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from plates.errors import BadRun, lookup
from profiler.store.places import stored
from profiler.store.run import RunFacts, read_facts
from profiler.store.schema import TABLES
from profiler.store.tables import scan_table
from profiler.store.wells import has_images, scan_cells, scan_images

_PER_WELL = {"cells": scan_cells, "images": scan_images}


@dataclass(frozen=True)
class Run:
    """One run folder and what its `run.json` says."""

    folder: Path
    name: str
    facts: RunFacts


@dataclass(frozen=True)
class Screen:
    """The tables of one or several runs.

    Each property checks the footers of its files and opens them lazily; rows are read when the
    LazyFrame is collected. With several runs, `Metadata_Run` is the first column of each table.

    Every property raises BadRun where its table was not made yet, naming the command that makes
    it; where a file is cut short; and where several runs have different columns.

    Attributes:
        runs: At least one.
    """

    runs: tuple[Run, ...]

    @property
    def facts(self) -> RunFacts:
        """What `run.json` says; with several runs, see `runs[i].facts`."""
        first, *others = self.runs
        if others:
            raise BadRun(f"There are {len(self.runs)} runs: take runs[0].facts, runs[1].facts, ...")
        return first.facts

    @property
    def cells(self) -> pl.LazyFrame:
        """One row per cell: keys, then features."""
        return self.table("cells")

    @property
    def images(self) -> pl.LazyFrame:
        """One row per field: its own features, `Image_*`, null for a failed field."""
        return self.table("images")

    @property
    def fields(self) -> pl.LazyFrame:
        """One row per field, failed ones too, with status, reason, count and seconds."""
        return self.table("fields")

    @property
    def wells(self) -> pl.LazyFrame:
        """One row per well: plate map, counts, median of every feature."""
        return self.table("wells")

    @property
    def profiles(self) -> pl.LazyFrame:
        """One row per well, features against the plate's negative controls."""
        return self.table("profiles")

    @property
    def statistics(self) -> pl.LazyFrame:
        """One row per plate and readout: how well the assay tells its controls apart."""
        return self.table("statistics")

    @property
    def curves(self) -> pl.LazyFrame:
        """One row per compound and readout: the dose-response with its intervals."""
        return self.table("curves")

    @property
    def hits(self) -> pl.LazyFrame:
        """One row per well, ranked."""
        return self.table("hits")

    @property
    def compounds(self) -> pl.LazyFrame:
        """One row per compound, ranked."""
        return self.table("compounds")

    def has(self, name: str) -> bool:
        """Whether every run has made a table; reads nothing but folder listings."""
        return all(_has(run, name) for run in self.runs)

    def table(self, name: str) -> pl.LazyFrame:
        """Open a table by name, one of `profiler.store.schema.TABLES`.

        Raises:
            UnknownName: There is no such table.
            BadRun: It was not made yet, is cut short, or differs between the runs.
        """
        lookup(TABLES, kind="table", name=name)
        frames = {run.name: _scan(run, name) for run in self.runs}
        return _concatenate(frames, table=name) if len(frames) > 1 else frames[self.runs[0].name]


def open(folders: str | Path | Sequence[str | Path]) -> Screen:
    """Open one run folder, or several of the same recipe as one screen.

    Args:
        folders: What was `--out` of `profiler run`.

    Returns:
        The screen; only `run.json` was read.

    Raises:
        BadRun: A folder is no run folder or of another version, or the runs were made by
            different recipes, settings or weights.
    """
    paths = [Path(p) for p in ([folders] if isinstance(folders, str | Path) else folders)]
    if not paths:
        raise BadRun("No run folder was given. Give at least one that was --out of `profiler run`.")
    runs = tuple(Run(path, name, read_facts(path)) for path, name in _named(paths))
    for other in runs[1:]:
        _check_alike(runs[0], other)
    return Screen(runs)


def not_made(folder: Path, name: str) -> BadRun:
    """Say which command makes a table that a run does not have yet."""
    table = TABLES[name]
    command = table.command.format(out=folder)
    note = " (there are none without a plate map, the run's --layout)" if table.needs_layout else ""
    return BadRun(f"{folder} has no {name} yet. Make them with: {command}{note}")


def _named(paths: list[Path]) -> list[tuple[Path, str]]:
    if len({path.resolve() for path in paths}) < len(paths):
        raise BadRun("A run folder was given twice. Give each once.")
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return list(zip(paths, names, strict=True))


def _check_alike(first: Run, other: Run) -> None:
    ours, theirs = _made_by(first.facts), _made_by(other.facts)
    differing = sorted(
        key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)
    )
    if differing:
        key = "recipe" if "recipe" in differing else differing[0]
        raise BadRun(
            f"Runs {first.name} and {other.name} were made differently, so their numbers cannot "
            f"be compared: {key} is {ours.get(key)!r} in one and {theirs.get(key)!r} in the "
            "other. Open them apart, or run one again with the recipe of the other."
        )


def _made_by(facts: RunFacts) -> dict[str, Any]:
    made = {"recipe": facts.recipe, "weights": facts.weights}
    return made | _flat(facts.settings, prefix="settings")


def _flat(table: Mapping[str, Any], *, prefix: str) -> dict[str, Any]:
    flat = {}
    for key, value in table.items():
        name = f"{prefix}.{key}"
        flat |= _flat(value, prefix=name) if isinstance(value, Mapping) else {name: value}
    return flat


def _has(run: Run, name: str) -> bool:
    match name:
        case "cells":
            return bool(stored(run.folder))
        case "images":
            return has_images(run.folder)
        case _:
            return _file(run, name).is_file()


def _scan(run: Run, name: str) -> pl.LazyFrame:
    if name in _PER_WELL:
        return _PER_WELL[name](run.folder)
    if not _has(run, name):
        raise not_made(run.folder, name)
    return scan_table(_file(run, name))


def _file(run: Run, name: str) -> Path:
    return run.folder / TABLES[name].file


def _concatenate(frames: Mapping[str, pl.LazyFrame], *, table: str) -> pl.LazyFrame:
    schemas = {name: dict(frame.collect_schema()) for name, frame in frames.items()}
    first, columns = next(iter(schemas.items()))
    for name, schema in schemas.items():
        odd = sorted({column for column, _ in columns.items() ^ schema.items()})
        if odd:
            raise BadRun(
                f"The {table} of runs {first} and {name} differ in {len(odd)} columns, such as "
                f"{', '.join(odd[:3])}. Open them apart, or run one again so that both have the "
                "same features and plate map columns."
            )
    marked = [
        frame.select(pl.lit(name).alias("Metadata_Run"), *columns) for name, frame in frames.items()
    ]
    return pl.concat(marked, how="vertical")
