"""Classes of several runs: one table where one classifier gave them, refused by name otherwise."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from plates.errors import BadRun
from profiler.classify.model import Model, read_model, write_model
from profiler.classify.tables import classify_run
from profiler.store.screen import open as open_screen

TABLES = ("cell_classes", "classes", "class_hits")


@pytest.fixture
def one(one_plate, trained, tmp_path) -> Path:
    """A run that the classifier has been through."""
    out = shutil.copytree(one_plate.out, tmp_path / "one")
    list(classify_run(out, read_model(trained)))
    return out


@pytest.fixture
def other(plant_run) -> Path:
    """A run of another plate, without classes."""
    return plant_run("other", plates=("N8",), seed=6).out


def another(trained: Path, folder: Path) -> Model:
    """A classifier of the same classes and columns that is not the same one."""
    model = read_model(trained)
    card = replace(model.card, temperature=2 * model.card.temperature)
    return write_model(folder / "another.safetensors", model._replace(card=card))


def test_runs_of_one_classifier_are_one_table(one, other, trained):
    list(classify_run(other, read_model(trained)))
    screen = open_screen([one, other])
    cells = screen.cell_classes.collect()
    assert cells["Metadata_Run"].value_counts().sort("Metadata_Run")["count"].to_list() == [720] * 2
    assert screen.classes.collect().height == 2 * 24 * 4
    assert set(screen.class_hits.collect()["Metadata_Run"]) == {"one", "other"}


@pytest.mark.parametrize("table", TABLES)
def test_runs_of_different_classifiers_are_refused_by_name(one, other, trained, tmp_path, table):
    model = another(trained, tmp_path)
    list(classify_run(other, model))
    known, new = read_model(trained).card.sha256[:12], model.card.sha256[:12]
    message = (
        rf"The {table} of these runs are not of one model: {known} in one, {new} in other\. "
        r"Classify them with the same classifier and coverage \(`profiler classify"
    )
    with pytest.raises(BadRun, match=message):
        getattr(open_screen([one, other]), table)
    assert getattr(open_screen([one, other], features="common"), table).collect().height


@pytest.mark.parametrize("table", TABLES)
def test_runs_of_different_coverage_are_refused_by_name(one, other, trained, table):
    list(classify_run(other, read_model(trained), coverage=0.8))
    with pytest.raises(BadRun, match=rf"The {table} .* not of one coverage: 0\.9 in one, 0\.8 in"):
        getattr(open_screen([one, other]), table)


def test_a_run_without_classes_is_told_of_first(one, other):
    with pytest.raises(BadRun, match="other has no cell_classes yet"):
        open_screen([one, other]).cell_classes  # noqa: B018
