"""The whole flow on a small plate: what is written, what is computed again, and what is not."""

import shutil
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from polars.testing import assert_frame_equal

import profiler
from plates.errors import BadPlate, UnknownName
from profiler.events import FieldsDone, Finished, Planned, StageDone, WellSaved
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request

QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features

TABLES = ("cells", "fields", "wells", "profiles", "statistics", "curves", "hits", "compounds")


@pytest.fixture
def plate(small_plate, tmp_path) -> Path:
    return Path(shutil.copytree(small_plate, tmp_path / "mini"))


@pytest.fixture
def out(small_run, tmp_path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def request(plate: Path, out: Path, **changes) -> Request:
    base = Request((plate,), out, load_recipe(QUICK), layout=plate / "platemap.csv")
    return replace(base, **changes)


def planned(events) -> Planned:
    return next(event for event in events if isinstance(event, Planned))


def test_every_well_is_there_with_cells_and_metadata(small_run):
    screen = profiler.open(small_run)
    wells = screen.wells.collect()
    assert wells.height == 12
    assert set(wells["Metadata_QC_Status"]) == {"ok"}
    assert set(wells["Metadata_Role"]) == {"negative", "positive", "treatment"}
    cells = screen.cells.collect()
    assert cells.height == wells["Metadata_Object_Count"].sum() > 100
    counts = cells.group_by("Metadata_Well").len().sort("Metadata_Well")
    assert counts["len"].to_list() == wells.sort("Metadata_Well")["Metadata_Object_Count"].to_list()


@pytest.mark.parametrize("name", TABLES)
def test_every_table_opens_lazily(small_run, name):
    frame = getattr(profiler.open(small_run), name)
    assert isinstance(frame, pl.LazyFrame)
    assert frame.collect().height


def test_cells_are_the_labels(small_run):
    cells = profiler.open(small_run).cells.filter(pl.col("Metadata_Well") == "A01").collect()
    nuclei = tifffile.imread(small_run / "labels" / "mini" / "A01_1_nuclei.tif")
    grown = tifffile.imread(small_run / "labels" / "mini" / "A01_1_cells.tif")
    ids = cells["Metadata_ObjectNumber"].to_numpy()
    np.testing.assert_array_equal(ids, np.arange(1, nuclei.max() + 1))
    np.testing.assert_array_equal(cells["Nuclei_AreaShape_Area"], np.bincount(nuclei.ravel())[1:])
    np.testing.assert_array_equal(cells["Cells_AreaShape_Area"], np.bincount(grown.ravel())[1:])
    on_border = np.unique([*nuclei[0], *nuclei[-1], *nuclei[:, 0], *nuclei[:, -1]])
    np.testing.assert_array_equal(cells["Metadata_QC_TouchesBorder"], np.isin(ids, on_border))


def test_the_planted_hit_is_found_and_the_null_compound_is_not(small_run):
    wells = profiler.open(small_run).hits.collect()
    z = dict(wells.select("Metadata_Well", "readout_z").iter_rows())
    treated = wells.filter(pl.col("Metadata_Concentration") == 10)
    by_name = dict(treated.select("Metadata_Compound", "Metadata_Well").iter_rows())
    assert z[by_name["Mover"]] > 10 > abs(z[by_name["Idle"]])


def test_a_second_identical_run_computes_no_field_and_its_summary_tells_the_run(small_plate, out):
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*.parquet")}
    *events, last = run(request(small_plate, out))
    assert planned(events).fields == 0
    assert not [e for e in events if isinstance(e, FieldsDone | WellSaved)]
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*.parquet")} == before
    assert isinstance(last, Finished)
    assert last.summary["fields_ok"] == last.summary["fields"] == 12
    assert last.summary["readout"] == "Cells_Translocation_NucleusCytoplasmRatio_GFP"
    assert profiler.open(out).facts.summary == last.summary


def test_a_copied_and_touched_plate_is_not_computed_again(plate, out):
    next(plate.glob("mini_A01*")).touch()
    assert planned(run(request(plate, out))).fields == 0


def test_only_the_well_whose_image_changed_is_computed_again(plate, out):
    path = next(plate.glob("mini_B02_s1_GFP*"))
    tifffile.imwrite(path, tifffile.imread(path) // 2, compression="zlib")
    computing = takewhile(lambda e: not isinstance(e, StageDone), run(request(plate, out)))
    assert [(e.plate, e.well) for e in computing if isinstance(e, WellSaved)] == [("mini", "B02")]


@pytest.mark.parametrize(
    ("section", "change", "is_recomputed"),
    [
        ("segment", {"min_nucleus_area_px": 40}, True),
        ("measure", {"families": ("AreaShape", "Intensity", "Translocation")}, True),
        ("hits", {"threshold": 4.0}, False),
        ("profile", {"aggregate": "mean"}, False),
    ],
)
def test_a_changed_recipe_recomputes_what_depends_on_it(plate, out, section, change, is_recomputed):
    recipe = load_recipe(QUICK)
    part = getattr(recipe, section).model_copy(update=change)
    changed = recipe.model_copy(update={section: part})
    assert (planned(run(request(plate, out, recipe=changed))).fields == 12) == is_recomputed


def test_the_demos_own_recipe_measures_the_full_set(small_plate, tmp_path):
    full = request(small_plate, tmp_path / "full", recipe=load_recipe("demo"), wells=("A01",))
    events = list(run(full))
    screen = profiler.open(tmp_path / "full")
    groups = {name.split("_")[1] for name in screen.cells.collect_schema()}
    assert {"AreaShape", "Texture", "Granularity", "RadialDistribution", "Neighbors"} <= groups
    images = screen.images.collect()
    assert images.height == 1
    assert images["Image_ImageQuality_FocusScore_OrigDNA"].is_finite().all()
    assert events[-1].summary["measure_seconds_per_field"] > 0


def test_a_subset_of_wells_gives_the_same_cells(small_plate, small_run, tmp_path):
    events = list(run(request(small_plate, tmp_path / "some", wells=("b2", "A01"), batch=2)))
    assert planned(events).fields == 2
    some = profiler.open(tmp_path / "some").cells.collect()
    whole = profiler.open(small_run).cells.collect()
    expected = whole.filter(pl.col("Metadata_Well").is_in(["A01", "B02"]))
    assert_frame_equal(some, expected, check_exact=True)  # whatever batch a field is in


def test_a_well_that_is_not_there_gets_a_suggestion(small_plate, tmp_path):
    with pytest.raises(UnknownName, match="no well on the plate called 'H12'"):
        list(run(request(small_plate, tmp_path / "none", wells=("H12",))))


def test_two_plates_run_together_and_are_normalised_apart(plate, small_plate, small_run, tmp_path):
    other = plate.rename(tmp_path / "second")
    for path in other.glob("mini_*"):
        path.rename(path.with_name(path.name.replace("mini", "second")))
    layout = pl.read_csv(small_plate / "platemap.csv")
    wells = ("B02", *layout.filter(role="negative")["well_position"])
    both = request(small_plate, tmp_path / "both", plates=(small_plate, other), wells=wells)
    list(run(both))
    profiles = profiler.open(tmp_path / "both").profiles.collect()
    assert profiles.height == 2 * len(wells)
    alone = profiler.open(small_run).profiles.filter(pl.col("Metadata_Well").is_in(wells)).collect()
    feature = "Cells_Translocation_NucleusCytoplasmRatio_GFP"
    for name in ("mini", "second"):
        part = profiles.filter(pl.col("Metadata_Plate") == name)
        assert part["Metadata_Well"].equals(alone["Metadata_Well"])
        np.testing.assert_allclose(part[feature], alone[feature], rtol=1e-12)


def test_two_folders_with_one_plate_name_are_refused(plate, small_plate, tmp_path):
    with pytest.raises(BadPlate, match="both hold a plate called 'mini'"):
        list(run(request(small_plate, tmp_path / "out", plates=(small_plate, plate))))
