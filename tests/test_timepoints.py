"""A plate over time, whose compound acts later: every time point is told, one is judged."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import tifffile
from polars.testing import assert_frame_equal

import profiler
from plates.errors import ProfilingError, UnknownName
from plates.synthetic import Compound, Phenotype, PlateDesign, read_truth, write_plate
from profiler.events import Planned
from profiler.hits import typical_cells
from profiler.pipeline import make_hits, make_phenotypes, recipe_of, run
from profiler.recipe import Recipe, load_recipe, parse_recipe
from profiler.request import Request

QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features
PATTERN = (
    r"(?P<plate>.+)_(?P<well>[A-Z]\d\d)_s(?P<site>\d+)_t(?P<timepoint>\d+)_(?P<channel>\w+)\.tif"
)
EFFECT = {1: 0.0, 2: 0.4, 3: 1.0}  # of the compound, at each time point
RATIO = "Cells_Translocation_NucleusCytoplasmRatio_GFP"
TABLES = ("cells", "fields", "wells", "profiles", "selected", "consensus", "hits", "compounds")
PATIENCE = 240  # seconds


def recipe_file(folder: Path, *, timepoint: str, hits: str = "") -> Path:
    """The quick recipe, for some time points."""
    head, rest = QUICK.read_text().split("[segment]")
    time = f"reader = 'pattern'\npattern = '{PATTERN}'\ntimepoint = {timepoint}\n"
    path = folder / "recipe.toml"
    rest = rest.replace('rank_by = "profile"', 'rank_by = "readout"')
    path.write_text(f"{head}{time}\n[segment]{rest}{hits}")
    return path


def recipe(folder: Path, **options) -> Recipe:
    return load_recipe(recipe_file(folder, **options))


@pytest.fixture(scope="module")
def plate(tmp_path_factory) -> Path:
    """Twelve wells at three times: more and more cells, the compound idle, half, fully at work."""
    home = tmp_path_factory.mktemp("over time")
    folder = home / "movie"
    folder.mkdir()
    for timepoint, efficacy in EFFECT.items():
        mover = Compound("Mover", phenotype="translocation", ec50=0.01, efficacy=efficacy or 1e-9)
        design = PlateDesign(
            plate="movie", plate_format=12, size=192,
            untreated=Phenotype(n_cells=8 + 4 * timepoint), compounds=(mover, Compound("Idle")),
            concentrations=(0.1, 1.0, 10.0),
        )  # fmt: skip
        write_plate(home / "one", design)
        (home / f"truth_{timepoint}").mkdir()
        shutil.copy(home / "one" / "truth.json", home / f"truth_{timepoint}")
        for path in (home / "one").glob("*.tif"):
            path.rename(folder / path.name.replace("_s1_", f"_s1_t{timepoint}_"))
        shutil.copy(home / "one" / "platemap.csv", folder)
    return folder


@pytest.fixture(scope="module")
def movie(plate, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "movie"
    layout = plate / "platemap.csv"
    chosen = recipe(out.parent, timepoint='"each"')
    list(run(Request((plate,), out, chosen, layout=layout, save_labels=True)))
    return out


def test_every_cell_and_field_says_its_time(movie):
    screen = profiler.open(movie)
    fields, cells = screen.fields.collect(), screen.cells.collect()
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_Timepoint"]
    assert fields.height == 36 == fields.select(keys).n_unique()
    assert fields.schema["Metadata_Timepoint"] == cells.schema["Metadata_Timepoint"] == pl.Int32
    counted = cells.group_by(keys).len("Metadata_Object_Count").sort(keys)
    said = fields.sort(keys).select(*keys, pl.col("Metadata_Object_Count").cast(pl.UInt32))
    assert_frame_equal(counted, said)
    ordered = cells.filter(Metadata_Well="A01").select(*keys[2:], "Metadata_ObjectNumber").rows()
    assert ordered == sorted(ordered)
    assert screen.images.collect()["Metadata_Timepoint"].to_list() == [1, 2, 3] * 12


def test_one_row_per_well_and_time_with_the_truth_in_it(plate, movie):
    wells = profiler.open(movie).wells.collect()
    assert wells.columns[:3] == ["Metadata_Plate", "Metadata_Well", "Metadata_Timepoint"]
    assert wells.select("Metadata_Well", "Metadata_Timepoint").n_unique() == wells.height == 36
    found, truth = [], []
    for t in EFFECT:
        planted = read_truth(plate.parent / f"truth_{t}").wells.rename({"well": "Metadata_Well"})
        both = wells.filter(Metadata_Timepoint=t).join(planted, on="Metadata_Well")
        assert both.height == 12
        mover = both.filter(Metadata_Compound="Mover").select(pl.mean(RATIO, "ratio")).row(0)
        found.append(mover[0])
        truth.append(mover[1])
        counts = both.select(pl.sum("Metadata_Object_Count", "cells")).row(0)
        assert counts[0] == pytest.approx(counts[1], rel=0.15)
    rise = [
        [(x - values[0]) / (values[2] - values[0]) for x in values] for values in (found, truth)
    ]
    assert rise[0] == pytest.approx(rise[1], abs=0.15)
    assert found[2] > 2 * found[0]


def test_wells_are_normalised_against_the_controls_of_their_time(movie):
    profiles = profiler.open(movie).profiles.collect()
    controls = profiles.filter(Metadata_Role="negative").group_by("Metadata_Timepoint")
    assert controls.agg(pl.median(RATIO))[RATIO].to_list() == pytest.approx([0] * 3, abs=1e-9)
    raw = profiler.open(movie).wells.collect()
    for (then,), own in raw.group_by("Metadata_Timepoint"):
        negative = own.filter(Metadata_Role="negative")[RATIO]
        middle, spread = negative.median(), 1.4826 * (negative - negative.median()).abs().median()
        z = profiles.filter(Metadata_Timepoint=then).sort("Metadata_Well")[RATIO]
        expected = (own.sort("Metadata_Well")[RATIO] - middle) / spread
        assert z.to_list() == pytest.approx(expected.to_list(), rel=1e-4, abs=1e-4)


def test_treatments_agree_at_each_time(movie):
    consensus = profiler.open(movie).consensus.collect()
    assert consensus.filter(Metadata_Compound="Mover")["Metadata_Timepoint"].to_list() == [
        *(1, 2, 3) * 3
    ]


def test_hits_are_called_at_the_last_time_and_the_summary_says_so(movie):
    screen = profiler.open(movie)
    hits = screen.hits.collect()
    assert hits.height == 12
    assert hits["Metadata_Timepoint"].unique().to_list() == [3]
    assert screen.compounds.filter(Metadata_Compound="Mover").collect()["is_hit"].to_list() == [
        True
    ]
    summary = screen.facts.summary
    assert summary["timepoint"] == 3 == summary["timepoints"]
    assert "this is number 3; [hits] timepoint chooses another" in summary["hits"][0]
    assert summary["fields"] == 36


def at(chosen, timepoint: int):
    return chosen.model_copy(
        update={"hits": chosen.hits.model_copy(update={"timepoint": timepoint})}
    )


def test_another_time_can_be_asked_of_the_same_cells(movie, tmp_path):
    out = Path(shutil.copytree(movie, tmp_path / "again"))
    made = make_hits(out, at(recipe_of(out), 1))
    assert made.found["timepoint"] == 1
    screen = profiler.open(out)
    assert screen.hits.collect()["Metadata_Timepoint"].unique().to_list() == [1]
    found = screen.compounds.filter(Metadata_Compound="Mover").collect()
    assert found["is_hit"].to_list() == [False]
    with pytest.raises(UnknownName, match=r"time point \(\[hits\] timepoint\).*'7'.*1, 2, 3"):
        make_hits(out, at(recipe_of(out), 7))


def test_phenotypes_look_at_the_same_time(movie):
    assert any("number 3" in note for note in make_phenotypes(movie, recipe_of(movie)).notes)


def test_pictures_and_labels_are_named_by_their_time(movie):
    names = {path.name for path in (movie / "thumbnails" / "movie").iterdir()}
    assert {f"A01_t{t}.png" for t in EFFECT} < names
    assert len(names) == 36
    cells = profiler.open(movie).cells.filter(pl.col("Metadata_Well") == "A01").collect()
    for t in EFFECT:
        nuclei = tifffile.imread(movie / "labels" / "movie" / f"A01_1_t{t}_nuclei.tif")
        assert nuclei.max() == cells.filter(Metadata_Timepoint=t).height


def test_the_report_shows_the_time_of_the_hits(movie):
    from profiler.report.run import read_run

    shown = read_run(movie)
    assert shown.timepoint == 3
    assert shown.table("wells").height == shown.table("profiles").height == 12
    assert shown.picture("movie", "A01").name == "A01_t3.png"
    page = (movie / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "data:image/jpeg" in page


def test_example_cells_are_those_of_the_time_of_the_hits(movie):
    screen = profiler.open(movie)
    wells = screen.hits.filter(Metadata_Well="A01").collect()
    examples = typical_cells(screen.cells, wells=wells, features=[RATIO], n=50)
    keys = ["Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
    now = screen.cells.filter(Metadata_Timepoint=3, Metadata_Well="A01").collect()
    whole = now.filter(~pl.col("Metadata_QC_TouchesBorder"), pl.col(RATIO).is_not_null())
    assert sorted(examples.select(keys).rows()) == sorted(whole.select(keys).rows())


def test_cells_of_some_wells_at_some_time(movie):
    screen = profiler.open(movie)
    at = (pl.col("Metadata_Well") == "A01") & (pl.col("Metadata_Timepoint") == 2)
    cells = screen.cells_of(at).collect()
    assert cells["Metadata_Timepoint"].unique().to_list() == [2]
    assert cells.height == screen.cells.filter(at).collect().height > 0


def test_killed_and_started_again_gives_the_same_tables(plate, movie, tmp_path):
    out, chosen = tmp_path / "run", recipe_file(tmp_path, timepoint='"each"')
    command = [sys.executable, "-m", "profiler.cli", "run", str(plate), "--out", str(out)]
    command += ["--recipe", str(chosen), "--layout", str(plate / "platemap.csv")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + PATIENCE
    while len(list(out.glob("cells/*/*.parquet"))) < 4:
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    request = Request((plate,), out, recipe(tmp_path, timepoint='"each"'))
    events = list(run(replace(request, layout=plate / "platemap.csv")))
    planned = next(event for event in events if isinstance(event, Planned))
    assert 0 < planned.fields < 36
    assert planned.fields % 3 == 0  # whole wells, all their times
    for name in TABLES:
        ours, theirs = (getattr(profiler.open(each), name).collect() for each in (out, movie))
        measured = [column for column in ours.columns if column.startswith("Metadata_Seconds")]
        assert_frame_equal(ours.drop(measured), theirs.drop(measured), check_exact=True)


def test_only_wells_with_a_changed_time_point_are_computed_again(plate, movie, tmp_path):
    out = Path(shutil.copytree(movie, tmp_path / "run"))
    home = Path(shutil.copytree(plate, tmp_path / "movie"))
    (home / "movie_A02_s1_t2_DNA.tif").write_bytes(b"broken")
    chosen = recipe(tmp_path, timepoint='"each"')
    events = list(run(Request((home,), out, chosen, layout=home / "platemap.csv")))
    planned = next(event for event in events if isinstance(event, Planned))
    assert (planned.fields, planned.wells_done) == (3, 11)
    screen = profiler.open(out)
    failed = screen.fields.filter(pl.col("Metadata_QC_Status") != "ok").collect()
    assert failed.select("Metadata_Well", "Metadata_Timepoint").rows() == [("A02", 2)]
    wells = screen.wells.filter(Metadata_Well="A02").collect()
    assert wells["Metadata_QC_Status"].to_list() == ["ok", "failed", "ok"]
    told = "\n".join(screen.facts.summary["profiles"])
    assert "Time point 2: 1 well without any usable field: movie/A02." in told


def test_one_time_point_names_no_time(plate, tmp_path):
    chosen = recipe(tmp_path, timepoint="2")
    request = Request((plate,), tmp_path / "out", chosen, layout=plate / "platemap.csv")
    list(run(replace(request, wells=("A01", "A02"))))
    screen = profiler.open(tmp_path / "out")
    assert screen.cells.collect()["Metadata_Timepoint"].unique().to_list() == [2]
    assert "Metadata_Timepoint" not in screen.wells.collect_schema()
    assert (tmp_path / "out" / "thumbnails" / "movie" / "A01.png").is_file()


def test_a_time_that_was_not_taken_is_refused_before_the_night(plate, tmp_path):
    chosen = recipe(tmp_path, timepoint='"each"', hits="timepoint = 9\n")
    request = Request((plate,), tmp_path / "out", chosen, layout=plate / "platemap.csv")
    with pytest.raises(UnknownName, match=r"time point \(\[hits\] timepoint\).*'9'"):
        list(run(request))
    assert not (tmp_path / "out" / "cells").exists()


def test_scan_says_that_there_are_several(plate):
    from plates.readers import scan
    from profiler.overview import describe

    text = describe(scan(plate, reader="pattern", pattern=PATTERN))
    assert '3 time points (choose one with [images] timepoint, or "each")' in text


def test_the_recipe_takes_numbers_and_each():
    base = {"name": "x", "images": {"channels": {"DNA": "w1"}}}
    for wrong in ("all", 0, 1.5):
        table = {**base, "images": {**base["images"], "timepoint": wrong}}
        with pytest.raises(ProfilingError, match="timepoint"):
            parse_recipe(table)
