"""A class as a line among vectors: its weights by hand, its logit in parts, and what is refused."""

import re
import shutil

import numpy as np
import polars as pl
import pytest

from plates.errors import BadLayout, BadModel, BadRun, NoControls, UnknownName
from profiler.classify.evidence import class_evidence
from profiler.classify.model import read_model, write_model
from profiler.classify.tables import classify_run
from profiler.classify.train import TrainRequest, train_classifier
from profiler.store.screen import open as open_screen

from .conftest import FEATURES, KEYS, TIMEPOINT

ALL = ("normal", "moved", "dying", "strange")
VECTOR = [name for name in FEATURES if name.startswith("Embedding")]


def train(planted, folder, *, classes=ALL, features=(), name="all"):
    planted.labels(classes=classes).write_csv(folder / f"{name}.csv")
    out = folder / f"{name}.safetensors"
    request = TrainRequest(folder / f"{name}.csv", [planted.out], out, features=features)
    list(train_classifier(request))
    return read_model(out)


@pytest.fixture(scope="module")
def model(planted, tmp_path_factory):
    """It knows the strange cells, too, which a number of the vector tells, Embedding_0001."""
    return train(planted, tmp_path_factory.mktemp("all"))


@pytest.fixture(scope="module")
def out(one_plate, model, tmp_path_factory):
    out = shutil.copytree(one_plate.out, tmp_path_factory.mktemp("evidence") / "run")
    list(classify_run(out, model))
    return out


@pytest.fixture(scope="module")
def robust(out):
    """All cells of the plate by hand: in robust sds of the plate, with their class."""
    screen = open_screen(out)
    cells = screen.cells.join(screen.cell_classes.select(*KEYS, "Class"), on=KEYS).collect()
    values = cells.select(FEATURES).to_numpy().astype(float)
    centre = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - centre), axis=0)
    return cells, (values - centre) / spread


def numbers(sentence: str) -> list[float]:
    return [float(each) for each in re.findall(r"[+-]?\d+\.\d", sentence)]


@pytest.mark.parametrize(("name", "seen_most"), [("strange", True), ("moved", False)])
def test_the_logit_is_told_in_its_parts(out, model, robust, name, seen_most):
    cells, values = robust
    found = class_evidence(out, model, name)
    logits = model.learnt.linear.logits(values.clip(-10, 10))
    own = (cells["Class"] == name).to_numpy()
    role = open_screen(out).wells.filter(pl.col("Metadata_Role") == "negative").collect()
    others = cells["Metadata_Well"].is_in(role["Metadata_Well"].implode()).to_numpy() & ~own
    column = model.card.classes.index(name)
    above = logits[:, column] - logits.mean(axis=1)
    whole, seen, rest = numbers(found.told[1])
    assert whole == pytest.approx(above[own].mean() - above[others].mean(), abs=0.051)
    assert seen + rest == pytest.approx(whole, abs=0.11)
    assert (seen > rest) == seen_most
    assert any("in those other columns" in note for note in found.told) != seen_most
    assert "4 columns of the embedding" in found.told[1]
    assert "8 other columns" in found.told[1]


def test_weights_are_logits_per_unit_of_the_vector(out, model, robust):
    cells, values = robust
    found = class_evidence(out, model, "strange")
    assert np.abs(found.weights).argmax() == 1  # that is what was planted
    assert found.weights[1] > 0
    linear, column = model.learnt.linear, model.card.classes.index("strange")
    above = linear.weights[:, column] - linear.weights.mean(axis=1)
    is_seen = np.isin(model.card.features, VECTOR)
    by_hand = values[:, is_seen] @ above[is_seen]
    line = cells.select(VECTOR).to_numpy().astype(float) @ found.weights
    np.testing.assert_allclose(line - line[0], by_hand - by_hand[0], atol=1e-5)
    assert found.embedder == "a" * 64


def test_the_cells_are_those_of_the_class(out, model, robust):
    cells, _ = robust
    found = class_evidence(out, model, "strange")
    of_it = cells.filter(pl.col("Class") == "strange").select(KEYS).sort(KEYS)
    assert found.cells.select(KEYS).sort(KEYS).equals(of_it)
    assert found.timepoint is None
    short = model.card.sha256[:12]
    assert found.told[0].startswith(f"Asked of classifier {short}, on plate N7, which has most")


def test_a_classifier_without_vectors_has_no_line(planted, one_plate, tmp_path):
    model = train(planted, tmp_path, features=("Cells_*",))
    with pytest.raises(BadModel, match="goes by 8 named features and no embedding.*train classif"):
        class_evidence(one_plate.out, model, "moved")


def test_what_cannot_be_asked_is_said(out, one_plate, model, trained, plant_run):
    with pytest.raises(UnknownName, match="no class of the classifier called 'strang'. Did you me"):
        class_evidence(out, model, "strang")
    with pytest.raises(UnknownName, match="no time point 4; it has 1 to 1"):
        class_evidence(out, model, "strange", timepoint=4)
    other = read_model(trained)
    message = f"classes are of classifier {model.card.sha256[:12]}, .* is {other.card.sha256[:12]}"
    with pytest.raises(BadRun, match=message):
        class_evidence(out, other, "moved")
    with pytest.raises(BadRun, match="has no cell_classes yet"):
        class_evidence(one_plate.out, model, "moved")
    nameless = plant_run("nameless", plates=("N7",), has_map=False).out
    list(classify_run(nameless, model))
    with pytest.raises(BadRun, match="has no wells yet"):
        class_evidence(nameless, model, "moved")


def test_controls_are_needed(out, model, tmp_path):
    run = shutil.copytree(out, tmp_path / "run")
    wells = pl.read_parquet(run / "wells.parquet")
    from profiler.store.tables import write_table

    def with_wells(table: pl.DataFrame) -> None:
        write_table(run / "wells.parquet", table, level="wells", parameters={})

    with_wells(wells.drop("Metadata_Role"))
    with pytest.raises(BadLayout, match="no Metadata_Role, so controls are not known"):
        class_evidence(run, model, "moved")
    with_wells(wells.with_columns(Metadata_Role=pl.lit("treatment")))
    with pytest.raises(NoControls, match="cells of class 'moved' have no negative controls"):
        class_evidence(run, model, "moved")


def test_a_time_point_is_that_of_the_hits_or_the_last(plant_run, model):
    movie = plant_run("movie", plates=("T1",), times=2).out
    list(classify_run(movie, model))
    assert class_evidence(movie, model, "dying").timepoint == 2
    first = class_evidence(movie, model, "moved", timepoint=1)
    assert first.timepoint == 1
    assert set(first.cells[TIMEPOINT]) == {1}


def test_a_class_that_no_cell_has(one_plate, model, tmp_path):
    run = shutil.copytree(one_plate.out, tmp_path / "run")
    bias = model.learnt.linear.bias - 1e3 * np.array(
        [name == "dying" for name in model.card.classes]
    )
    learnt = model.learnt._replace(linear=model.learnt.linear._replace(bias=bias))
    never = write_model(tmp_path / "never.safetensors", model._replace(learnt=learnt))
    list(classify_run(run, never))
    with pytest.raises(BadRun, match="No cell of the run is of class 'dying'"):
        class_evidence(run, never, "dying")
