"""The command line: what is printed where, exit codes, and how soon help comes."""

import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import tifffile
from typer.testing import CliRunner

from plates.errors import BadRecipe
from profiler import cli, images
from profiler.segment.score import score
from profiler.segment.segmenter import Examined, SegmentConfig, load_segmenter
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer

QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features

RUNNER = CliRunner()


def call(*words: str | Path):
    return RUNNER.invoke(cli.app, [str(word) for word in words])


@pytest.fixture
def out(small_run, tmp_path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def cpu_seconds(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_costs_under_a_third_of_a_second():
    def extra() -> float:
        shown = cpu_seconds(sys.executable, "-m", "profiler.cli", "--help")
        return shown - cpu_seconds(sys.executable, "-c", "pass")

    assert min(extra() for _ in range(5)) < 0.3


def test_every_command_is_in_the_help():
    text = call("--help").output
    for name in [
        "demo",
        "classify",
        "explain",
        "imagenet",
        "scan",
        "suggest-cells",
        "run",
        "watch",
        "segment",
        "evaluate",
        "profile",
        "hits",
        "report",
        "query",
        "readers",
        "recipes",
        "models",
        "doctor",
    ]:
        assert f" {name} " in text
        assert call(name, "--help").exit_code == 0


def test_query_answers_in_csv(out):
    done = call("query", out, "SELECT Metadata_Well, count(*) AS cells FROM cells GROUP BY 1")
    assert done.exit_code == 0
    table = pl.read_csv(done.stdout.encode())
    assert table.columns == ["Metadata_Well", "cells"]
    assert table.height == 12


def test_query_without_a_run_is_a_usage_error():
    assert call("query", "SELECT 1").exit_code == 2


def test_scan_says_what_is_there(small_plate):
    assert (
        "mini: 12 wells of a 12-well plate, 12 fields, channels DNA (12 planes)"
        in call("scan", small_plate).stdout
    )
    listed = pl.read_csv(call("scan", small_plate, "--planes").stdout.encode())
    assert listed.height == 36


def test_scan_says_what_its_index_lists_in_vain_and_which_plate_is_a_copy(small_plate, tmp_path):
    copy, other = (Path(shutil.copytree(small_plate, tmp_path / name)) for name in "ab")
    (copy / "LoadData.csv").write_text(
        "Metadata_Plate,Metadata_Well,FileName_DNA,PathName_DNA\n"
        + "".join(f"p,A0{i},mini_A0{i}_s1_DNA.tif,{copy}\n" for i in (1, 2, 3))
    )
    for i in (1, 3):
        (copy / f"mini_A0{i}_s1_DNA.tif").unlink()
    whole, lacking, twice = call("scan", small_plate, copy).stdout.splitlines()
    assert "not there" not in whole
    first = f"{copy}/mini_A01_s1_DNA.tif"
    assert lacking.endswith(f"; 2 files that it lists are not there, the first: {first}")
    assert "both hold a plate called 'mini'" in str(call("scan", small_plate, other).exception)
    assert twice.startswith(f"p and mini hold the same images, such as {copy}/mini_A02_s1_DNA.tif")


WITHOUT_JAX = """
import sys
from profiler.cli import main

class NoJax:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "jax":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoJax())
for stage in ("profile", "hits", "report"):
    sys.argv[1:] = [stage, OUT]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, ended.code
"""


def test_stages_after_the_cells_run_alone_and_without_jax(out):
    for table in ("wells", "profiles", "hits", "compounds", "statistics", "curves"):
        (out / f"{table}.parquet").unlink()
    (out / "report.html").unlink()
    program = f"OUT = {str(out)!r}\n{WITHOUT_JAX}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (out / "report.html").is_file()
    assert (out / "compounds.parquet").is_file()


def test_hits_can_be_ranked_by_something_else(out):
    done = call("hits", out, "--rank-by", "readout", "--readout", "Nuclei_AreaShape_Area")
    assert done.exit_code == 0
    assert set(pl.read_parquet(out / "hits.parquet")["readout"]) == {"Nuclei_AreaShape_Area"}


def test_segment_writes_one_label_image_for_each_image(small_plate, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for well in ("A01", "B02"):
        shutil.copy(next(small_plate.glob(f"mini_{well}_s1_DNA*")), images)
    (images / "broken.tif").write_bytes(b"II*\0")
    done = call("segment", images, "--out", tmp_path / "labels")
    assert "1 of 3 images could not be read" in str(done.exception)
    found = sorted(path.name for path in (tmp_path / "labels").iterdir())
    assert (len(found), found.pop()) == (3, "objects.csv")
    labels = tifffile.imread(tmp_path / "labels" / found[0])
    assert labels.dtype == np.uint16
    assert labels.max() > 3


def test_segment_finds_whole_cells_with_and_without_their_nuclei(small_plate, tmp_path):
    cells, nuclei = tmp_path / "cells", tmp_path / "nuclei"
    for folder, stain in ((cells, "RNA"), (nuclei, "DNA")):
        folder.mkdir()
        shutil.copy(next(small_plate.glob(f"mini_A01_s1_{stain}*")), folder / "a.tif")
    found = []
    for more in ((), ("--nuclei", nuclei)):
        out = tmp_path / f"labels{len(found)}"
        assert call("segment", cells, "--out", out, "--model", "cells", *more).exit_code == 0
        found.append(tifffile.imread(out / "a.tif"))
    assert min(labels.max() for labels in found) > 3
    assert (found[0] != found[1]).any()
    refused = call("segment", cells, "--out", tmp_path / "no", "--nuclei", nuclei)
    assert "'nuclei' looks at one stain" in str(refused.exception)


def test_what_ships_can_be_listed():
    assert "pattern" in call("readers").stdout
    assert "translocation" in call("recipes").stdout
    said = call("models").stdout
    for name in ("nuclei  segmenter", "cells  segmenter", "cells  encoder"):
        assert f"{name}, sha256 " in said


def test_doctor_finds_this_machine_well():
    done = call("doctor")
    assert done.exit_code == 0
    assert "ok  model nuclei: whole" in done.stdout


def in_a_shell(*words: str | Path, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "profiler.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


def test_a_fixable_error_is_one_message_and_exit_code_one(tmp_path):
    done = in_a_shell("run", tmp_path / "no", "--out", tmp_path / "out", "--recipe", "demo")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("profiler: There is no")
    assert "Traceback" not in done.stderr


def test_wrong_usage_is_exit_code_two(tmp_path):
    assert in_a_shell("run", tmp_path).returncode == 2
    assert in_a_shell("nonsense").returncode == 2


def test_results_go_to_stdout_and_talk_to_stderr(out):
    done = call("hits", out)
    assert done.stdout.startswith("rank,Metadata_Compound")
    assert "compounds are hits, ranked by" in done.stderr


def test_a_stage_made_again_says_so_in_the_summary(out):
    def summary():
        return open_screen(out).facts.summary

    before = summary()
    assert before["ranked_by"] == "profile"
    done = call("hits", out, "--rank-by", "readout")
    assert done.exit_code == 0
    assert summary()["ranked_by"] == "readout"
    assert "ranked by readout" in " ".join(summary()["hits"])
    assert summary()["profiles"] == before["profiles"]
    assert summary()["cells"] == before["cells"]


def recipe_file(folder: Path, text: str) -> Path:
    path = folder / "other.toml"
    path.write_text(text)
    return path


AFTER = """
[profile]
aggregate = "mean"
[[profile.steps]]
step = "normalise"
method = "standardize"
reference = "negative"
[hits]
threshold = 5.0
"""


def test_a_run_is_profiled_again_by_another_recipe_without_its_cells(out, tmp_path):
    cells = {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*.parquet")}
    before = open_screen(out).facts
    done = call("profile", out, "--recipe", recipe_file(tmp_path, AFTER))
    assert done.exit_code == 0, done.output
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*.parquet")} == cells
    facts = open_screen(out).facts
    assert facts.settings["profile"]["aggregate"] == "mean"
    assert facts.settings["hits"]["threshold"] == 5.0
    assert facts.settings["measure"] == before.settings["measure"]
    assert facts.summary["cells"] == before.summary["cells"]
    assert read_footer(out / "hits.parquet").parameters["threshold"] == 5.0
    assert read_footer(out / "profiles.parquet").parameters["steps"][0]["method"] == "standardize"
    wells, cells = open_screen(out).wells.collect(), open_screen(out).cells.collect()
    area = "Nuclei_AreaShape_Area"
    means = cells.group_by("Metadata_Well").agg(pl.col(area).cast(pl.Float64).mean())
    both = wells.join(means, on="Metadata_Well")
    np.testing.assert_allclose(both[area], both[f"{area}_right"])


def test_a_section_is_taken_by_its_own_command_alone(out, tmp_path):
    other = recipe_file(tmp_path, AFTER)
    assert call("hits", out, "-r", other).exit_code == 0
    settings = open_screen(out).facts.settings
    assert (settings["hits"]["threshold"], settings["profile"]["aggregate"]) == (5.0, "median")
    assert call("hits", out).exit_code == 0  # what was used is what is used
    assert read_footer(out / "hits.parquet").parameters["threshold"] == 5.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[segment]\nmin_nucleus_area_px = 41",
            r"other cells: its \[segment\]",
        ),
        ("[hits]\nthreshhold = 5.0", "Did you mean 'threshold'"),
        ('[hits]\nreadout = "Nuclei_AreaShape_Are"', "Did you mean 'Nuclei_AreaShape_Area'"),
        ('[[profile.steps]]\nstep = "normalize"', "Did you mean 'normalise'"),
    ],
)
def test_a_recipe_that_does_not_fit_the_run_is_refused(out, tmp_path, text, message):
    done = call("profile", out, "--recipe", recipe_file(tmp_path, text))
    assert re.search(message, str(done.exception))


def test_found_nuclei_match_the_truth_of_a_synthetic_field(tmp_path):
    from plates.synthetic import Phenotype, field

    made = field(Phenotype(n_cells=25), size=192, seed=5)
    images = tmp_path / "images"
    images.mkdir()
    tifffile.imwrite(images / "one.tif", made.images[..., 0])
    assert call("segment", images, "--out", tmp_path / "labels").exit_code == 0
    found = tifffile.imread(tmp_path / "labels" / "one.tif")
    assert score([(made.nuclei, found)]).f1[0] > 0.9


def test_a_query_for_a_table_with_lists_is_csv_too(out):
    done = call("query", out, "SELECT * FROM compounds LIMIT 1")
    assert done.exit_code == 0
    assert "top_features" in done.stdout


@pytest.mark.parametrize("words", [("--to", "x.csv"), ("--table", "hits")])
def test_where_to_export_without_what_for_is_refused(out, words):
    done = call("report", out, *words)
    assert done.exit_code == 2
    assert "go with --export" in done.output


def test_sql_is_taken_as_it_is(out):
    done = call("query", out, "SELECT 'a//b' AS x FROM wells LIMIT 1")
    assert done.stdout == "x\na//b\n"


def test_a_threshold_that_no_recipe_takes_is_a_message(out):
    done = call("hits", out, "--threshold", "0")
    assert isinstance(done.exception, BadRecipe)
    assert "[hits] threshold" in str(done.exception)


def test_segment_refuses_to_overwrite_its_images(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", np.zeros((64, 64), np.uint8))
    before = (tmp_path / "one.tif").read_bytes()
    done = call("segment", tmp_path, "--out", tmp_path)
    assert "would overwrite" in str(done.exception)
    assert (tmp_path / "one.tif").read_bytes() == before


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_empty_images_of_any_depth_have_no_nuclei(kind, tmp_path):
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).poisson(60, (192, 192)).astype(kind)
    tifffile.imwrite(tmp_path / "in" / "black.tif", np.zeros((192, 192), kind))
    tifffile.imwrite(tmp_path / "in" / "noise.tif", noise)
    assert call("segment", tmp_path / "in", "--out", tmp_path / "out").exit_code == 0
    for name in ("black", "noise"):
        assert not tifffile.imread(tmp_path / "out" / f"{name}.tif").any()


@pytest.mark.parametrize("stage", ["profile", "hits", "report"])
def test_a_mistyped_run_folder_is_not_made(stage, tmp_path):
    done = call(stage, tmp_path / "typo")
    assert "is not a run folder" in str(done.exception)
    assert not (tmp_path / "typo").exists()


def test_a_folder_in_use_is_refused(out):
    from profiler.store.lock import locked

    with locked(out):
        done = call("report", out)
    assert "is in use by" in str(done.exception)


def test_an_interrupt_ends_with_a_message_and_130(small_plate, tmp_path):
    words = ("run", str(small_plate), "--out", str(tmp_path / "out"), "--recipe", str(QUICK))
    command = [sys.executable, "-m", "profiler.cli", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list((tmp_path / "out").rglob("A01.parquet")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Finished wells are kept" in stderr


def test_evaluate_prints_scores_with_intervals_or_a_row_per_image(tmp_path):
    labels = np.zeros((40, 40), np.uint16)
    labels[2:12, 2:12], labels[20:30, 20:32] = 1, 2
    for folder, found in (("truth", labels), ("found", np.where(labels == 1, 1, 0))):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", found.astype(np.uint16))
    done = call("evaluate", tmp_path / "found", tmp_path / "truth")
    scores = pl.read_csv(done.stdout.encode())
    assert scores.filter(pl.col("metric") == "recall@.50")["pooled"].item() == 0.5
    assert "under 25 px were dropped" in done.stderr
    by_image = call("evaluate", tmp_path / "found", tmp_path / "truth", "--images").stdout
    assert pl.read_csv(by_image.encode())["image"].to_list() == ["a"]


def test_the_address_of_a_cluster_without_one_is_a_usage_error(small_plate, tmp_path):
    done = call("run", small_plate, "-o", tmp_path / "run", "-r", QUICK, "--address", "auto")
    assert done.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_cluster_that_is_not_there_is_one_message(small_plate, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install 'plate-profiler[ray]'")
    words = ("--executor", "ray", "--address", "127.0.0.1:1")
    done = call("run", small_plate, "-o", tmp_path / "run", "-r", QUICK, *words)
    assert "Nothing answers at 127.0.0.1:1" in str(done.exception)


def test_an_image_of_too_many_candidates_has_no_labels_and_says_so(tmp_path, monkeypatch):
    segmenter = load_segmenter(SegmentConfig())

    def full(plane) -> Examined:
        seen = segmenter.examine(plane)
        return seen._replace(nuclei=seen.nuclei._replace(dropped=jnp.int32(7)))

    crowded = replace(segmenter, examine=full)
    monkeypatch.setattr(images, "load_segmenter", lambda config: crowded)
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.zeros((192, 192), np.uint16))
    done = call("segment", tmp_path / "images", "--out", tmp_path / "labels")
    assert "7 were not looked at, so its labels would lack some" in str(done.exception)
    assert not (tmp_path / "labels" / "a.tif").exists()
