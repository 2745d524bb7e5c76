"""Ensembles: what members agree on, by hand, against NumPy and each member alone."""

from dataclasses import replace

import numpy as np
import pytest
from flax import nnx
from scipy.stats import entropy

from plates.errors import BadModel, BadRecipe
from profiler.embed.ensemble import ask_ensemble, ask_thinned, load_ensemble, opinion
from profiler.embed.network.build import build
from profiler.embed.predict import make_look
from profiler.embed.weights import save_model


@pytest.fixture
def config(config):
    """As small as networks get, because every network is a program to compile."""
    return replace(config, encoder=replace(config.encoder, widths=(8,), blocks=(1,)))


@pytest.fixture
def models(config):
    return [build(config, rngs=nnx.Rngs(seed)) for seed in range(3)]


def test_two_sure_members_that_differ_by_hand():
    members = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0]] * 2])
    found = opinion(members)
    np.testing.assert_allclose(found.probabilities, [[0.5, 0.5], [0.5, 0.5], [1, 0]])
    # Unsure together is no disagreement; sure and apart is one bit.
    np.testing.assert_allclose(found.mutual_information, [np.log(2), 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.disagreement, [0.5, 0, 0])


def test_mutual_information_is_the_mean_divergence_from_the_mean():
    members = np.random.default_rng(0).dirichlet([1, 1, 1], (5, 4))
    mean = members.mean(axis=1, keepdims=True)
    expected = entropy(members, np.broadcast_to(mean, members.shape), axis=-1).mean(axis=1)
    np.testing.assert_allclose(opinion(members).mutual_information, expected)


def test_an_ensemble_is_the_mean_of_its_members(models, config, shapes):
    crops = shapes(7).crops
    found = ask_ensemble(models, config, views=2, batch=4)(crops)
    each = [make_look(model, config, views=2, batch=4)(crops).probabilities for model in models]
    np.testing.assert_allclose(found.members, np.stack(each, axis=1), atol=1e-5)
    np.testing.assert_allclose(found.probabilities, np.mean(each, axis=0), atol=1e-5)
    assert (found.mutual_information > 1e-4).all()


def test_a_member_named_twice_agrees_with_itself(models, config, shapes):
    found = ask_ensemble([models[0]] * 2, config, batch=4)(shapes(5).crops)
    np.testing.assert_allclose(found.mutual_information, 0, atol=1e-6)
    np.testing.assert_array_equal(found.disagreement, 0)


def test_no_crops_have_no_opinion(models, config):
    found = ask_ensemble(models, config, batch=4)(np.empty((0, 16, 16, 1), np.uint8))
    assert found.members.shape == (0, 3, 3)
    assert found.disagreement.shape == (0,)


def test_nothing_left_out_is_the_plain_model(models, config, shapes):
    crops = shapes(7).crops
    found = ask_thinned(models[0], config, rate=0.0, draws=3)(crops)
    plain = make_look(models[0], config)(crops).probabilities
    np.testing.assert_allclose(found.members, np.repeat(plain[:, None], 3, axis=1), atol=1e-6)
    np.testing.assert_allclose(found.mutual_information, 0, atol=1e-6)


def test_draws_are_as_the_seed_says_and_the_same_for_a_cell_alone(models, config, shapes):
    trained = replace(config, encoder=replace(config.encoder, dropout=0.5))
    ask, crops = ask_thinned(models[0], trained, draws=8), shapes(5).crops
    together = ask(crops)
    np.testing.assert_array_equal(ask(crops[3:4]).members[0], together.members[3])
    again = ask_thinned(models[0], trained, rate=0.5, draws=8)(crops)
    np.testing.assert_array_equal(again.members, together.members)
    other = ask_thinned(models[0], trained, draws=8, seed=1)(crops)
    assert np.abs(other.members - together.members).max() > 1e-3
    assert (together.mutual_information > 0).all()


def test_thinned_logits_are_the_plain_ones_on_average(models, config, shapes):
    crops = shapes(2).crops
    found = ask_thinned(models[0], config, rate=0.5, draws=4_000)(crops).members
    plain = make_look(models[0], config)(crops).logits
    logits = np.log(found) - np.log(found).mean(axis=-1, keepdims=True)
    spread = logits.std(axis=1) / np.sqrt(4_000)
    expected = plain - plain.mean(axis=-1, keepdims=True)
    assert (np.abs(logits.mean(axis=1) - expected) < 5 * spread).all()
    assert spread.min() > 0


def test_members_on_disk_must_be_alike(models, config, tmp_path):
    other = replace(config, classes=("a", "b"))
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path, model, own in zip(paths, models, (config, config, other), strict=True):
        made = model if own == config else build(other, rngs=nnx.Rngs(0))
        save_model(path, made, own, about={})
    loaded, found = load_ensemble(paths[:2])
    assert len(loaded) == 2
    assert found == config
    with pytest.raises(BadModel, match=r"c\.safetensors is another kind of model than .*a\.safet"):
        load_ensemble(paths)


def test_what_has_no_opinion_is_refused(models, config, shapes):
    encoder = build(replace(config, classes=()), rngs=nnx.Rngs(0))
    for ask in (lambda: ask_ensemble([encoder], config), lambda: ask_thinned(encoder, config)):
        with pytest.raises(BadModel, match="'given' has no classes"):
            ask()
    for ask in (lambda: ask_ensemble([], config), lambda: load_ensemble([])):
        with pytest.raises(BadModel, match="found none"):
            ask()
    with pytest.raises(BadRecipe, match="trained without dropout"):
        ask_thinned(models[0], config)
    with pytest.raises(BadRecipe, match=r"rate of 1\.0; expected 0 to below 1"):
        ask_thinned(models[0], config, rate=1.0)
    with pytest.raises(BadModel, match=r"takes \[cell, 16, 16, 1\]"):
        ask_ensemble(models, config)(np.zeros((2, 32, 32, 1), np.uint8))
