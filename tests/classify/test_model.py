"""A classifier on disk comes back to the last bit, and is refused if either file was touched."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from plates.errors import BadModel
from profiler.classify.model import KIND, read_model, write_model
from profiler.embed import weights as encoders
from profiler.profile.wells.sets import SetCard
from profiler.segment import weights as segmenters


@pytest.fixture
def path(trained, tmp_path):
    for suffix in (".safetensors", ".json"):
        (tmp_path / f"a{suffix}").write_bytes(trained.with_suffix(suffix).read_bytes())
    return tmp_path / "a.safetensors"


def test_it_comes_back_to_the_last_bit(path, tmp_path):
    model = read_model(path)
    write_model(tmp_path / "b.safetensors", model)
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()
    again = read_model(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(again.learnt.linear.weights, model.learnt.linear.weights)
    assert again.card == model.card


def test_the_card_says_what_it_is(path):
    card = read_model(path).card
    assert card.classes == ["dying", "moved", "normal"]
    assert card.plates == ["P1", "P2"]
    assert card.embedder == "a" * 64
    assert len(card.features) == 12
    assert card.scores["held_out"] == "plates"
    assert set(card.scores["recall"]) == set(card.classes)
    assert min(card.examples.values()) > 10
    assert "scikit-learn" in card.packages


def test_a_file_with_too_few_cells_for_novelty_has_none(path, tmp_path):
    model = read_model(path)
    odd = model.learnt.odd
    assert odd is not None
    few = odd._replace(reference={name: each[:19] for name, each in odd.reference.items()})
    learnt = model.learnt._replace(odd=few._replace(rows=odd.rows[:19]))
    write_model(tmp_path / "few.safetensors", model._replace(learnt=learnt, wells=model.wells[:19]))
    assert read_model(tmp_path / "few.safetensors").learnt.odd is None


def test_touched_files_are_refused(path):
    blob, card = path.read_bytes(), path.with_suffix(".json")
    path.write_bytes(blob[:-1] + bytes([blob[-1] ^ 1]))
    with pytest.raises(BadModel, match=r"a\.safetensors was changed or cut short"):
        read_model(path)
    path.write_bytes(blob)
    said = json.loads(card.read_text())
    card.write_text(json.dumps(said | {"classes": ["dying", "moved", "fine"]}))
    with pytest.raises(BadModel, match=r"a\.json was edited.*train anew"):
        read_model(path)
    card.write_text(json.dumps({"sha256": said["sha256"], "architecture": {}}))
    with pytest.raises(BadModel, match=r"a\.json is not the card of a cell classifier: its kind"):
        read_model(path)
    card.unlink()
    with pytest.raises(BadModel, match=r"Cannot read .*a\.json.*keep them side by side"):
        read_model(path)


@pytest.mark.parametrize(
    ("card", "named"),
    [
        (asdict(encoders.Card("a", {"encoder": {}}, "0" * 64, {})), "the card of an encoder"),
        (asdict(segmenters.Card("a", {}, "0" * 64, {})), "the card of a segmenter"),
        (asdict(SetCard("a", (), (), (), None, "0" * 64)), "the card of an aggregator of wells"),
        ({"kind": "something else"}, "no card of a classifier"),
        ([1, 2], "no card of a classifier"),
        (None, "no card that can be read"),
    ],
)
def test_another_network_is_not_replaced(path, tmp_path, card, named):
    text = "{cut short" if card is None else json.dumps(card)
    model, beside = read_model(path), tmp_path / "other.json"
    beside.write_text(text)
    beside.with_suffix(".safetensors").write_bytes(b"weights")
    with pytest.raises(BadModel, match=rf"other\.json is {named}.* Choose another name"):
        write_model(tmp_path / "other.safetensors", model)
    assert beside.read_text() == text
    assert beside.with_suffix(".safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("kind", [KIND, "cell classifier 7"])
def test_a_classifier_is_replaced_by_another(path, tmp_path, kind):
    (tmp_path / "other.json").write_text(json.dumps({"kind": kind}))
    written = write_model(tmp_path / "other.safetensors", read_model(path))
    assert read_model(tmp_path / "other.safetensors").card == written.card


def test_a_name_that_two_files_cannot_share(path, tmp_path):
    with pytest.raises(BadModel, match=r"ends in '\.json'; expected NAME\.safetensors"):
        write_model(tmp_path / "a.json", read_model(path))
