"""A task: the same wells whatever the batch, the device or the trouble; everything at once."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import polars as pl
import pytest
import tifffile
from polars.testing import assert_frame_equal

import plates.loader as loader
import profiler.cells as cells_stage
import profiler.compute.worker as worker
from plates.errors import BadRun
from plates.pixels import read_file
from profiler.compute.devices import OutOfMemory, batch_size, telling_out_of_memory
from profiler.compute.field import FieldProgram, compile_recipe
from profiler.compute.pictures import Pictures
from profiler.compute.worker import Task, work
from profiler.events import BatchHalved, FieldsDone, Forecast, TaskTimed, WellSaved
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request, find_fields
from profiler.store.lock import locked

QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features
WELLS = 5


@pytest.fixture(scope="module")
def program() -> FieldProgram:
    return compile_recipe(load_recipe(QUICK))


def task_of(plate: Path) -> Task:
    sets = find_fields(Request((plate,), Path("unused"), load_recipe(QUICK))).sets
    return Task(sets, sets.head(WELLS))


def done(plate: Path, out: Path, program: FieldProgram, **options) -> list:
    request = Request((plate,), out, load_recipe(QUICK), **options)
    with locked(out):
        return list(work(request, program, task_of(plate)))


def cells(out: Path) -> pl.DataFrame:
    files = sorted((out / "cells").rglob("*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files])


@pytest.fixture(scope="module")
def alone(small_plate, program, tmp_path_factory) -> pl.DataFrame:
    """The cells, one field at a time."""
    out = tmp_path_factory.mktemp("alone")
    done(small_plate, out, program, batch=1)
    return cells(out)


def refusing(program: FieldProgram, most: int) -> FieldProgram:
    """A device that has no room for more than `most` fields."""

    def compute(images, **options):
        with telling_out_of_memory(len(images)):
            if len(images) > most:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory: 9 GiB")
            return program.compute(images, **options)

    return replace(program, compute=compute)


@pytest.mark.parametrize("batch", [3, 8])
def test_a_fields_cells_are_the_same_whatever_batch_it_is_in(
    batch, alone, small_plate, program, tmp_path
):
    events = done(small_plate, tmp_path, program, batch=batch)
    assert_frame_equal(cells(tmp_path), alone, check_exact=True)
    assert sum(event.fields for event in events if isinstance(event, FieldsDone)) == WELLS


@pytest.mark.parametrize("most", [1, 3])
def test_out_of_memory_halves_the_batch_and_goes_on(most, alone, small_plate, program, tmp_path):
    events = done(small_plate, tmp_path, refusing(program, most), batch=4)
    assert_frame_equal(cells(tmp_path), alone, check_exact=True)
    halved = [event for event in events if isinstance(event, BatchHalved)]
    assert halved == [BatchHalved(min(most, 2))]
    assert f"start with --batch {min(most, 2)} next time" in halved[0].sentence


def test_a_field_that_does_not_fit_alone_stops_the_run_with_its_reason(
    small_plate, program, tmp_path
):
    with pytest.raises(OutOfMemory, match=r"1 field together do not fit .* \[segment\] max_cells"):
        done(small_plate, tmp_path, refusing(program, 0), batch=2)
    assert not list(tmp_path.rglob("*.parquet"))


def test_other_errors_of_the_device_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), telling_out_of_memory(1):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")
    with pytest.raises(OutOfMemory, match="2 fields together"), telling_out_of_memory(2):
        raise MemoryError


def test_an_error_of_the_writer_surfaces_and_what_was_written_is_whole(
    alone, small_plate, program, tmp_path, monkeypatch
):
    written = []

    def write(out, well, **options):
        if len(written) == 2:
            raise BadRun("The disk is full")
        written.append(well.well)
        return real(out, well, **options)

    real = worker.write_well
    monkeypatch.setattr(worker, "write_well", write)
    with pytest.raises(BadRun, match="disk is full"):
        done(small_plate, tmp_path, program, batch=1)
    there = cells(tmp_path)
    expected = alone.filter(pl.col("Metadata_Well").is_in(written))
    assert_frame_equal(there, expected, check_exact=True)
    assert threading.active_count() == 1 + sum(t.daemon for t in threading.enumerate())


def test_no_thread_outlives_a_task_that_takes_its_wells_elsewhere(small_plate, program, tmp_path):
    request = Request((small_plate,), tmp_path, load_recipe(QUICK))
    before, taken = threading.active_count(), []
    events = work(
        request, program, task_of(small_plate), take=lambda *well: taken.append((well, "taken"))
    )
    assert any(isinstance(event, WellSaved) for event in events)  # stops at the first
    with pytest.raises(ZeroDivisionError) as kept:  # whose traceback holds on to all frames
        events.throw(ZeroDivisionError)  # type: ignore[attr-defined]
    assert taken
    assert kept.tb
    assert threading.active_count() == before


def test_reading_computing_and_writing_go_on_at_once(small_plate, program, tmp_path, monkeypatch):
    read, begun, files = [], threading.Semaphore(0), 3

    def reading(path):
        read.append(path)
        return read_file(path)

    def compute(images, **options):
        begun.release()
        number = compute.calls = getattr(compute, "calls", 0) + 1
        ahead = min((number + 1) * files, WELLS * files)
        for _ in range(1000):  # the next field is read while this one is computed
            if len(read) >= ahead:
                break
            threading.Event().wait(0.01)
        assert len(read) >= ahead
        return program.compute(images, **options)

    def write(out, well, **options):
        if len(saved) < WELLS - 1:  # the next field is computed while this well is written
            assert begun.acquire(timeout=10)
        saved.append(well.well)
        return real(out, well, **options)

    saved, real = [], worker.write_well
    silent = Pictures(tmp_path, (), np.empty((0, 2)), save_labels=False, shown_site=0)
    done(small_plate, tmp_path / "warm", program, batch=1)  # formats and grey levels, too
    monkeypatch.setattr(worker, "write_well", write)
    monkeypatch.setattr(loader, "read_file", reading)
    monkeypatch.setattr(worker, "_pictures", lambda *_: silent)
    begun.acquire(blocking=False)
    done(small_plate, tmp_path / "run", replace(program, compute=compute), batch=1)
    assert len(saved) == WELLS


def test_what_is_told(small_plate, program, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = done(small_plate, tmp_path / "a", program, batch=1, profile=True)
    again = done(small_plate, tmp_path / "b", program, batch=1)
    before, measured = [event for event in first if isinstance(event, Forecast)]
    assert isinstance(first[0], Forecast)
    assert (before.fields, before.seconds_per_field, before.is_measured) == (WELLS, None, False)
    assert before.pixel_bytes == WELLS * 192 * 192 * 3 * 2
    assert measured.is_measured
    assert (measured.seconds_per_field or 0) > 0
    assert measured.fields == WELLS - 3
    assert again[0].seconds_per_field > 0  # as the run before took
    saved = [event.well for event in first if isinstance(event, WellSaved)]
    assert saved == ["A01", "A02", "A03", "A04", "B01"]
    timed = first[-1]
    assert isinstance(timed, TaskTimed)
    assert timed.fields == WELLS
    assert {"read", "decode", "copy", "segment", "measure", "write"} <= timed.seconds.keys()
    assert timed.seconds["compute"] <= timed.elapsed
    assert sum(stretch[0] == "read" for stretch in timed.stretches) == 3 * WELLS
    assert len({stretch[1] for stretch in timed.stretches}) >= 3  # threads
    assert timed.alone["network"] > 0
    assert again[-1].stretches == ()


def test_a_cpu_takes_one_field_at_a_time():
    assert batch_size(pixels=1080 * 1080, channels=5) == 1


class Device(NamedTuple):
    """An accelerator with so much memory, or one that does not tell."""

    stats: dict | None

    def memory_stats(self):
        return self.stats


@pytest.mark.parametrize(
    ("free_gb", "expected"),
    [((24,), 2), ((140,), 16), ((1,), 1), ((24, 100), 4), ((None,), 16)],
)
def test_an_accelerator_takes_as_many_as_its_memory_holds(free_gb, expected, monkeypatch):
    stats = [gb and {"bytes_limit": (gb + 1) * 10**9, "bytes_in_use": 10**9} for gb in free_gb]
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(each) for each in stats])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert batch_size(pixels=1080 * 1080, channels=5) == expected


TWO = """
import sys
import jax, numpy as np
from profiler.compute.devices import place, shards
from profiler.compute.field import compile_recipe, fetch
from profiler.recipe import parse_recipe

recipe = parse_recipe({
    "name": "two",
    "images": {"channels": {"DNA": "DNA"}},
    "segment": {"method": "ring", "max_cells": 32},
    "measure": {"families": ["Intensity"]},
})
first, second = jax.local_devices()
images = np.load(sys.argv[1])
parts = shards(place(images))
assert [(len(part), part.devices()) for part in parts] == [(2, {first}), (2, {second})]
assert len(shards(place(images[:3]))) == 1  # not to be divided evenly

for backend, sizes in {"cpu": (1, 4), "jax": (1, 2)}.items():
    program = compile_recipe(recipe, backend=backend)
    both = program.run(images)
    for size in sizes:
        groups = [images[i : i + size] for i in range(0, 4, size)]
        shares = [program.compute(jax.device_put(group, first)) for group in groups]
        one = [result for share in shares for result in fetch(share)]
        for a, b in zip(one, both, strict=True):
            assert a.count == b.count > 0
            for name in ("nuclei", "cells", "features", "image", "touches_border"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
"""


def test_two_devices_share_a_batch_and_find_what_one_finds(small_plate, tmp_path):
    """So do the kernels of an accelerator, and whatever the batch: bit by bit."""
    fields = sorted(small_plate.glob("*_DNA.tif"))[:4]
    images = np.stack([tifffile.imread(path)[:128, :128, None] for path in fields])
    np.save(tmp_path / "images.npy", images)
    two = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    flags = {"XLA_FLAGS": two, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", TWO, str(tmp_path / "images.npy")]
    ran = subprocess.run(command, env=os.environ | flags, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_a_run_tells_of_the_halved_batch_and_of_where_its_time_went(
    small_plate, program, tmp_path, monkeypatch
):
    monkeypatch.setattr(cells_stage, "compile_recipe", lambda _: refusing(program, 1))
    request = Request(
        (small_plate,), tmp_path / "run", load_recipe(QUICK), wells=("A01", "A02"), batch=2
    )
    events = list(run(replace(request, profile=True)))
    summary = json.loads((tmp_path / "run" / "run.json").read_text())["summary"]
    assert BatchHalved(1).sentence in summary["input"]
    (time,) = [event for event in events if getattr(event, "name", "") == "time"]
    assert time.notes[0].startswith("the device was busy ")
    trace = json.loads((tmp_path / "run" / "timing" / "trace.json").read_text())
    assert {"read", "compute", "write"} <= {entry["name"] for entry in trace["traceEvents"]}
    stages = pl.read_csv(tmp_path / "run" / "timing" / "stages.csv")
    assert "network" in stages["stage"].to_list()
    again = list(run(replace(request, replace=True)))  # knows the folder as its own
    assert not (tmp_path / "run" / "timing").exists()
    assert any(isinstance(event, BatchHalved) for event in again)
