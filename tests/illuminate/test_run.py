"""A whole run with corrected fields, and one whose plate has no function."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import profiler
from plates.errors import BadPlate
from profiler.events import Planned
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request

QUICK = Path(__file__).parents[1] / "quick.toml"
WELLS = ("A01", "B02")


def request(plate: Path, out: Path, **illumination) -> Request:
    recipe = load_recipe(QUICK)
    changed = recipe.illumination.model_copy(update=illumination)
    return Request((plate,), out, recipe.model_copy(update={"illumination": changed}), wells=WELLS)


def planned(events) -> Planned:
    return next(event for event in events if isinstance(event, Planned))


@pytest.fixture(scope="module")
def corrected(small_plate, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("lit") / "run"
    list(run(request(small_plate, out, method="mean")))
    return out


def test_corrected_cells_are_other_than_those_as_they_came(corrected, small_run):
    name = "Nuclei_Intensity_MeanIntensity_DNA"
    means = []
    for out in (corrected, small_run):
        cells = profiler.open(out).cells.filter(pl.col("Metadata_Well").is_in(WELLS)).collect()
        means.append(cells[name].mean())
    assert means[0] == pytest.approx(means[1], rel=0.3)
    assert abs(means[0] / means[1] - 1) > 1e-3


def test_a_second_run_fits_and_computes_nothing(small_plate, corrected):
    files = {p: p.stat().st_mtime_ns for p in (corrected / "illumination").rglob("*.*")}
    again = planned(run(request(small_plate, corrected, method="mean")))
    assert again.fields == 0
    assert not any("fitted" in note for note in again.notes)
    assert {p: p.stat().st_mtime_ns for p in files} == files


def test_the_report_shows_the_functions(corrected):
    page = (corrected / "report.html").read_text("utf-8")
    assert "Corners get" in page
    assert "illumination/mini/DNA.npy" in page


def test_a_plate_without_a_function_is_coded_rows(small_plate, tmp_path, monkeypatch):
    monkeypatch.setattr("profiler.illuminate.plate.LEAST", 99)
    with pytest.raises(BadPlate, match="an illumination function needs 99"):
        list(run(request(small_plate, tmp_path / "run", method="mean")))
    fields = profiler.open(tmp_path / "run").fields.collect()
    assert set(fields["Metadata_QC_Status"]) == {"no_illumination"}


def test_a_method_that_is_not_there_is_told_before_anything_is_computed(small_plate, tmp_path):
    asked = request(small_plate, tmp_path / "run", method="meen")
    with pytest.raises(BadPlate, match="'meen', which is no folder and none of none, mean, basic"):
        list(run(replace(asked, wells=WELLS)))
    assert not (tmp_path / "run" / "cells").exists()
