"""Whatever goes wrong at 3 a.m.: a clear message or a coded row, and nothing lost."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

import profiler
from plates.errors import (
    BadLayout,
    BadModel,
    BadPlate,
    BadRecipe,
    BadRun,
    NoControls,
    UnknownName,
)
from profiler.events import Finished
from profiler.pipeline import run
from profiler.recipe import load_recipe, parse_recipe
from profiler.request import Request, find_layout
from profiler.store import atomic

QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features

WELLS = ("A01", "A04", "B01", "B02")


@pytest.fixture
def plate(small_plate, tmp_path) -> Path:
    return Path(shutil.copytree(small_plate, tmp_path / "mini"))


def request(plate: Path, out: Path, **changes) -> Request:
    base = Request((plate,), out, load_recipe(QUICK), layout=plate / "platemap.csv", wells=WELLS)
    return replace(base, **changes)


def image(plate: Path, well: str, channel: str = "GFP") -> Path:
    return next(plate.glob(f"mini_{well}_s1_{channel}*"))


def keep_images(plate: Path, *wells: str) -> None:
    for path in plate.glob("mini_*.tif"):
        if path.name.split("_")[1] not in wells:
            path.unlink()


def set_layout(plate: Path, change) -> Path:
    path = plate / "platemap.csv"
    change(pl.read_csv(path)).write_csv(path)
    return path


# Plates


def test_an_empty_folder(tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BadPlate, match="is empty. Expected a plate's images"):
        list(run(request(tmp_path / "nothing", tmp_path / "out")))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BadPlate, match="Check the path"):
        list(run(request(tmp_path / "nowhere", tmp_path / "out")))


def test_a_folder_of_no_known_format_lists_what_was_tried(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    with pytest.raises(BadPlate, match=r"Tried: loaddata needs .*; pattern needs .*readme\.txt"):
        list(run(request(tmp_path / "notes", tmp_path / "out")))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def resized(path: Path) -> None:
    tifffile.imwrite(path, tifffile.imread(path)[:-7])


def in_eight_bits(path: Path) -> None:
    tifffile.imwrite(path, (tifffile.imread(path) >> 8).astype(np.uint8))


def in_colour(path: Path) -> None:
    plane = tifffile.imread(path)
    tifffile.imwrite(path, np.stack([plane, plane // 2, plane], -1), photometric="rgb")


DAMAGE = {
    "unreadable": truncated,
    "empty_file": emptied,
    "wrong_shape": resized,
    "wrong_bit_depth": in_eight_bits,
    "colour_image": in_colour,
    "missing_channel": Path.unlink,
}


BROKEN = dict(zip(("A02", "A03", "B02", "B03", "C02", "C03"), DAMAGE, strict=True))
ASKED = ("A01", "B01", *BROKEN)


@pytest.fixture(scope="module")
def damaged(small_plate, tmp_path_factory) -> Path:
    """A plate with every kind of broken image, and in `out` what was made of it; copy it."""
    home = tmp_path_factory.mktemp("damaged")
    plate = Path(shutil.copytree(small_plate, home / "mini"))
    for well, code in BROKEN.items():
        DAMAGE[code](image(plate, well))
    assert isinstance(list(run(request(plate, home / "out", wells=ASKED)))[-1], Finished)
    return home


def test_every_kind_of_broken_image_is_a_coded_row_and_the_run_goes_on(damaged, tmp_path):
    home = Path(shutil.copytree(damaged, tmp_path / "home"))
    screen = profiler.open(home / "out")
    fields = screen.fields.collect()
    status = dict(fields.select("Metadata_Well", "Metadata_QC_Status").iter_rows())
    assert status == {"A01": "ok", "B01": "ok"} | BROKEN
    assert screen.facts.summary["fields_failed"] == dict.fromkeys(sorted(DAMAGE), 1)
    bad = fields.filter(pl.col("Metadata_QC_Status") != "ok")
    assert bad["Metadata_QC_Reason"].str.len_chars().min() > 20
    first = next(run(request(home / "mini", home / "out", wells=ASKED)))
    assert first.fields == 0  # a broken image is not read again until it changes


def test_a_plate_that_grows_is_judged_anew_by_what_most_images_are(
    plate, small_plate, tmp_path, monkeypatch
):
    """Two wells of three are smaller, then two of six."""

    def out_of_reach(sets, *, channels):
        raise BadPlate("None can be read.")

    keep_images(plate, "A01", "A04", "B01")
    for well in ("A01", "A04"):
        for path in plate.glob(f"mini_{well}_*"):
            resized(path)

    def told(out: str, *wells: str) -> tuple[int, dict[str, str]]:
        planned = next(run(request(plate, tmp_path / out, wells=wells)))
        list(run(request(plate, tmp_path / out, wells=wells)))
        fields = profiler.open(tmp_path / out).fields.collect()
        return planned.fields, dict(
            fields.select("Metadata_Well", "Metadata_QC_Status").iter_rows()
        )

    wells = ("A01", "A04", "B01")
    assert told("out", *wells) == (3, {"A01": "ok", "A04": "ok", "B01": "wrong_shape"})
    for well in ("A02", "B02", "B03"):
        for path in small_plate.glob(f"mini_{well}_*"):
            shutil.copy(path, plate)
    now = {"A01": "wrong_shape", "A04": "wrong_shape", "B01": "ok", "B02": "ok"}
    shutil.copytree(tmp_path / "out", tmp_path / "stopped")
    with monkeypatch.context() as patch:  # images cannot be read for now: what is there stays
        patch.setattr("profiler.cells.expected_format", out_of_reach)
        assert next(run(request(plate, tmp_path / "out", wells=(*wells, "B02")))).fields == 1
    assert told("out", *wells, "B02") == (4, now)
    assert told("out", *wells, "B02") == (0, now)
    assert told("at once", *wells, "B02") == (4, now)
    # As a run leaves it that was killed once it had the new well, or was asked for that one alone.
    assert told("stopped", "B02")[0] == 1
    assert told("stopped", *wells, "B02") == (3, now)
    assert told("stopped", *wells, "B02") == (0, now)


def test_a_mended_image_is_read_again(damaged, small_plate, tmp_path):
    home = Path(shutil.copytree(damaged, tmp_path / "home"))
    shutil.copy(image(small_plate, "A03"), image(home / "mini", "A03"))
    first, *_ = run(request(home / "mini", home / "out", wells=ASKED))
    assert first.fields == 1
    fields = profiler.open(home / "out").fields.collect()
    status = dict(fields.select("Metadata_Well", "Metadata_QC_Status").iter_rows())
    assert status == {"A01": "ok", "B01": "ok"} | BROKEN | {"A03": "ok"}


def test_a_few_wells_are_not_told_that_the_others_were_not_imaged(damaged):
    wells = profiler.open(damaged / "out").wells.collect()
    assert sorted(wells["Metadata_Well"]) == sorted(ASKED)


def test_when_all_fields_fail_the_reasons_are_kept(plate, tmp_path):
    # Formats are voted for, so one well alone of another kind fails as a whole.
    for well in WELLS:
        emptied(image(plate, well, "DNA"))
    with pytest.raises(BadPlate, match="None of the 4 fields could be used.*empty"):
        list(run(request(plate, tmp_path / "out")))
    assert (tmp_path / "out" / "report.html").is_file()
    fields = profiler.open(tmp_path / "out").fields.collect()
    assert set(fields["Metadata_QC_Status"]) == {"empty_file"}


def test_a_field_without_cells_and_one_with_too_many_are_coded_rows(plate, tmp_path):
    path = image(plate, "B02", "DNA")
    noise = np.random.default_rng(0).poisson(100, tifffile.imread(path).shape)
    tifffile.imwrite(path, noise.astype(np.uint16))
    recipe = load_recipe(QUICK)
    few = recipe.model_copy(update={"segment": recipe.segment.model_copy(update={"max_cells": 4})})
    list(run(request(plate, tmp_path / "out", recipe=few, wells=("A01", "B02"), layout=None)))
    fields = profiler.open(tmp_path / "out").fields.collect()
    status = dict(fields.select("Metadata_Well", "Metadata_QC_Status").iter_rows())
    assert status == {"A01": "too_many_cells", "B02": "no_cells"}
    reason = dict(fields.select("Metadata_Well", "Metadata_QC_Reason").iter_rows())
    assert "a field can hold 4" in reason["A01"]


# Plate maps


def test_a_plate_map_that_names_a_well_twice(plate, tmp_path):
    set_layout(plate, lambda t: pl.concat([t, t.head(1)]))
    with pytest.raises(BadLayout, match="A01"):
        list(run(request(plate, tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_a_plate_map_with_an_impossible_well(plate, tmp_path):
    first = pl.col("well_position").replace("A01", "ZZ99")
    set_layout(plate, lambda t: t.with_columns(first))
    with pytest.raises(BadLayout, match="ZZ99"):
        list(run(request(plate, tmp_path / "out")))


def test_a_plate_map_without_negative_controls_stops_before_computing(plate, tmp_path):
    role = pl.col("role").replace("negative", "treatment")
    set_layout(plate, lambda t: t.with_columns(role))
    with pytest.raises(NoControls, match="no negative control wells for plate mini"):
        list(run(request(plate, tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_wells_with_a_compound_and_no_role_are_treated_ones_and_told(plate, tmp_path):
    asked = request(plate, tmp_path / "out")
    one_plate = pl.DataFrame({"plate": ["mini"]})
    whole, notes = find_layout(asked, one_plate)
    treated = whole.filter(pl.col("Metadata_Role") == "treatment").height
    assert notes == ()
    unnamed = pl.col("role").replace("treatment", None)
    set_layout(plate, lambda t: t.with_columns(unnamed))
    layout, notes = find_layout(asked, one_plate)
    assert layout.equals(whole)
    told = f"{treated} wells of the plate map have a compound and no role, and count as treatment."
    assert notes == (told,)


def test_doses_that_rounding_tells_apart_are_one_treatment_and_told(plate, tmp_path):
    is_noisy = pl.col("well_position") == "B03"
    dose = pl.when(is_noisy).then(1.0000000001).otherwise("concentration").alias("concentration")
    set_layout(plate, lambda t: t.with_columns(dose))
    layout, notes = find_layout(request(plate, tmp_path / "out"), pl.DataFrame({"plate": ["mini"]}))
    mover = layout.filter(Metadata_Compound="Mover").sort("Metadata_Well")
    assert mover["Metadata_Concentration"].to_list() == [0.1, 1.0, 1.0]
    assert "1 well has a dose that differs from another of its compound" in notes[0]


def test_wells_on_one_side_only_are_kept_and_told(plate, tmp_path):
    set_layout(plate, lambda t: t.filter(pl.col("well_position") != "B02"))
    keep_images(plate, *WELLS)
    last = list(run(request(plate, tmp_path / "out", wells=())))[-1]
    wells = profiler.open(tmp_path / "out").wells.collect()
    status = dict(wells.select("Metadata_Well", "Metadata_QC_Status").iter_rows())
    assert status["B02"] == "ok"
    assert status["C03"] == "not_imaged"
    told = " ".join(last.summary["profiles"])
    assert "not imaged" in told
    assert "not in the plate map: mini/B02" in told
    assert last.summary["input"] == []


def test_a_readout_that_is_not_measured_is_refused_before_anything_is(plate, tmp_path):
    recipe = load_recipe(QUICK)
    hits = recipe.hits.model_copy(update={"readout": "Cells_AreaShape_Aera"})
    asked = request(plate, tmp_path / "out", recipe=recipe.model_copy(update={"hits": hits}))
    with pytest.raises(UnknownName, match="no measured readout called 'Cells_AreaShape_Aera'"):
        list(run(asked))
    assert not (tmp_path / "out" / "cells").exists()


def test_when_the_negative_controls_failed_cells_are_kept(plate, tmp_path):
    layout = pl.read_csv(plate / "platemap.csv")
    negative = layout.filter(pl.col("role") == "negative")["well_position"]
    keep_images(plate, *negative, "B02")
    for well in negative:
        emptied(image(plate, well))
    with pytest.raises(NoControls, match="negative"):
        list(run(request(plate, tmp_path / "out", wells=())))
    assert profiler.open(tmp_path / "out").cells.collect().height
    assert (tmp_path / "out" / "report.html").is_file()


def test_without_a_plate_map_there_are_cells_and_wells_but_no_hits(plate, tmp_path):
    last = list(run(request(plate, tmp_path / "out", wells=("A01", "B02"), layout=None)))[-1]
    assert "no hits" in " ".join(last.summary["hits"])
    screen = profiler.open(tmp_path / "out")
    assert screen.wells.collect().height == 2
    with pytest.raises(BadRun):
        screen.hits  # noqa: B018


# Recipes and models


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segment": {"nuclie": "DNA"}}, "nuclie is not a setting. Did you mean 'nuclei'"),
        ({"imges": {}}, "imges is not a setting. Did you mean 'images'"),
        ({"segment": {"max_cells": 0}}, r"\[segment\] max_cells.*found 0"),
        ({"segment": {"ring_px": [6, 2]}}, "ring_px must begin before it ends"),
    ],
)
def test_a_recipe_with_a_wrong_key_or_value(change, message):
    with pytest.raises(BadRecipe, match=message):
        parse_recipe({"name": "x", "images": {"channels": {"DNA": "1"}}} | change)


def test_a_recipe_with_an_unknown_stain():
    table = {"name": "x", "images": {"channels": {"DNA": "1"}}, "segment": {"nuclei": "DAN"}}
    with pytest.raises(UnknownName, match="no stain.*'DAN'. Did you mean 'DNA'"):
        parse_recipe(table)


def test_an_unknown_recipe():
    with pytest.raises(UnknownName, match="no recipe called 'translocaton'. Did you mean"):
        load_recipe("translocaton")


def test_a_recipe_that_is_not_toml(tmp_path):
    (tmp_path / "mine.toml").write_text("[images\n")
    with pytest.raises(BadRecipe, match=r"mine\.toml is not TOML"):
        load_recipe(tmp_path / "mine.toml")
    with pytest.raises(BadRecipe, match="Cannot read the recipe"):
        load_recipe(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("section", "change", "error", "message"),
    [
        ("segment", {"model": "nucleus"}, UnknownName, "no segmentation model called 'nucleus'"),
        ("segment", {"model": "none.safetensors"}, BadModel, "A model is two files"),
        (
            "images",
            {"channels": {"DNA": "DNB", "GFP": "GFP", "RNA": "RNA"}},
            UnknownName,
            "no channel 'DNB'.*Did you mean 'DNA'",
        ),
        ("measure", {"families": ("Intensty",)}, UnknownName, "Did you mean 'Intensity'"),
        (
            "profile",
            {"steps": ({"step": "normalise", "method": "robustise"},)},
            UnknownName,
            "Did you mean 'robustize'",
        ),
        (
            "phenotype",
            {"labels": {"MOA": "Metadata_Roles"}},
            UnknownName,
            "no column of the plate map called 'Metadata_Roles'. Did you mean 'Metadata_Role'",
        ),
    ],
)
def test_names_that_nobody_knows(plate, tmp_path, section, change, error, message):
    recipe = load_recipe(QUICK)
    part = getattr(recipe, section).model_copy(update=change)
    wrong = recipe.model_copy(update={section: part})
    with pytest.raises(error, match=message):
        list(run(request(plate, tmp_path / "out", recipe=wrong)))


# Run folders


def test_a_folder_made_by_another_recipe(plate, small_run, tmp_path):
    out = Path(shutil.copytree(small_run, tmp_path / "out"))
    other = load_recipe(QUICK).model_copy(update={"name": "other"})
    with pytest.raises(BadRun, match="made by recipe 'demo', not 'other'"):
        list(run(request(plate, out, recipe=other)))
    list(run(request(plate, out, recipe=other, wells=("A01",), replace=True)))
    assert profiler.open(out).facts.recipe == "other"


def test_a_folder_made_by_another_version(plate, small_run, tmp_path):
    out = Path(shutil.copytree(small_run, tmp_path / "out"))
    facts = (out / "run.json").read_text()
    (out / "run.json").write_text(facts.replace('"store_version": "2"', '"store_version": "0"'))
    with pytest.raises(BadRun, match="store version 0"):
        list(run(request(plate, out)))


def test_a_disk_that_fills_up_keeps_the_finished_wells(plate, tmp_path, monkeypatch):
    saved = []
    original = atomic._sync

    def full(path: Path) -> None:
        if path.name.startswith(".B01.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        saved.append(path)
        original(path)

    monkeypatch.setattr(atomic, "_sync", full)
    with pytest.raises(BadRun, match="full"):
        list(run(request(plate, tmp_path / "out")))
    monkeypatch.undo()
    wells = sorted(path.stem for path in (tmp_path / "out" / "cells").rglob("*.parquet"))
    assert wells == ["A01", "A04"]
    events = list(run(request(plate, tmp_path / "out")))
    assert events[0].wells_done == 2
    assert isinstance(events[-1], Finished)


def test_an_interrupt_keeps_the_finished_wells_and_frees_the_folder(plate, tmp_path):
    two = request(plate, tmp_path / "out", wells=("A01", "B02"), layout=None)
    events = run(two)
    while not list((tmp_path / "out").rglob("A01.parquet")):
        next(events)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())
    again = list(run(two))
    assert again[0].wells_done >= 1
    assert isinstance(again[-1], Finished)


# What a second look found


def test_a_plate_of_which_nothing_can_be_read_does_not_stop_the_next(plate, small_plate, tmp_path):
    broken = plate.rename(tmp_path / "broken")
    for path in broken.glob("mini_*"):
        path.rename(path.with_name(path.name.replace("mini", "broken"))).write_bytes(b"")
    both = request(
        small_plate, tmp_path / "out", plates=(broken, small_plate), layout=None,
        wells=("A01", "B02"),
    )  # fmt: skip
    last = list(run(both))[-1]
    assert last.summary["fields_failed"] == {"empty_file": 2}
    assert last.summary["fields_ok"] == 2


def test_a_plate_without_controls_or_cells_does_not_stop_the_hits(
    plate, small_plate, small_run, tmp_path
):
    out = Path(shutil.copytree(small_run, tmp_path / "out"))
    broken = plate.rename(tmp_path / "broken")
    for path in broken.glob("mini_*"):
        path.rename(path.with_name(path.name.replace("mini", "broken"))).write_bytes(b"")
    layout = pl.read_csv(small_plate / "platemap.csv")
    (tmp_path / "map.csv").write_text(
        pl.concat(
            [layout.with_columns(plate=pl.lit("mini")),
             layout.with_columns(plate=pl.lit("broken"), role=pl.lit("treatment"))]
        ).write_csv()
    )  # fmt: skip
    plates, layout = (broken, small_plate), tmp_path / "map.csv"
    last = list(run(request(small_plate, out, plates=plates, layout=layout, wells=())))[-1]
    hits = profiler.open(out).hits.collect()
    assert set(hits.filter(Metadata_Plate="broken")["rank_status"]) == {"failed"}
    assert set(hits.filter(Metadata_Plate="mini")["rank_status"]) == {"ranked"}
    assert "1 plate has no negative controls in the plate map (broken)" in last.summary["input"][0]
    lost = "No well is ranked on broken: the 12 wells there are kept, with the status failed."
    assert lost in last.summary["hits"]


def test_label_images_follow_their_cells(plate, tmp_path):
    def labels() -> int:
        path = tmp_path / "out" / "labels" / "mini" / "A01_1_cells.tif"
        return tifffile.imread(path).max() if path.exists() else 0

    def cells() -> int:
        return profiler.open(tmp_path / "out").cells.collect().height

    one = request(plate, tmp_path / "out", wells=("A01",), layout=None, save_labels=True)
    emptied(image(plate, "A04"))
    list(run(replace(one, wells=("A01", "A04"))))
    first, *_ = run(replace(one, wells=("A01", "A04")))
    assert first.fields == 0  # the broken field has no labels to wait for
    segment = one.recipe.segment.model_copy(update={"min_nucleus_area_px": 350})
    fewer = replace(one, recipe=one.recipe.model_copy(update={"segment": segment}))
    before = labels()
    list(run(replace(fewer, save_labels=False, wells=("A01", "A04"))))
    assert labels() == 0  # not those of the earlier cells
    list(run(replace(fewer, wells=("A01", "A04"))))
    assert before > labels() == cells() > 0


def test_without_the_plate_map_of_an_earlier_run_its_hits_go(plate, small_run, tmp_path):
    out = Path(shutil.copytree(small_run, tmp_path / "out"))
    list(run(request(plate, out, layout=None, wells=())))
    screen = profiler.open(out)
    assert not screen.has("hits")
    assert "Metadata_Role" not in screen.wells.collect_schema()


def test_images_that_no_reader_takes_are_told(plate, tmp_path):
    shutil.copy(image(plate, "A01"), plate / "thumbnail.tif")
    first, *_, last = run(request(plate, tmp_path / "out", wells=("A01",), layout=None))
    assert last.summary["input"] == list(first.notes)
    assert "1 images" in first.notes[0]
    assert "thumbnail.tif" in first.notes[0]


def test_a_recipes_own_weights_lie_beside_it(tmp_path):
    models = 'model = "mine.safetensors"\ncells_model = "whole.safetensors"'
    text = f'[images]\nchannels = {{DNA = "1"}}\n[segment]\n{models}\n'
    (tmp_path / "mine.toml").write_text(text)
    found = load_recipe(tmp_path / "mine.toml").segment
    assert found.model == str(tmp_path / "mine.safetensors")
    assert found.cells_model == str(tmp_path / "whole.safetensors")
    assert load_recipe("cell_painting").segment.cells_model == "cells"


def test_replace_on_a_new_folder_is_an_ordinary_run(plate, tmp_path):
    events = list(run(request(plate, tmp_path / "out", wells=("A01",), layout=None, replace=True)))
    assert isinstance(events[-1], Finished)
