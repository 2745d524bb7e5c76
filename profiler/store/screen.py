"""The tables of one or several runs, each a polars LazyFrame: nothing is read until asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from plates.errors import BadRun, lookup
from profiler.store import compare
from profiler.store.align import aligned, schemas_of
from profiler.store.classes import classes_path, has_classes, scan_classes
from profiler.store.columns import matching
from profiler.store.home import open_run
from profiler.store.mark import mark_cells
from profiler.store.mirror import address_of
from profiler.store.objects import run_address
from profiler.store.places import stored
from profiler.store.run import FACTS, Run, RunFacts
from profiler.store.schema import CELL_SECTIONS, TABLES
from profiler.store.tables import read_footer, scan_table
from profiler.store.wells import has_images, scan_cells, scan_images

TIMEPOINT = "Metadata_Timepoint"  # in wells and all after them only where there are several
_PLACE = pl.Struct({"Metadata_Plate": pl.String, "Metadata_Well": pl.String})
_MADE_ALIKE = {  # by more than the recipe says: checked by what footers say
    **dict.fromkeys(("hits", "compounds"), compare.check_ranking),
    **dict.fromkeys(("cell_classes", "classes", "class_hits"), compare.check_classifier),
}
_FEATURES = {  # what `open` does with runs that differ
    "same": "they may not",
    "common": "columns that all runs have",
    "all": "columns that any run has, null in the others",
}


@dataclass(frozen=True)
class Screen:
    """The tables of one or several runs.

    Each property checks the footers of its files and opens them lazily; rows are read when the
    LazyFrame is collected. With several runs, `Metadata_Run` is the first column of each table.

    Every property raises BadRun where its table was not made yet, naming the command that makes
    it; where a file is cut short; and where several runs have different columns or settings.

    Attributes:
        runs: At least one.
        features: Which columns several runs have together; see `open`.
    """

    runs: tuple[Run, ...]
    features: str = "same"

    @property
    def facts(self) -> RunFacts:
        """What `run.json` says; with several runs, see `runs[i].facts`."""
        first, *others = self.runs
        if others:
            raise BadRun(f"There are {len(self.runs)} runs: take runs[0].facts, runs[1].facts, ...")
        return first.facts

    @property
    def cells(self) -> pl.LazyFrame:
        """One row per cell: keys, the verdict on its field once there is one, then features."""
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
    def incidents(self) -> pl.LazyFrame:
        """One row for each thing that befell the run: when, a code, and the reason."""
        return self.table("incidents")

    @property
    def quality(self) -> pl.LazyFrame:
        """One row per field: the numbers it is judged by, the verdict, and the reason."""
        return self.table("quality")

    @property
    def wells(self) -> pl.LazyFrame:
        """One row per well: plate map, counts, median of every feature."""
        return self.table("wells")

    @property
    def profiles(self) -> pl.LazyFrame:
        """One row per well, features against the plate's negative controls."""
        return self.table("profiles")

    @property
    def selected(self) -> pl.LazyFrame:
        """One row per well: the features of its profile that are worth keeping."""
        return self.table("selected")

    @property
    def consensus(self) -> pl.LazyFrame:
        """One row per compound and concentration: the profile its wells agree on."""
        return self.table("consensus")

    @property
    def map(self) -> pl.LazyFrame:
        """One row per well: its place on the map, its cluster, how new it is."""
        return self.table("map")

    @property
    def clusters(self) -> pl.LazyFrame:
        """One row per cluster: size, stability, and the features that deviate most."""
        return self.table("clusters")

    @property
    def enrichment(self) -> pl.LazyFrame:
        """One row per cluster and label: whether the label is over-represented."""
        return self.table("enrichment")

    @property
    def neighbours(self) -> pl.LazyFrame:
        """One row per treatment and one of those most like it, ranked."""
        return self.table("neighbours")

    @property
    def subpopulations(self) -> pl.LazyFrame:
        """One row per well and kind of cell: its share, and the one expected."""
        return self.table("subpopulations")

    @property
    def mechanisms(self) -> pl.LazyFrame:
        """One row per treatment: its known mechanism of action, and the one predicted."""
        return self.table("mechanisms")

    @property
    def kinds(self) -> pl.LazyFrame:
        """One row per kind of cell: its stability, and the features that deviate most."""
        return self.table("kinds")

    @property
    def accuracy(self) -> pl.LazyFrame:
        """One row per rule: how many mechanisms of action it predicts, and how many by chance."""
        return self.table("accuracy")

    @property
    def statistics(self) -> pl.LazyFrame:
        """One row per plate and readout: how well the assay tells its controls apart."""
        return self.table("statistics")

    @property
    def positions(self) -> pl.LazyFrame:
        """One row per plate, readout and row, column or time: what drifts across plates."""
        return self.table("positions")

    @property
    def activity(self) -> pl.LazyFrame:
        """One row per compound and concentration: whether it is told from the controls."""
        return self.table("activity")

    @property
    def replicates(self) -> pl.LazyFrame:
        """One row per compound and concentration: whether its wells agree."""
        return self.table("replicates")

    @property
    def consistency(self) -> pl.LazyFrame:
        """One row per mechanism or target: whether its compounds are alike."""
        return self.table("consistency")

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

    @property
    def cell_classes(self) -> pl.LazyFrame:
        """One row per cell: its class, the classes it may have, and how new it is."""
        return self.table("cell_classes")

    @property
    def classes(self) -> pl.LazyFrame:
        """One row per well and class: its share, and whether that is more than the controls'."""
        return self.table("classes")

    @property
    def class_hits(self) -> pl.LazyFrame:
        """One row per compound, concentration and class: whether the class is enriched."""
        return self.table("class_hits")

    def has(self, name: str) -> bool:
        """Whether every run has made a table; reads nothing but folder listings."""
        return all(_has(run, name) for run in self.runs)

    def table(self, name: str) -> pl.LazyFrame:
        """Open a table by name, one of `profiler.store.schema.TABLES`.

        Raises:
            UnknownName: There is no such table.
            BadRun: It was not made yet, is cut short, or differs between the runs.
        """
        frames = self._tables(name)
        return pl.concat(frames, how="vertical_relaxed") if len(frames) > 1 else frames[0]

    def select(self, table: str, *columns: str) -> pl.LazyFrame:
        """Open some columns of a table: the others are never read.

        Args:
            table: Its name, as "cells".
            columns: Names, or patterns such as "Metadata_*" and "Nuclei_*Intensity*_DNA".

        Returns:
            The columns of the first pattern, then those that the second adds, and so on.

        Raises:
            UnknownName: There is no such table, or a pattern matches none of its columns.
            BadRun: As `table`.
        """
        frame = self.table(table)
        names = frame.collect_schema().names()
        return frame.select(matching(names, columns, table=table))

    def cells_of(self, wells: pl.Expr) -> pl.LazyFrame:
        """Open the cells of some wells; files of other wells are not opened.

        Args:
            wells: What holds for them in the table `wells`, as in
                `pl.col("Metadata_Compound") == "taxol"`.

        Raises:
            BadRun: As `table`, for the wells or the cells.
        """
        names = ("Metadata_Run", "Metadata_Plate", "Metadata_Well")
        there = self.wells.filter(wells)
        keys = [name for name in (*names, TIMEPOINT) if name in there.collect_schema()]
        chosen = there.select(keys).collect()
        some = self.cells.filter(_is_one_of(chosen.select(names[1:]).rows()))
        return some.join(chosen.lazy(), on=keys, how="semi", maintain_order="left")

    def parts(self, *, wells: int = 32) -> Iterator[pl.LazyFrame]:
        """Open the cells a few wells at a time, for work whose memory is not to grow with them.

        Args:
            wells: How many wells a part has at most; a well is never divided.

        Yields:
            Tables as `cells`, by run, plate, row and column.

        Raises:
            BadRun: As `table`.
        """
        for run, frame in zip(self.runs, self._tables("cells"), strict=True):
            places = stored(run.folder)
            for start in range(0, len(places), wells):
                yield frame.filter(_is_one_of(places[start : start + wells]))

    def differences(self, table: str = "cells") -> pl.DataFrame:
        """List how the runs differ, in settings and in a table's columns.

        Args:
            table: Its name.

        Returns:
            One row for each run and each thing that is not alike in all: `kind` ("setting" or
            "column"), `name`, `Metadata_Run`, and `value`, the setting or the column's type,
            null where the run has none. No rows where nothing differs.

        Raises:
            UnknownName: There is no such table.
            BadRun: A run has not made it, or its file is cut short.
        """
        sections = lookup(TABLES, kind="table", name=table).sections
        settings = compare.setting_differences(self.runs, sections=sections)
        columns = compare.column_differences(schemas_of(self._frames(table)))
        found = (("setting", settings), ("column", columns))
        return pl.concat([compare.as_table(kind, values) for kind, values in found])

    def _tables(self, name: str) -> list[pl.LazyFrame]:
        """The table of each run, alike in columns."""
        sections = lookup(TABLES, kind="table", name=name).sections
        if self.features == "same":
            compare.check_settings(self.runs, sections=sections)
        frames = self._frames(name)
        if self.features == "same" and len(self.runs) > 1 and name in _MADE_ALIKE:
            _MADE_ALIKE[name](_made_by(self.runs, name), table=name)
        frames = compare.of_one_network(frames, self.runs, features=self.features)
        return aligned(frames, table=name, features=self.features)

    def _frames(self, table: str) -> dict[str, pl.LazyFrame]:
        return {run.name: _scan(run, table) for run in self.runs}


def open(
    folders: str | Path | Sequence[str | Path],
    *,
    features: str = "same",
    repeated_plates: bool = False,
) -> Screen:
    """Open one run folder, or several as one screen.

    Args:
        folders: What was `--out` of `profiler run`; tables of a store come when they are opened.
        features: What to do with runs that differ: "same" refuses them; "common" takes the
            columns that all have, "all" takes every column, null where a run has none. With
            either, runs of different settings are one screen too: see `Screen.differences`.
        repeated_plates: Whether a plate may be in several runs.

    Returns:
        The screen; only `run.json` was read.

    Raises:
        BadRun: A folder is no run folder or of another version, the runs' cells were made with
            different settings or weights, or a plate is in two runs.
        UnknownName: `features` is none of the three.
    """
    lookup(_FEATURES, kind="choice of features", name=features)
    paths = [Path(p) for p in ([folders] if isinstance(folders, str | Path) else folders)]
    if not paths:
        raise BadRun("No run folder was given. Give at least one that was --out of `profiler run`.")
    runs = tuple(open_run(path, name) for path, name in _named(paths))
    if features == "same":
        compare.check_settings(runs, sections=CELL_SECTIONS)
    if not repeated_plates:
        compare.check_plates(runs)
    return Screen(runs, features)


def not_made(folder: Path, name: str) -> BadRun:
    """Say which command makes a table that a run does not have yet."""
    table, run = TABLES[name], address_of(folder) or folder
    command = table.command.format(out=run)
    note = " (there are none without a plate map, the run's --layout)" if table.needs_layout else ""
    why = f" If a run leaves them out, the summary in {FACTS} says why." if table.optional else ""
    return BadRun(f"{run} has no {name} yet. Make them with: {command}{note}{why}")


def _named(paths: list[Path]) -> list[tuple[Path, str]]:
    if len({path.resolve() for path in paths}) < len(paths):
        raise BadRun("A run folder was given twice. Give each once.")
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [run_address(path) or str(path) for path in paths]
    return list(zip(paths, names, strict=True))


def _has(run: Run, name: str) -> bool:
    run.fetch(name)
    match name:
        case "cells":
            return bool(stored(run.folder))
        case "images":
            return has_images(run.folder)
        case "cell_classes":
            return has_classes(run.folder)
        case _:
            return _file(run, name).is_file()


def _scan(run: Run, name: str) -> pl.LazyFrame:
    run.fetch(name)
    if name == "cells":
        return mark_cells(run.folder, scan_cells(run.folder))
    if name == "images":
        return scan_images(run.folder)
    if name == "cell_classes" and has_classes(run.folder):
        return mark_cells(run.folder, scan_classes(run.folder))
    if not _has(run, name):
        raise not_made(run.folder, name)
    return scan_table(_file(run, name))


def _file(run: Run, name: str) -> Path:
    if name == "cell_classes":  # a file for each well: any one says what all were made by
        return classes_path(run.folder, stored(run.folder)[0])
    return run.folder / TABLES[name].file


def _made_by(runs: Sequence[Run], name: str) -> dict[str, Mapping[str, Any]]:
    """What the footer of each run's table says."""
    return {run.name: read_footer(_file(run, name)).parameters for run in runs}


def _is_one_of(wells: Sequence[tuple[str, str]]) -> pl.Expr:
    keys = ("Metadata_Plate", "Metadata_Well")
    places = pl.Series([dict(zip(keys, well, strict=True)) for well in wells], dtype=_PLACE)
    return pl.struct(keys).is_in(places.implode())
