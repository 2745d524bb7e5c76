"""Vectors and classes: the same for a cell whatever its batch, steadier over several views."""

from dataclasses import replace

import numpy as np
import pytest
from flax import nnx

from plates.errors import BadModel, BadRecipe
from profiler.embed.ensemble import ask_thinned
from profiler.embed.network.build import Model, build
from profiler.embed.predict import make_look


@pytest.fixture
def model(config):
    return build(config, rngs=nnx.Rngs(3))


def test_a_cell_is_the_same_whatever_batch_it_is_in(model, config, shapes):
    look, crops = make_look(model, config, batch=4), shapes(11).crops
    together = look(crops)
    assert together.vectors.shape == (11, config.size)
    for one in (3, 10):
        np.testing.assert_array_equal(look(crops[one : one + 1]).vectors[0], together.vectors[one])
    np.testing.assert_array_equal(look(crops[::-1]).logits[::-1], together.logits)


def test_eight_views_are_the_same_for_a_turned_and_mirrored_cell(model, config, shapes):
    look, crops = make_look(model, config, views=8, batch=4), shapes(4).crops
    turned = np.rot90(crops, axes=(1, 2))[:, :, ::-1]
    np.testing.assert_allclose(look(crops).logits, look(turned).logits, atol=1e-5)


def test_no_cells_give_no_rows(model, config):
    seen = make_look(model, config)(np.empty((0, 16, 16, 1), np.uint8))
    assert seen.vectors.shape == (0, config.size)
    assert seen.probabilities.shape == (0, 3)


def test_integers_and_floats_are_the_same_cell(model, config, shapes):
    look, crops = make_look(model, config, batch=4), shapes(4).crops
    as_floats = look(crops.astype(np.float32) / 255)
    np.testing.assert_allclose(look(crops).vectors, as_floats.vectors, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 32, 32, 1), (2, 16, 16, 2), (16, 16, 1)])
def test_crops_of_another_shape_are_refused(model, config, shape):
    with pytest.raises(BadModel, match=r"'given' takes \[cell, 16, 16, 1\]: DNA"):
        make_look(model, config)(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_grey_levels_of_another_type_are_refused(model, config, shapes, kind):
    """As many steps make them from the bytes of files: divided by 2**31 or by nothing."""
    with pytest.raises(BadRecipe, match=f"{kind.__name__}.*hand over the integers of 8 or 16 bits"):
        make_look(model, config)(shapes(4).crops.astype(kind))


def test_a_classifier_of_any_one_stain_takes_one_at_a_time(model, config, shapes):
    alone = replace(config, stains=())
    look, crops = make_look(model, alone), shapes(4).crops
    np.testing.assert_array_equal(look(crops).logits, make_look(model, config)(crops).logits)
    for ask in (look, ask_thinned(model, alone, rate=0.2)):
        with pytest.raises(BadModel, match=r"\(4, 16, 16, 2\); the model .* \[cell, 16, 16, 1\]\."):
            ask(np.concatenate([crops, crops], axis=-1))
    encoder = replace(alone, classes=())
    assert make_look(Model(model.encoder, None), encoder)(
        np.concatenate([crops, crops], axis=-1)
    ).vectors.shape == (4, 2 * config.size)


def test_too_many_views_are_refused(model, config):
    with pytest.raises(BadRecipe, match="9 views of a crop; expected 1 to 8"):
        make_look(model, config, views=9)
