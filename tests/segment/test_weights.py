"""Weights on disk: a round trip, and every way a file can be wrong."""

import json
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from plates.errors import BadModel, UnknownName
from profiler.compute.field import _network_key
from profiler.segment.catalogue import MODELS
from profiler.segment.confidence.calibration import Calibration, read_calibration
from profiler.segment.confidence.evidence import Evidence
from profiler.segment.joining import joints
from profiler.segment.joining.join import Joining, read_joining
from profiler.segment.network.build import build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.weights import (
    Card,
    copy_network,
    load_network,
    save_calibration,
    save_joining,
    save_network,
    widened,
)

SMALL = NetworkConfig(widths=(4, 8))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "mine.safetensors"
    model = build(SMALL, rngs=nnx.Rngs(1))
    model(jnp.ones((1, 8, 8, 1)))  # moves the running averages
    save_network(path, model, SMALL, about={"data": "none"})
    model.eval()
    return path, model


def test_a_loaded_network_is_the_saved_one(saved):
    path, model = saved
    loaded, config, card = load_network(path)
    image = jnp.asarray(np.random.default_rng(0).random((1, 16, 16, 1)), jnp.float32)
    assert config == SMALL
    assert card.name == "mine"
    for one, other in zip(model(image), loaded(image), strict=True):
        np.testing.assert_array_equal(one, other)


def test_running_averages_travel(saved):
    names = load_file(saved[0])
    assert any(name.endswith("mean") for name in names)


@pytest.mark.parametrize(
    ("block", "norm", "old", "new"),
    [
        ("plain", "batch", (4, 8), (8, 10)),
        ("dilated", "batch", (4, 4, 8), (6, 8, 8)),
        ("separable", "batch", (4, 8), (6, 16)),
        ("residual", "batch", (4, 8), (8, 12)),
        ("plain", "group", (8, 16), (16, 24)),  # whole groups of 8 are added
    ],
)
def test_a_widened_network_predicts_the_same(block, norm, old, new):
    config = NetworkConfig(widths=old, block=block, norm=norm)
    model = build(config, rngs=nnx.Rngs(1))
    field = jax.random.normal(jax.random.key(0), (1, 16, 24, 1))
    model(field)  # moves the running averages
    model.eval()
    wide, config = widened(model, config, new, rngs=nnx.Rngs(2))
    assert config.widths == new
    wide.eval()
    for before, after in zip(model(field), wide(field), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_a_widened_network_can_learn_more():
    model = build(SMALL, rngs=nnx.Rngs(1))
    wide, _ = widened(model, SMALL, (6, 10), rngs=nnx.Rngs(2))
    wide.eval()
    field = jax.random.normal(jax.random.key(0), (1, 16, 24, 1))
    grads = nnx.grad(lambda network: sum(part.sum() for part in network(field)))(wide)
    assert np.abs(grads["head"]["kernel"][...]).min() > 0  # of what was added, too: it is drawn in


@pytest.mark.parametrize("widths", [(4, 6), (4, 8, 8), (4,)])
def test_a_network_that_does_not_hold_the_first_is_refused(widths):
    model = build(SMALL, rngs=nnx.Rngs(1))
    with pytest.raises(BadModel, match=r"do not hold .*\(4, 8\); expected as many levels"):
        widened(model, SMALL, widths, rngs=nnx.Rngs(2))


@pytest.mark.parametrize(
    ("block", "norm", "old", "new"),
    [
        ("dense", "batch", (4, 8), (8, 12)),
        ("plain", "group", (4, 8), (6, 12)),
        ("residual", "batch", (8, 8), (8, 12)),
    ],
)
def test_a_network_that_would_forget_is_not_widened(block, norm, old, new):
    config = NetworkConfig(widths=old, block=block, norm=norm)
    model = build(config, rngs=nnx.Rngs(1))
    with pytest.raises(BadModel, match=f"{block} blocks and {norm} norms cannot be widened"):
        widened(model, config, new, rngs=nnx.Rngs(2))


def test_an_unknown_model_gets_a_suggestion():
    with pytest.raises(UnknownName, match=r"no segmentation model called 'nucle'.*'nuclei'"):
        load_network("nucle")


def test_a_missing_file_says_what_a_model_is(tmp_path):
    with pytest.raises(BadModel, match="A model is two files"):
        load_network(tmp_path / "none.safetensors")


def test_a_missing_card_is_named(saved):
    saved[0].with_suffix(".json").unlink()
    with pytest.raises(BadModel, match=r"mine\.json: No such file"):
        load_network(saved[0])


@pytest.mark.parametrize("damage", [lambda b: b[:-10], lambda b: b[:-1] + b"x"])
def test_truncated_or_edited_weights_do_not_match_their_card(saved, damage):
    saved[0].write_bytes(damage(saved[0].read_bytes()))
    with pytest.raises(BadModel, match="changed or cut short"):
        load_network(saved[0])


def edit_card(path, **changes):
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def test_weights_of_another_architecture_are_refused(saved):
    edit_card(saved[0], architecture={"channels": 1, "widths": [4, 16]})
    with pytest.raises(BadModel, match="does not fit the architecture"):
        load_network(saved[0])


def test_a_card_of_another_kind_is_refused(saved):
    edit_card(saved[0], architecture={"rays": 32})
    with pytest.raises(BadModel, match="another architecture"):
        load_network(saved[0])


def test_a_card_that_is_no_card_is_refused(saved):
    saved[0].with_suffix(".json").write_text("[]")
    with pytest.raises(BadModel, match=r"mine\.json is not a model card: it holds a list"):
        load_network(saved[0])


def test_an_old_card_means_the_defaults(saved):
    edit_card(saved[0], architecture={"channels": 1, "widths": [4, 8]})
    assert load_network(saved[0])[1] == SMALL


def test_a_card_with_an_unknown_word_is_refused(saved):
    edit_card(saved[0], architecture={"channels": 1, "widths": [4, 8], "block": "transformer"})
    with pytest.raises(BadModel, match="another architecture.*no block called 'transformer'"):
        load_network(saved[0])


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("sha256", None, "the 64 letters and digits"),
        ("architecture", None, "the fields of NetworkConfig"),
        ("architecture", [1], "the fields of NetworkConfig"),
        ("about", "mine", "the data, split and scores"),
        ("name", 3, "a word"),
        ("diameter_px", 0, "a number of pixels from 1 to 10000, or null"),
        ("diameter_px", 1e-9, "a number of pixels from 1 to 10000"),
        ("diameter_px", -4, "a number of pixels from 1 to 10000"),
        ("diameter_px", "big", "a number of pixels from 1 to 10000"),
        ("diameter_px", True, "a number of pixels from 1 to 10000"),
        ("nucleus_px", float("inf"), "a number of pixels from 1 to 10000"),
        ("calibration", "abc", "the fields of Calibration, or null"),
        ("joining", "abc", "the fields of Joining, or null"),
    ],
)
def test_an_edited_card_is_refused_by_file_and_field(saved, field, value, expected):
    edit_card(saved[0], **{field: value})
    told = re.escape(
        f"mine.json is not a model card: its {field} is {value!r}; expected {expected}"
    )
    with pytest.raises(BadModel, match=told):
        load_network(saved[0])
    with pytest.raises(BadModel, match=told):
        save_calibration(saved[0], None, note="")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("channels", "x", "a whole number from 1"),
        ("channels", -1, "a whole number from 1"),
        ("channels", 1.5, "a whole number from 1"),
        ("widths", [], "a list of whole numbers from 1"),
        ("widths", [4, -8], "a list of whole numbers from 1"),
        ("widths", [4, 8.5], "a list of whole numbers from 1"),
        ("widths", "48", "a list of whole numbers"),
        ("head", ["stars"], "a word"),
        ("block", None, "a word"),
        ("dropout", "a", "a number from 0 to below 1"),
        ("dropout", 1, "a number from 0 to below 1"),
    ],
)
def test_an_edited_architecture_is_refused_by_file_and_field(saved, field, value, expected):
    edit_card(saved[0], architecture={"channels": 1, "widths": [4, 8], field: value})
    told = rf"card of .*mine\.safetensors describes another.*{field} is .*expected {expected}"
    with pytest.raises(BadModel, match=told):
        load_network(saved[0])


def test_a_copy_is_called_by_its_new_name(saved):
    other = saved[0].with_name("other.safetensors")
    copy_network(saved[0], other)
    assert load_network(other)[2] == replace(load_network(saved[0])[2], name="other")
    assert other.read_bytes() == saved[0].read_bytes()


CALIBRATION = Calibration(Evidence._fields, (1.0, 2.0, -3.0, 0.5), 0.25, 400, 40, 0.01)


def test_a_calibration_goes_on_the_card_and_the_weights_stay_as_they_are(saved):
    before = saved[0].read_bytes()
    save_calibration(saved[0], CALIBRATION, note="fitted on nothing")
    assert saved[0].read_bytes() == before
    card = load_network(saved[0])[2]
    assert read_calibration(card.calibration, model="mine") == CALIBRATION
    assert card.about == {"data": "none", "calibration": "fitted on nothing"}
    save_calibration(saved[0], None, note="not calibrated")
    assert load_network(saved[0])[2].calibration is None


def test_an_old_card_means_no_calibration(saved):
    card = json.loads(saved[0].with_suffix(".json").read_text())
    del card["calibration"]
    saved[0].with_suffix(".json").write_text(json.dumps(card))
    assert load_network(saved[0])[2].calibration is None


JOINING = Joining(joints.Evidence._fields, (0.5,) * 11, -1.0, 0.4, 400, 40)


def test_a_joining_goes_on_the_card_and_the_calibration_goes(saved):
    save_calibration(saved[0], CALIBRATION, note="fitted on pieces")
    save_joining(saved[0], JOINING, note="fitted on nothing")
    card = load_network(saved[0])[2]
    assert read_joining(card.joining, model="mine") == JOINING
    assert card.calibration is None  # of nuclei as they were found before
    assert card.about == {"data": "none", "joining": "fitted on nothing"}
    save_joining(saved[0], None, note="none")
    assert load_network(saved[0])[2].joining is None


def test_the_nuclei_network_ships_with_a_joining_that_does_not_join_all():
    joining = read_joining(load_network("nuclei")[2].joining, model="nuclei")
    assert joining is not None
    assert 0 < joining.within < joining.joints / 2
    assert 0.2 <= joining.threshold <= 0.6


@pytest.mark.parametrize("name", MODELS)
def test_every_shipped_network_is_whole_small_and_says_where_it_comes_from(name):
    model, _, card = load_network(name)
    assert {"data", "split", "scores"} <= card.about.keys()
    assert card.name == name
    fitted = read_calibration(card.calibration, model=name)
    assert fitted is not None
    assert fitted.error < 0.05
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert parameters < 10_000_000


def test_cells_are_computed_anew_where_a_card_says_another_use():
    card = Card("mine", {"widths": (4, 8)}, "abc", {"split": "a"}, diameter_px=28.0)
    key = _network_key(card)
    assert _network_key(replace(card, about={"split": "b"}, name="other")) == key
    others = (
        {"sha256": "abd"},
        {"architecture": {"widths": (4, 8), "block": "dense"}},
        {"diameter_px": 14.0},
        {"nucleus_px": 14.0},
        {"calibration": {"error": 0.1}},
        {"joining": {"threshold": 0.4}},
    )
    assert len({key, *(_network_key(replace(card, **other)) for other in others)}) == 7
