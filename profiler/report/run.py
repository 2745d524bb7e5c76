"""What a run folder holds, as far as the report shows it."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from plates.errors import BadRun
from profiler.profile.features import EMBEDDING, PREFIXES, named_features
from profiler.report.numbers import defined
from profiler.report.thumbnail import thumbnail_path
from profiler.store.mirror import address_of
from profiler.store.schema import TABLES
from profiler.store.tables import read_footer, scan_table

SHOWN = (
    "fields", "wells", "profiles", "statistics", "curves", "hits", "compounds", "activity",
    "replicates", "consistency", "positions", "map", "clusters", "enrichment", "neighbours",
    "mechanisms", "accuracy", "subpopulations", "kinds", "consensus", "quality", "incidents",
)  # fmt: skip
FACTS = "run.json"
WELL = ("Metadata_Plate", "Metadata_Well")
TIMEPOINT = "Metadata_Timepoint"


@dataclass(frozen=True)
class Run:
    """The tables of a run that are there.

    Attributes:
        folder: Where they lie.
        facts: What `run.json` says; empty where there is none.
        tables: By the names of `SHOWN`, features other than the readout left out.
        readout: Feature the hits were called by, None where nothing says so.
        timepoint: The one that hits were called at, and that is shown; None where there is one.
    """

    folder: Path
    facts: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]
    readout: str | None
    timepoint: int | None = None

    def table(self, name: str) -> pl.DataFrame | None:
        """One table, None where the run has none or it has no rows."""
        found = self.tables.get(name)
        return found if found is not None and found.height else None

    def picture(self, plate: str, well: str) -> Path:
        """Where the thumbnail of a well lies, whether there is one or not."""
        return thumbnail_path(self.folder, plate, well, self.timepoint)

    def is_now(self, table: pl.LazyFrame) -> pl.Expr:
        """Which rows of a table are of the time point that is shown."""
        return _is_at(table, self.timepoint)

    def command(self, name: str) -> str:
        """The command that makes a table; empty where the run says why it made none."""
        if name not in TABLES or name in self.tables or self._reason(name):
            return ""
        where = address_of(self.folder) or self.folder
        return TABLES[name].command.format(out=shlex.quote(str(where)))

    def absence(self, name: str) -> str:
        """Why there is nothing to show: the file is empty, was not made, or was not asked for."""
        if name in self.tables:
            return f"{table_file(name)} has no rows."
        absent = f"There is no {table_file(name)} in this run"
        if reason := self._reason(name):
            return f"{absent}. {reason}"
        return f"{absent} yet. Make it with" if name in TABLES else f"{absent}."

    def _reason(self, name: str) -> str:
        """The sentence of the run's summary that says why there is none, as "No map: ..."."""
        summary = self.facts.get("summary")
        lists = summary.values() if isinstance(summary, dict) else ()
        notes = [note for some in lists if isinstance(some, list) for note in some]
        return next((str(note) for note in notes if _explains(str(note), name)), "")

    def vectors(self) -> list[str]:
        """The numbers of a network in the selected profiles, by which cells can be compared."""
        path = self.folder / table_file("selected")
        names = scan_table(path).collect_schema().names() if path.is_file() else []
        return [name for name in names if name.startswith(EMBEDDING)]

    def effects(self, features: Sequence[str]) -> pl.DataFrame:
        """Read some features of the profiles, as robust z, with the keys of wells.

        Returns:
            Those of `features` that profiles.parquet has; no rows where there is none.
        """
        path = self.folder / table_file("profiles")
        if not path.is_file():
            return pl.DataFrame(schema=dict.fromkeys(WELL, pl.String))
        table = scan_table(path)
        names = table.collect_schema().names()
        wanted = [*WELL, *(name for name in features if name in names)]
        return table.filter(self.is_now(table)).select(wanted).collect()


def _explains(note: str, name: str) -> bool:
    """Whether a note begins as "No clusters and no map: " with the table's name.

    >>> _explains("No map and no clusters: 3 wells.", "clusters"), _explains("No map.", "map")
    (True, False)
    """
    head, colon, _ = note.lower().partition(":")
    return bool(colon) and head.startswith("no ") and f" no {name} " in f" {head} "


def table_file(name: str) -> str:
    """Path of a table in the run folder, which is also how the page links to it."""
    return TABLES[name].file if name in TABLES else f"{name}.parquet"


def read_run(folder: Path) -> Run:
    """Read what the report shows, and no other feature than the readout.

    Raises:
        BadRun: The folder is absent or no run folder, or one of its files is cut short.
    """
    paths = {name: folder / table_file(name) for name in SHOWN}
    there = {name: path for name, path in paths.items() if path.is_file()}
    facts = _read_facts(folder / FACTS)
    if not (there or facts):
        raise BadRun(
            f"{folder} is no run folder: it holds neither {FACTS} nor any of "
            f"{', '.join(map(table_file, SHOWN))}. "
            "Give the folder that `profiler run` wrote (its --out)."
        )
    readout = _readout(there, facts)
    time = _timepoint(there)
    tables = {name: _read(path, readout, time=time) for name, path in there.items()}
    return Run(folder, facts, tables, readout, time)


def _read(path: Path, readout: str | None, *, time: int | None) -> pl.DataFrame:
    table = scan_table(path)
    names = table.collect_schema().names()
    shown = table if path.name == table_file("fields") else table.filter(_is_at(table, time))
    return shown.select(n for n in names if n == readout or not n.startswith(PREFIXES)).collect()


def _timepoint(there: Mapping[str, Path]) -> int | None:
    """The time point of the hits, else the last; None where the run has but one."""
    for name in ("hits", "wells"):
        table = scan_table(there[name]) if name in there else pl.LazyFrame()
        if TIMEPOINT in table.collect_schema().names():
            return table.select(pl.max(TIMEPOINT)).collect().item()
    return None


def _is_at(table: pl.LazyFrame, time: int | None) -> pl.Expr:
    if time is None or TIMEPOINT not in table.collect_schema().names():
        return pl.lit(value=True)
    return pl.col(TIMEPOINT) == time


def _read_facts(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadRun(
            f"{path} is not JSON ({error}): it was cut short or edited. "
            "Run the same `profiler run` command again; finished wells are kept."
        ) from error
    return facts if isinstance(facts, dict) else {}


def _readout(there: Mapping[str, Path], facts: Mapping[str, Any]) -> str | None:
    """The readout the hits' footer names, else run.json, else the only or best one there is."""
    if "hits" in there and (named := read_footer(there["hits"]).parameters.get("readout")):
        return str(named)
    if "hits" in there and (named := _first(there["hits"])):
        return named
    summary = facts.get("summary")
    if isinstance(summary, dict) and summary.get("readout"):
        return str(summary["readout"])
    return _first(there.get("curves")) or _best(there.get("statistics"))


def _first(path: Path | None) -> str | None:
    table = scan_table(path) if path else pl.LazyFrame({"readout": []})
    if "readout" not in table.collect_schema().names():
        return None
    names = table.select(pl.col("readout").drop_nulls().first()).collect()
    return names.item()


def _best(path: Path | None) -> str | None:
    if path is None:
        return None
    rows = scan_table(path).select("readout", "z_prime").collect()
    named = set(named_features(rows["readout"]))
    known = [(z, name) for name, z in rows.iter_rows() if defined(z) and name in named]
    return max(known)[1] if known else None
