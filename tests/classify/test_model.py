"""A classifier on disk comes back to the last bit, and is refused if either file was touched."""

import json

import numpy as np
import pytest

from plates.errors import BadModel
from profiler.classify.model import read_model, write_model


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


def test_a_name_that_two_files_cannot_share(path, tmp_path):
    with pytest.raises(BadModel, match=r"ends in '\.json'; expected NAME\.safetensors"):
        write_model(tmp_path / "a.json", read_model(path))
