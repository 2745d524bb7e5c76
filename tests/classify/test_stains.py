"""A classifier knows which stains its vectors are of: others, or another order, are refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from plates.errors import BadModel
from profiler.classify.model import Model, read_model, write_model
from profiler.classify.run import classify_cells
from profiler.classify.suggest import suggest
from profiler.classify.tables import Classified, classify_run
from profiler.classify.train import TrainRequest, train_classifier

UNCHECKED = "does not say which stains"


@pytest.fixture
def turned(plant_run):
    """A run of the same encoder, whose stains come the other way round."""
    return plant_run("turned", plates=("N7",), stains=("GFP", "DNA"))


def taught(planted, folder: Path, *features: str) -> Path:
    planted.labels().write_csv(folder / "labels.csv")
    request = TrainRequest(
        folder / "labels.csv", [planted.out], folder / "own.safetensors", features=features
    )
    list(train_classifier(request))
    return request.out


def aged(trained: Path, folder: Path) -> Model:
    """The classifier as it was written before cards told of stains."""
    model, path = read_model(trained), folder / "old.safetensors"
    write_model(path, model._replace(card=replace(model.card, stains=None)))
    said = json.loads(path.with_suffix(".json").read_text())
    assert said.pop("stains") is None
    path.with_suffix(".json").write_text(json.dumps(said))
    return read_model(path)


def test_the_card_has_them_in_their_order(trained):
    assert read_model(trained).card.stains == ["DNA", "GFP"]


def test_another_order_is_refused_before_anything_is_written(turned, trained, tmp_path):
    message = (
        r"N7.A01\.parquet has embeddings of the stains GFP, DNA, in this order, and the classifier "
        r'was trained on those of DNA, GFP: .* channels = \["DNA", "GFP"\]'
    )
    with pytest.raises(BadModel, match=message):
        list(classify_cells(turned.out, read_model(trained), coverage=0.9))
    assert not (turned.out / "classes").exists()
    with pytest.raises(BadModel, match=message):
        suggest(turned.out, tmp_path / "s", model=trained)


def test_runs_of_two_orders_teach_no_classifier(planted, turned, tmp_path):
    planted.labels().extend(turned.labels()).write_csv(tmp_path / "labels.csv")
    runs = [planted.out, turned.out]
    request = TrainRequest(tmp_path / "labels.csv", runs, tmp_path / "own.safetensors")
    message = "another order: DNA, GFP in run; GFP, DNA in turned.*--features"
    with pytest.raises(BadModel, match=message):
        list(train_classifier(request))


def test_a_classifier_without_embeddings_does_not_ask(planted, turned, tmp_path):
    path = taught(planted, tmp_path, "Cells_*")
    assert read_model(path).card.stains is None
    *_, last = classify_run(turned.out, read_model(path))
    assert isinstance(last, Classified)
    assert not any(UNCHECKED in note for note in last.notes)


def test_a_card_from_before_is_read_and_says_what_was_not_checked(turned, trained, tmp_path):
    model = aged(trained, tmp_path)
    assert model.card.stains is None
    *_, last = classify_run(turned.out, model)
    assert isinstance(last, Classified)
    assert UNCHECKED in last.notes[-1]


def test_stains_taken_from_a_card_are_an_edited_card(trained, tmp_path):
    for suffix in (".safetensors", ".json"):
        (tmp_path / f"a{suffix}").write_bytes(trained.with_suffix(suffix).read_bytes())
    said = json.loads((tmp_path / "a.json").read_text())
    for stains in (None, ["GFP", "DNA"]):
        (tmp_path / "a.json").write_text(json.dumps(said | {"stains": stains}))
        with pytest.raises(BadModel, match="was edited"):
            read_model(tmp_path / "a.safetensors")
