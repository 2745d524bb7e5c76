"""The commands: labels in, a classifier, classes and cells to label out; and what is refused."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from plates.errors import ProfilingError
from profiler import cli

from .conftest import KEYS

RUNNER = CliRunner()


def call(*words: str | Path):
    return RUNNER.invoke(cli.app, [str(word) for word in words])


def refused(*words: str | Path) -> str:
    done = call(*words)
    assert isinstance(done.exception, ProfilingError), done.output
    return str(done.exception)


@pytest.fixture
def labels(planted, tmp_path):
    def write(table=None, name="labels.csv"):
        table = planted.labels(every=4) if table is None else table
        table.write_csv(tmp_path / name)
        return tmp_path / name

    return write


def _with_wrong_labels(table: pl.DataFrame) -> pl.DataFrame:
    """Each fortieth cell gets a label of another class."""
    other = pl.when(pl.col("Label") == "dying").then(pl.lit("normal")).otherwise(pl.lit("dying"))
    is_wrong = pl.int_range(pl.len()) % 40 == 0
    return table.with_columns(pl.when(is_wrong).then(other).otherwise("Label").alias("Label"))


def test_from_labels_to_enriched_compounds(planted, one_plate, labels, tmp_path):
    out, model = shutil.copytree(one_plate.out, tmp_path / "run"), tmp_path / "mine.safetensors"
    path = labels(_with_wrong_labels(planted.labels(every=4)))
    done = call("train", "classifier", path, "--run", planted.out, "--out", model)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Class,Cells,Recall,Precision,F1,Covered,Size\ndying,")
    assert "Held out by plates in 2 parts: F1 0.9" in done.stderr
    suspects = pl.read_csv(tmp_path / "mine.suspects.csv")
    assert f"{suspects.height} labels are probably wrong" in done.stderr
    truth = suspects.join(planted.truth, on=list(KEYS), how="left", maintain_order="left")
    is_wrong = truth["Label"] != truth["Label_right"]
    assert is_wrong.sum() >= 7  # of 9
    assert is_wrong.mean() > 0.7
    assert (truth.filter(is_wrong)["Instead"] == truth.filter(is_wrong)["Label_right"]).mean() > 0.8

    (tmp_path / "mine.suspects.csv").write_text("mended by hand\n")
    done = call("train", "classifier", path, "--run", planted.out, "--out", model)
    assert "mine.suspects.csv was changed since it was written: it is kept as " in done.stderr
    assert (tmp_path / "mine.suspects.old.csv").read_text() == "mended by hand\n"

    done = call("classify", out, "--model", model)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Metadata_Compound,")
    assert "648 cells of 24 wells have a class" in done.stderr
    asked = "SELECT Metadata_Compound AS c FROM class_hits WHERE is_enriched AND class = 'moved'"
    assert call("query", out, asked).stdout == "c\nMover\n"
    by_class = "SELECT Class, count(*) AS n FROM cell_classes GROUP BY Class ORDER BY n"
    assert call("query", out, by_class).stdout.splitlines()[-1].startswith("normal,")
    done = call("report", out, "--export", "csv", "--table", "classes", "--to", tmp_path / "c.csv")
    assert done.exit_code == 0, done.output

    done = call("suggest-cells", out, "--out", tmp_path / "s", "--model", model, "--cells", 3)
    assert done.exit_code == 0, done.output
    assert done.stdout == (tmp_path / "s" / "cells.csv").read_text()
    assert "profiler train classifier" in done.stderr


def test_one_plate_is_judged_by_wells_and_says_so(planted, labels, tmp_path):
    one = labels(planted.labels().filter(pl.col("Metadata_Plate") == "P1"))
    done = call(
        "train", "classifier", one, "--run", planted.out, "--out", tmp_path / "a.safetensors"
    )
    assert done.exit_code == 0, done.output
    assert "Held out by wells" in done.stderr
    assert "All labels are of plate P1" in done.stderr


def test_features_may_be_chosen(planted, labels, tmp_path):
    out = tmp_path / "a.safetensors"
    words = ("train", "classifier", labels(), "--run", planted.out, "--out", out)
    assert call(*words, "--features", "Cells_*_F[01]").exit_code == 0
    assert '"embedder": null' in out.with_suffix(".json").read_text()
    assert "No column of cells matches 'Nuclei_*'" in refused(*words, "--features", "Nuclei_*")
    # A position says where a cell lies, not what it is.
    assert "No column of cells matches" in refused(*words, "--features", "Nuclei_Location*")


def test_a_plate_on_both_sides_is_refused_unless_asked(planted, labels, tmp_path):
    table = planted.labels()
    on_one = table.filter((pl.col("Label") != "dying") | (pl.col("Metadata_Plate") == "P1"))
    words = ("train", "classifier", labels(on_one), "--run", planted.out, "--out")
    words = (*words, tmp_path / "a.safetensors")
    message = refused(*words)
    assert "1 classes have cells of one plate only: dying (P1)" in message
    assert "--mixed-plates" in message
    assert not (tmp_path / "a.safetensors").exists()
    done = call(*words, "--mixed-plates")
    assert done.exit_code == 0, done.output
    assert "Plates were on both sides of the test, as asked" in done.stderr


def test_labels_that_fit_no_cell_or_make_no_classes(planted, labels, tmp_path):
    def message(table) -> str:
        words = ("train", "classifier", labels(table), "--run", planted.out, "--out")
        return refused(*words, tmp_path / "a.safetensors")

    table = planted.labels()
    far = table.with_row_index().with_columns(
        Metadata_ObjectNumber=pl.when(pl.col("index") == 0).then(999).otherwise(KEYS[3])
    )
    said = message(far.drop("index"))
    assert "labels are for cells that the run does not have: P1 " in said
    assert "cell 999" in said
    assert "are labelled 'moved'" in message(table.filter(pl.col("Label") == "moved"))
    rare = pl.concat(
        [table.filter(pl.col("Label") != "dying"), table.filter(pl.col("Label") == "dying").head(1)]
    )
    assert "1 classes with one example: P1 " in message(rare)


def test_bad_files(planted, labels, tmp_path):
    words = ("train", "classifier", labels(), "--run", planted.out, "--out")
    assert "expected NAME.safetensors" in refused(*words, tmp_path / "a.pkl")
    (tmp_path / "enc.json").write_text('{"name": "enc", "model": {}, "sha256": "", "about": {}}')
    absent = ("train", "classifier", tmp_path / "none.csv", "--run", planted.out, "--out")
    said = refused(*absent, tmp_path / "enc.safetensors")  # before the labels are read
    assert "enc.json is the card of an encoder of cells" in said
    assert "is not a run folder" in refused(
        "train", "classifier", labels(), "--run", tmp_path, "--out", tmp_path / "a.safetensors"
    )
    nothing = tmp_path / "none.safetensors"
    assert "A model is two files" in refused("classify", planted.out, "--model", nothing)


def test_help_names_the_commands():
    text = call("--help").output
    assert " classify " in text
    assert " suggest-cells " in text
    assert "classifier" in call("train", "--help").output
