"""A run whose cells are those that a network sees, beside the same plate with propagated ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import profiler
from plates.errors import BadRecipe, BadRun
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request
from profiler.segment.weights import load_network
from profiler.store.run import read_facts

QUICK = Path(__file__).parent / "quick.toml"
WELLS = ("A01", "B02")


def request(plate: Path, out: Path, **segment) -> Request:
    recipe = load_recipe(QUICK)
    settings = recipe.segment.model_copy(update={"method": "network", **segment})
    recipe = recipe.model_copy(update={"segment": settings})
    return Request((plate,), out, recipe, layout=plate / "platemap.csv", wells=WELLS)


@pytest.fixture(scope="module")
def whole(small_plate, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    list(run(replace(request(small_plate, out), profile=True)))
    return out


def cells_of(out: Path) -> pl.DataFrame:
    keys = ["Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
    return (
        profiler.open(out).cells.filter(pl.col("Metadata_Well").is_in(WELLS)).sort(keys).collect()
    )


def test_nuclei_are_the_same_and_cells_much_the_same_as_propagated_ones(whole, small_run):
    ours, propagated = cells_of(whole), cells_of(small_run)
    nuclei = [name for name in ours.columns if name.startswith("Nuclei_AreaShape")]
    assert ours.select(nuclei).equals(propagated.select(nuclei))
    area, usual = (t["Cells_AreaShape_Area"].to_numpy() for t in (ours, propagated))
    assert (area >= ours["Nuclei_AreaShape_Area"].to_numpy()).all()
    assert 0.7 < np.median(area / usual) < 1.4
    assert (area != usual).any()


def test_both_networks_are_on_record_and_part_of_what_cells_depend_on(whole, small_run):
    both = [load_network(name)[2].sha256 for name in ("nuclei", "cells")]
    assert read_facts(whole).weights == "+".join(both)
    assert read_facts(small_run).weights == both[0]


def test_the_network_of_cells_is_timed_apart(whole):
    stages = pl.read_csv(whole / "timing" / "stages.csv")
    seconds = dict(stages.select("stage", "seconds").iter_rows())
    parts = ("segment, first call", "network", "decode labels", "whole cells", "cells, cytoplasm")
    assert sum(seconds[part] for part in parts) == pytest.approx(seconds["segment"])
    assert seconds["whole cells"] > 0


def test_runs_with_other_cells_are_not_opened_together(whole, small_run):
    with pytest.raises(BadRun, match=r"segment\.method is 'network' in one and 'propagation'"):
        profiler.open([whole, small_run])


def test_a_network_of_cells_in_the_place_of_nuclei_is_refused(small_plate, tmp_path):
    with pytest.raises(BadRecipe, match="model is 'cells', which finds whole cells, .*cells_model"):
        list(run(request(small_plate, tmp_path / "run", model="cells")))


def test_cells_at_the_border_are_dropped_after_they_have_taken_their_ground(
    whole, small_plate, tmp_path
):
    out = tmp_path / "sure"
    list(run(request(small_plate, out, border="drop")))
    kept, every = cells_of(out), cells_of(whole)
    inside = every.filter(~pl.col("Metadata_QC_TouchesBorder"))
    assert 0 < kept.height == inside.height < every.height
    names = ["Nuclei_AreaShape_Area", "Cells_AreaShape_Area"]
    assert kept.select(names).equals(inside.select(names))


def test_a_recipe_without_a_cell_stain_is_refused_before_anything_is_computed(
    small_plate, tmp_path
):
    with pytest.raises(BadRecipe, match=r"names none but that of the nuclei.*\[segment\] cells"):
        list(run(request(small_plate, tmp_path / "run", cells=None)))
