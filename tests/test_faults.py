"""Each fault of `benchmarks/faults.py`, really caused once: no row is lost, none is doubled."""

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from benchmarks import faults

WELLS = ("A01", "A02", "A04", "B01", "B02", "B04")  # of the last one an image goes, or is cut


@pytest.fixture(scope="module")
def half(small_plate, tmp_path_factory) -> tuple[Path, Path]:
    """Half a plate, and an undisturbed run of it; copy them before changing anything."""
    plate = tmp_path_factory.mktemp("half") / "mini"
    plate.mkdir()
    for path in (small_plate / "platemap.csv", *small_plate.glob("*.tif")):
        if path.suffix == ".csv" or path.name.split("_")[1] in WELLS:
            shutil.copy(path, plate)
    run = faults.words(plate, plate.parent / "run", layout=plate / "platemap.csv")
    said = faults.in_this_process(run)
    assert said.code == 0, said.text
    return plate, plate.parent / "run"


@pytest.fixture
def scene(half, tmp_path) -> faults.Scene:
    (tmp_path / "seconds").write_text("2.0")
    plate = Path(shutil.copytree(half[0], tmp_path / "mini"))
    return faults.Scene(plate, half[1], tmp_path, faults.in_this_process)


CODES = {
    # Without an incident only if the run had let its folder go when the signal came.
    "SIGKILL at a random moment": "^([0-9] of 6 wells done; incident killed|6 of 6 wells done)$",
    "full disk": "The disk is full; incident disk_full$",
    "file vanishing": "^1 missing_file$",
    "truncated image": "^1 empty_file$",
    "store fails one request in ten": "^incident request_failed$",
    "store never gives one image": "^1 unreadable; incident request_failed$",
    "out of memory on the device": "at a time.*; incident device_out_of_memory$",
}


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_after_a_fault_and_a_rerun_the_tables_are_those_of_an_undisturbed_run(fault, scene):
    if fault == "full disk" and not faults.has_small_disks():
        pytest.skip("this user may not mount a small file system")
    found = faults.cost(fault, scene, times=1)
    assert (found.lost, found.doubled) == (0, 0)
    assert re.search(CODES[fault], found.told)


def test_a_lost_and_a_doubled_row_are_found(half, tmp_path):
    """The comparison itself: it must be able to fail."""
    out = Path(shutil.copytree(half[1], tmp_path / "run"))
    assert faults.differences(out, half[1]) == {}
    name = "cells/mini/A01.parquet"
    path = out / name
    cells = pl.read_parquet(path)
    cells[1:].write_parquet(path)
    assert faults.differences(out, half[1]) == {name: (1, 0)}
    pl.concat([cells, cells[:2]]).write_parquet(path)
    assert faults.differences(out, half[1]) == {name: (0, 2)}
    path.unlink()
    assert faults.differences(out, half[1]) == {name: (cells.height, 0)}
