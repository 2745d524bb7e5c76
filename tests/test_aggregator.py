"""`train aggregator`, and profiles made by what it wrote: runs of a few cells, without images."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from plates.errors import BadLabels, BadModel, BadRun
from profiler.aggregator import AggregatorRequest, Judged, train_aggregator
from profiler.cli import app
from profiler.embed.sets.learn import SetSchedule
from profiler.hits.precision.apart import split_wells
from profiler.pipeline import make_profiles
from profiler.profile.wells.sets import load_aggregator
from profiler.recipe import load_recipe
from profiler.store.run import RunFacts, claim
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer, write_table
from profiler.store.wells import WellTables, write_well

RUNNER = CliRunner()
PLATES = ("P1", "P2", "P3", "P4")
NAMES = ["Cells_Texture_A", "Nuclei_Location_Center_X", *(f"Embedding_{i:04d}" for i in range(5))]
COMPOUNDS = ["DMSO"] * 4 + ["a", "b", "c", "d", "e"]
WELLS = [f"A{i + 1:02d}" for i in range(len(COMPOUNDS))]
ROLES = ["negative"] * 4 + ["treatment"] * 5
PROFILE = {"exclude_bad_fields": False, "steps": ()}


def cells(plate: str, well: str) -> pl.DataFrame:
    """Of every compound a fifth of the cells lies out in a direction of its own."""
    at = WELLS.index(well)
    random = np.random.default_rng([PLATES.index(plate), at])
    values = random.normal(size=(30, len(NAMES)))
    if at >= 4:
        values[:6, 2 + at - 4] += 8
    keys = {
        "Metadata_Plate": plate,
        "Metadata_Well": well,
        "Metadata_Site": pl.Series([1] * 30, dtype=pl.Int32),
        "Metadata_Timepoint": pl.Series([1] * 30, dtype=pl.Int32),
        "Metadata_ObjectNumber": pl.Series(range(1, 31), dtype=pl.Int32),
        "Metadata_QC_TouchesBorder": pl.Series([False] * 30),
        "Metadata_QC_Confidence": pl.Series([0.9] * 30, dtype=pl.Float32),
    }
    table = pl.DataFrame(values.astype(np.float32), schema=NAMES)
    return table.select(
        *(pl.lit(x).alias(n) if isinstance(x, str) else x.alias(n) for n, x in keys.items()),
        *NAMES,
    )


def field(plate: str, well: str) -> dict:
    return {
        "Metadata_Plate": plate,
        "Metadata_Well": well,
        "Metadata_Site": 1,
        "Metadata_Timepoint": 1,
        "Metadata_QC_Status": "ok",
        "Metadata_QC_Reason": None,
        "Metadata_Object_Count": 30,
        "Metadata_Object_Doubtful": 0,
        "Metadata_Object_Confidence": 0.9,
        "Metadata_Seconds": 0.1,
        "Metadata_Seconds_Measure": 0.1,
    }


def make_run(out, *, plates=PLATES, embedder="e" * 64):
    """A run folder whose cells are there, and whose wells are summarised."""
    out.mkdir()
    recipe = load_recipe("demo")
    settings = recipe.model_dump(mode="json")
    facts = RunFacts("demo", settings, {}, "cpu", "w", None, plates, embedder=embedder)
    claim(out, facts=facts)
    types = {"Metadata_Site": pl.Int32, "Metadata_Timepoint": pl.Int32}
    types |= {"Metadata_Object_Count": pl.Int32, "Metadata_Object_Doubtful": pl.Int32}
    types |= {"Metadata_QC_Reason": pl.String, "Metadata_Object_Confidence": pl.Float32}
    rows = []
    for plate in plates:
        for well in WELLS:
            own = pl.DataFrame([field(plate, well)], schema_overrides=types)
            rows.append(own)
            images = own.select("Metadata_Plate", "Metadata_Well", *list(types)[:2])
            tables = WellTables(plate, well, cells(plate, well), own, images, {})
            write_well(out, tables, computed_by="c", embedder=embedder)
    write_table(out / "fields.parquet", pl.concat(rows), level="fields", parameters={})
    layout = pl.DataFrame(
        {"Metadata_Well": WELLS, "Metadata_Compound": COMPOUNDS, "Metadata_Role": ROLES}
    )
    write_table(out / "layout.parquet", layout, level="layout", parameters={})
    profiled(out)
    return out


def profiled(out, **settings):
    recipe = load_recipe("demo")
    profile = recipe.profile.model_copy(update=PROFILE | settings)
    return make_profiles(out, recipe.model_copy(update={"profile": profile}))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "mine.safetensors"
    schedule = SetSchedule(steps=60, warmup=5, learning_rate=1e-2, dropout=0.0)
    return out, list(train_aggregator(AggregatorRequest((run,), out, schedule=schedule)))


def test_a_compound_and_two_copies_of_the_layout_are_kept_apart(run):
    wells = open_screen(run).wells.collect()
    split = split_wells(wells, share=0.2, seed=0)
    assert len(split.compounds) == 1
    assert len(split.plates) == 2
    taught, judged = (wells.filter(pl.Series(rows)) for rows in (split.taught, split.judged))
    assert not set(taught["Metadata_Plate"]) & set(split.plates)
    assert not set(taught["Metadata_Compound"]) & set(split.compounds)
    assert set(judged["Metadata_Plate"]) == set(split.plates)
    assert set(judged["Metadata_Compound"]) == {"DMSO", *split.compounds}
    other = split_wells(wells.filter(pl.col("Metadata_Plate") == "P1"), share=0.2, seed=0)
    assert other.plates == ()


def test_it_takes_what_tells_of_a_phenotype_and_says_how_it_did(run, trained):
    out, events = trained
    card = load_aggregator(out).card
    assert card.features == tuple(name for name in NAMES if "Location" not in name)
    assert card.embedder == "e" * 64
    assert card.stains == tuple(load_recipe("demo").images.channels)
    assert isinstance(events[-1], Judged)
    (note,) = events[-1].notes
    assert note.startswith(f"Only {events[-1].split.compounds[0]} is kept apart")
    assert set(events[-1].precision) == {"mean", "median", "learned"}
    assert all(0 <= p[0] <= 1 for p in events[-1].precision.values())
    about = json.loads(out.with_suffix(".json").read_text())["about"]
    assert about["compounds_apart"] == list(events[-1].split.compounds)
    assert about["mean_average_precision"]["mean"]["controls"] == events[-1].precision["mean"][0]


def test_profiles_beside_the_median_and_alone(run, trained):
    out, _ = trained
    columns = load_aggregator(out).card.columns
    done = profiled(run, aggregate=("median", str(out)), features=("Embedding_*",))
    screen = open_screen(run)
    assert screen.wells.collect().columns[-len(columns) - 5 :] == [*NAMES[2:], *columns]
    assert "embeddings" not in dict(done.found)
    assert dict(done.found) == {"aggregator": load_aggregator(out).card.sha256}
    assert any("same say" in note for note in done.notes)
    beside = screen.wells.collect()
    profiled(run, aggregate=str(out))
    alone = open_screen(run).wells.collect()
    assert [name for name in alone.columns if not name.startswith("Metadata")] == columns
    assert alone.select(columns).equals(beside.select(columns))
    assert alone["Metadata_Object_Count"].to_list() == [30] * alone.height
    profiled(run)


def test_cells_of_another_encoder_are_refused(trained, tmp_path):
    other = make_run(tmp_path / "other", plates=("P1",), embedder="f" * 64)
    with pytest.raises(BadModel, match="taught on vectors of the encoder eeeeeeeeeeee"):
        profiled(other, aggregate=str(trained[0]))


def test_controls_that_judge_are_not_learnt_from(run):
    wells = open_screen(run).wells.collect()
    few = wells.filter(pl.col("Metadata_Plate").is_in(PLATES[:2]))  # too few copies to keep plates
    split = split_wells(few, share=0.2, seed=0)
    assert not split.plates
    assert not (split.taught & split.judged).any()
    is_control = (few["Metadata_Role"] == "negative").to_numpy()
    assert (split.taught & is_control).sum() == (split.judged & is_control).sum() == 4
    for plate in PLATES[:2]:
        of_plate = is_control & (few["Metadata_Plate"] == plate).to_numpy()
        assert (split.judged & of_plate).sum() == 2


def test_which_controls_judge_is_chance_and_the_same_at_all_times(run):
    wells = open_screen(run).wells.collect().filter(pl.col("Metadata_Plate").is_in(PLATES[:2]))
    times = pl.concat([wells.with_columns(Metadata_Timepoint=pl.lit(t)) for t in (1, 2, 3)])
    is_control = pl.col("Metadata_Role") == "negative"
    held = set()
    for seed in range(12):
        split = split_wells(times, share=0.2, seed=seed)
        own = times.with_columns(pl.Series("held", split.judged)).filter(is_control)
        by_well = own.group_by("Metadata_Plate", "Metadata_Well").agg(pl.col("held").sum())
        assert set(by_well["held"]) == {0, 3}
        on_one = by_well.filter((pl.col("held") > 0) & (pl.col("Metadata_Plate") == "P1"))
        held.add(tuple(sorted(on_one["Metadata_Well"])))
    assert len(held) > 3  # of six pairs of four wells; every second one is not the rule


def test_a_name_that_no_recipe_could_give_is_refused(run, tmp_path):
    with pytest.raises(BadRun, match=r"expected a name NAME\.safetensors"):
        list(train_aggregator(AggregatorRequest((run,), tmp_path / "agg.json")))


def test_only_compounds_with_two_wells_of_a_dose_are_kept_apart(run):
    wells = open_screen(run).wells.collect().filter(pl.col("Metadata_Plate").is_in(PLATES[:2]))
    number = pl.int_range(pl.len()).cast(pl.Float64)
    is_twice = pl.col("Metadata_Compound").is_in(["c", "e", "DMSO"])
    doses = wells.with_columns(Metadata_Concentration=pl.when(is_twice).then(1.0).otherwise(number))
    drawn = {split_wells(doses, share=0.5, seed=seed).compounds for seed in range(9)}
    assert drawn == {("c",), ("e",)}  # of both, one stays to learn from
    single = wells.with_columns(Metadata_Concentration=number)
    split = split_wells(single, share=0.5, seed=0)
    assert split.compounds == ()
    assert split.taught.all()
    assert not split.judged.any()


def test_plates_are_kept_apart_only_where_they_can_judge(run):
    """Each plate has a dose of its own: wells of one dose are on no other."""
    wells = open_screen(run).wells.collect()
    plate = pl.col("Metadata_Plate").rank("dense").cast(pl.Float64)
    single = wells.with_columns(Metadata_Concentration=plate)
    assert split_wells(single, share=0.2, seed=0).compounds == ()
    twice = pl.when(pl.col("Metadata_Compound").is_in(["a", "b"])).then(1.0).otherwise(plate)
    split = split_wells(wells.with_columns(Metadata_Concentration=twice), share=0.2, seed=0)
    assert split.compounds in {("a",), ("b",)}
    assert len(split.plates) == 2


def test_why_there_is_no_score_is_told_and_kept(run, tmp_path):
    single = shutil.copytree(run, tmp_path / "single")
    path = single / "wells.parquet"
    footer, wells = read_footer(path), pl.read_parquet(path)
    is_once = pl.col("Metadata_Compound").is_in(["a", "b", "c", "d"])
    dose = pl.when(is_once).then(pl.int_range(pl.len()))
    wells = wells.with_columns(Metadata_Concentration=dose.cast(pl.Float64))
    write_table(path, wells, level=footer.level, parameters=footer.parameters)
    done = RUNNER.invoke(
        app, ["train", "aggregator", str(single), "-o", f"{tmp_path}/a.safetensors", "--steps", "2"]
    )
    assert done.exit_code == 0, done.output
    assert "There is no score: it takes two compounds with two usable wells" in done.stderr
    assert not done.stdout
    about = json.loads((tmp_path / "a.json").read_text())["about"]
    assert about["mean_average_precision"] == {}
    assert about["notes"][0].startswith("There is no score")


def test_too_few_compounds_are_told(run):
    wells = open_screen(run).wells.collect()
    few = wells.filter(pl.col("Metadata_Compound").is_in(["DMSO", "a", "b"]))
    with pytest.raises(BadLabels, match="Found 2 treated compounds; at least 3 are needed"):
        split_wells(few, share=0.2, seed=0)
