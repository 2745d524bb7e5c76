"""Weights and cards: what comes back, and what is refused by name."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from flax import nnx

from plates.errors import BadModel
from profiler.nets.files import fill, read_weights, write_card, write_weights


@dataclass(frozen=True)
class Note:
    sha256: str
    made_of: str = "wool"


class Net(nnx.Module):
    def __init__(self, size: int = 2):
        self.norm = nnx.BatchNorm(size, rngs=nnx.Rngs(0))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(1))
        self.linear = nnx.Linear(size, 3, rngs=nnx.Rngs(2))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "new" / "a.safetensors"
    write_card(path, Note(write_weights(path, Net())))
    return path


def test_weights_and_running_averages_come_back_and_random_state_stays_out(path):
    card, tensors = read_weights(path, Note, what="a note")
    assert card.made_of == "wool"
    assert set(tensors) == {
        *(f"norm/{part}" for part in ("bias", "scale", "mean", "var")), "linear/bias",
        "linear/kernel",
    }  # fmt: skip
    other = nnx.eval_shape(lambda: Net())
    fill(other, tensors, path=path, what="network")
    np.testing.assert_array_equal(other.linear.kernel[...], Net().linear.kernel[...])


def test_another_network_is_refused(path):
    _, tensors = read_weights(path, Note, what="a note")
    with pytest.raises(BadModel, match=r"does not fit the network on its card \(shapes differ\)"):
        fill(Net(size=4), tensors, path=path, what="network")
    with pytest.raises(BadModel, match=r"network on its card \(bias\)"):
        fill(nnx.BatchNorm(2, rngs=nnx.Rngs(0)), tensors, path=path, what="network")


def test_damage_is_told(path):
    blob, card = path.read_bytes(), path.with_suffix(".json")
    path.write_bytes(blob[:-1] + b"x")
    with pytest.raises(BadModel, match="was changed or cut short"):
        read_weights(path, Note, what="a note")
    path.write_bytes(blob)
    said = json.loads(card.read_text())
    card.write_text(json.dumps(said | {"colour": "red"}))
    with pytest.raises(BadModel, match=r"a\.json is not a note: .*colour"):
        read_weights(path, Note, what="a note")
    card.write_text(json.dumps({"sha256": None}))
    with pytest.raises(BadModel, match=r"a\.json: its sha256 is None; expected the 64 letters"):
        read_weights(path, Note, what="a note")
    card.unlink()
    with pytest.raises(BadModel, match=r"Cannot read .*a\.json.*keep them side by side"):
        read_weights(path, Note, what="a note")
