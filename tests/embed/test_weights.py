"""Models on disk: a round trip, and every way a file or its channels can be wrong."""

import json
from dataclasses import fields, replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from plates.errors import BadModel, UnknownName
from profiler.classify.model import Card as ClassifierCard
from profiler.embed.network.build import build
from profiler.embed.predict import make_look
from profiler.embed.weights import check_stains, load_model, save_model
from profiler.profile.wells.sets import SetCard
from profiler.segment.weights import Card as SegmenterCard


@pytest.fixture
def saved(config, tmp_path):
    path = tmp_path / "mine.safetensors"
    model = build(config, rngs=nnx.Rngs(1))
    model.encoder.backbone.stem.norm.mean[...] = jnp.full(8, 0.25)
    save_model(path, model, config, about={"data": "none"})
    return path, model, config


def test_a_loaded_model_is_the_saved_one(saved, shapes):
    path, model, config = saved
    loaded, found, card = load_model(path)
    crops = shapes(5).crops
    assert (found, card.name) == (config, "mine")
    one, other = (make_look(each, config)(crops) for each in (model, loaded))
    np.testing.assert_array_equal(one.vectors, other.vectors)
    np.testing.assert_array_equal(one.logits, other.logits)


def test_a_missing_file_says_what_a_model_is(tmp_path):
    with pytest.raises(BadModel, match="A model is two files"):
        load_model(tmp_path / "none.safetensors")


def test_a_missing_card_is_named(saved):
    saved[0].with_suffix(".json").unlink()
    with pytest.raises(BadModel, match=r"mine\.json: No such file"):
        load_model(saved[0])


def test_an_unknown_model_says_so():
    with pytest.raises(UnknownName, match="no embedding model called 'cellz'.*cells"):
        load_model("cellz")


def test_the_encoder_that_ships_takes_any_stains():
    model, config, card = load_model("cells")
    assert config.stains == config.classes == ()
    assert len(card.sha256) == 64
    assert model(jnp.zeros((2, 64, 64, 3))).shape == (2, 3 * 128)


@pytest.mark.parametrize("damage", [lambda b: b[:-10], lambda b: b[:-1] + b"x"])
def test_truncated_or_edited_weights_do_not_match_their_card(saved, damage):
    saved[0].write_bytes(damage(saved[0].read_bytes()))
    with pytest.raises(BadModel, match="changed or cut short"):
        load_model(saved[0])


def edit_card(path, change):
    card = path.with_suffix(".json")
    found = json.loads(card.read_text())
    change(found)
    card.write_text(json.dumps(found))


def test_weights_of_another_network_are_refused(saved):
    edit_card(saved[0], lambda card: card["model"]["encoder"].update(widths=[8, 32]))
    with pytest.raises(BadModel, match="does not fit the network on its card"):
        load_model(saved[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["model"].update(rays=32),
        lambda card: card["model"].pop("encoder"),
        lambda card: card["model"]["encoder"].update(kind="unet"),
        lambda card: card["model"]["encoder"].update(widths=[8]),
    ],
)
def test_a_card_of_another_kind_is_refused(saved, change):
    edit_card(saved[0], change)
    with pytest.raises(BadModel, match="another kind of network"):
        load_model(saved[0])


def test_a_segmenters_card_is_not_an_encoders(saved):
    saved[0].with_suffix(".json").write_text('{"name": "nuclei", "architecture": {}}')
    with pytest.raises(BadModel, match="not the card of an embedding model"):
        load_model(saved[0])


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (
            ClassifierCard,
            r"cell classifier, for `profiler classify RUN --model`; expected an encoder",
        ),
        (
            SetCard,
            r"set aggregator, for \[profile\] aggregate; expected an encoder, such as 'cells'",
        ),
        (SegmenterCard, r"segmenter, for \[segment\] model or cells_model; expected an encoder"),
    ],
)
def test_another_network_is_called_what_it_is(kind, told, saved):
    named = {field.name: "" for field in fields(kind)}
    saved[0].with_suffix(".json").write_text(json.dumps(named))
    with pytest.raises(
        BadModel, match=rf"mine\.json is not the card of .*: it is the card of a {told}"
    ):
        load_model(saved[0])


def test_a_card_with_other_fields_names_them(saved):
    edit_card(saved[0], lambda card: card.update(colour="red"))
    with pytest.raises(BadModel, match="expected the fields about, model, name, sha256; colour"):
        load_model(saved[0])


def test_stains_in_another_order_or_of_another_kind_are_refused(config):
    own = config.__class__(config.encoder, config.crops, ("DNA", "ER", "AGP"))
    check_stains(own, ("DNA", "ER", "AGP"), name="mine")
    with pytest.raises(BadModel, match="takes the same ones as DNA, ER, AGP. Order the recipe's"):
        check_stains(own, ("ER", "DNA", "AGP"), name="mine")
    with pytest.raises(BadModel, match="channels are DNA, Mito; .*'mine' was trained on DNA, ER"):
        check_stains(own, ("DNA", "Mito"), name="mine")


def test_the_recipes_remedy_for_other_stains_is_told_as_it_is_written(config):
    own = config.__class__(config.encoder, config.crops, ("ER", "DNA"))
    remedy = r'\[embed\] channels = \["ER", "DNA"\]'
    for found in (("DNA", "ER"), ("DNA", "ER", "AGP"), ("a", "b")):
        with pytest.raises(BadModel, match=remedy):
            check_stains(own, found, name="mine")


def test_a_model_without_stains_takes_any(config):
    check_stains(config.__class__(config.encoder, config.crops), ("a", "b"), name="any")


def test_a_classifier_of_any_one_stain_is_refused_on_several(config):
    alone = replace(config, stains=())
    check_stains(alone, ("ER",), name="mine")
    message = r"'mine' are DNA, ER; it tells classes apart by .* \[embed\] channels = \[\"DNA\"\]"
    with pytest.raises(BadModel, match=message):
        check_stains(alone, ("DNA", "ER"), name="mine")
    check_stains(replace(alone, classes=()), ("DNA", "ER"), name="mine")
    together = replace(alone, encoder=replace(alone.encoder, stains="mean"))
    check_stains(together, ("DNA", "ER"), name="mine")
