"""A watcher whose time does not pass by itself, and whose runs are told, not computed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from profiler.events import FieldsDone, Finished, Planned, StageDone
from profiler.recipe import load_recipe
from profiler.request import Request
from profiler.store.home import at_home
from profiler.store.run import RunFacts, write_facts
from profiler.store.tables import write_table
from profiler.watch.loop import watch
from profiler.watch.settings import Clock, Watch
from profiler.watch.words import legible

RECIPE = load_recipe("demo")
START = 1_800_000_000.0
SUMMARY = {"wells": 1, "fields": 2, "fields_ok": 1, "fields_empty": 0, "cells": 7}
SUMMARY |= {"fields_failed": {"unreadable": 1}, "profiles": [], "hits": [], "phenotypes": []}


def finish(out: Path, plate: str = "") -> None:
    """Leave what a finished run leaves, as far as a watcher looks at it."""
    out.mkdir(parents=True, exist_ok=True)
    plate = plate or out.name
    facts = RunFacts("demo", RECIPE.model_dump(mode="json"), {}, "cpu", None, None, (plate,))
    readout = {"readout": "Cells_X"}
    write_facts(out, RunFacts(**{**facts.__dict__, "summary": SUMMARY | readout}))
    (out / "report.html").write_text("</html>")
    keys = {"Metadata_Plate": plate, "Metadata_Well": "A01", "Metadata_Site": [1, 2]}
    fields = {"Metadata_QC_Status": ["ok", "unreadable"], "Metadata_Object_Count": [7, 0]}
    write_table(out / "fields.parquet", pl.DataFrame(keys | fields), level="fields", parameters={})
    statistics = {"Metadata_Plate": plate, "readout": ["Cells_X"], "z_prime": [0.61]}
    statistics |= {"robust_z_prime": [0.65], "ssmd": [9.0]}
    table = pl.DataFrame(statistics)
    write_table(out / "statistics.parquet", table, level="statistics", parameters={})


class Bench:
    """An inbox, a clock and a run that does as the test says.

    Attributes:
        now: What the clock says; sleeping puts it forward.
        on_sleep: What happens while the watcher sleeps, by the number of the sleep.
        on_run: What happens while a plate runs: an error to raise, or something to do.
        runs: Plates that were run, in order.
        others: Run folders that are of other images than those that are there now.
        parts: Run folders that are of some of the images that are there now.
    """

    def __init__(self, folder: Path):
        self.inbox, self.out = folder / "inbox", folder / "runs"
        self.inbox.mkdir()
        self.now, self.sleeps, self.is_stopped = START, 0, False
        self.on_sleep: dict[int, Callable[[], object]] = {}
        self.on_run: dict[str, Callable[[], object]] = {}
        self.runs: list[str] = []
        self.others: set[str] = set()
        self.parts: set[str] = set()

    def add(self, name: str, *, files: int = 2, age_s: float = 0.0) -> Path:
        plate = self.inbox / name
        plate.mkdir(parents=True, exist_ok=True)
        for index in range(files):
            (plate / f"{index}.tif").write_bytes(b"pixels")
        times = (self.now - age_s, self.now - age_s)
        for place in (*plate.iterdir(), plate):
            os.utime(place, times)
        return plate

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps += 1
        self.on_sleep.get(self.sleeps, lambda: None)()
        if self.sleeps >= 40:
            self.is_stopped = True

    def stop(self) -> None:
        self.is_stopped = True

    def run(self, request: Request):
        name = legible(request.plates[0].relative_to(self.inbox).as_posix())
        assert request.out.name.split("~")[0] == Path(name).name
        assert self.goes_on(request)
        self.runs.append(name)
        yield Planned(2, 1, 0, ("a note",))
        yield FieldsDone(2, 1, 7)
        self.on_run.get(name, lambda: None)()
        with at_home(request.out) as home:
            finish(home.folder, request.out.name)
        yield StageDone("hits", ("Z' 0.61",))
        yield Finished(request.out, SUMMARY)

    def goes_on(self, request: Request, *, as_it_is: bool = False) -> bool:
        not_it = self.others | self.parts if as_it_is else self.others
        return request.out.relative_to(self.out).as_posix() not in not_it

    def watch(self, **settings) -> list:
        """Watch until stopped; the clock stops everything after 40 looks."""
        self.sleeps, self.is_stopped = 0, False
        chosen = Watch(self.inbox, self.out, **settings)
        clock = Clock(lambda: self.now, self.sleep, lambda: self.is_stopped)
        request = Request((), self.out, RECIPE)
        return list(watch(chosen, request, run=self.run, clock=clock, goes_on=self.goes_on))

    def once(self, **settings) -> list:
        return self.watch(**({"once": True, "quiet_s": 0.0} | settings))

    def status(self) -> dict:
        return json.loads((self.out / "status.json").read_text())

    def index(self) -> pl.DataFrame:
        return pl.read_parquet(self.out / "index.parquet")


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def fail(error: BaseException) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do
