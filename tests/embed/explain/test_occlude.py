"""What changes without a stain or a place, and shares inside the cell, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from plates.errors import BadModel, UnknownName
from profiler.embed.explain.inside import share_inside, share_of_mask
from profiler.embed.explain.line import Line, class_line, direction_line
from profiler.embed.explain.occlude import occlude_places, occlude_stains
from profiler.embed.network.build import with_classes
from profiler.embed.network.intensity import brightness


def test_a_replaced_stain_changes_what_it_gave_and_no_more(planted, crops):
    network = planted(lambda planes: planes[..., 0].mean((1, 2)))
    weights = jnp.asarray([2.0, 0.0, -1.0])
    given, instead = jnp.asarray(crops(3, stains=3)), jnp.full((3, 16, 16, 3), 0.05)
    found = occlude_stains(network, Line(weights, jnp.float32(7)), given, instead)
    bright = [np.log1p(255 * np.asarray(each)) / np.log(256) for each in (instead, given)]
    change = bright[0].mean((1, 2)) - bright[1].mean((1, 2))
    np.testing.assert_allclose(found, change * np.asarray(weights), atol=1e-5)
    assert (np.asarray(found[:, 1]) == 0).all()


def test_a_network_that_looks_at_the_neighbour_is_found_out(planted, crops, mask):
    inside = jnp.asarray(np.repeat(mask()[None], 2, axis=0))
    weigh = jnp.asarray(~mask(), jnp.float32)
    network = planted(lambda planes: (planes[..., 0] * weigh[None]).sum((1, 2)))
    given = jnp.asarray(crops(2, stains=1))
    found = occlude_places(
        network, Line(jnp.ones(1), jnp.float32(0)), given, jnp.zeros_like(given), inside=inside
    )
    assert (np.asarray(found.cell) == 0).all()
    expected = -(np.asarray(brightness(given))[..., 0] * np.asarray(weigh)).sum((1, 2))
    np.testing.assert_allclose(found.surroundings, expected, rtol=1e-5)


def test_shares_by_hand():
    attribution = np.zeros((3, 4, 4, 2), np.float32)
    attribution[0, 0, 0] = (3, -1)
    attribution[0, 3, 3] = (0, -4)
    attribution[1] = 1
    inside = np.zeros((3, 4, 4), bool)
    inside[:, :2, :2] = True
    found = share_inside(jnp.asarray(attribution), jnp.asarray(inside))
    np.testing.assert_allclose(found, [0.5, 0.25, np.nan])
    np.testing.assert_allclose(share_of_mask(jnp.asarray(inside)), [0.25] * 3)


def test_a_class_line_is_the_classifiers_logit(model, crops, quick):
    from flax import nnx

    network, config = model("small")
    classifier, config = with_classes(network, config, classes=("a", "b"), rngs=nnx.Rngs(3))
    classifier.eval()
    given = jnp.asarray(crops(3))
    asked = class_line(classifier, config, "b")
    found = asked(quick(classifier.encoder)(given))
    np.testing.assert_allclose(found, quick(classifier)(given)[:, 1], rtol=1e-5)
    with pytest.raises(UnknownName, match="no class of the model called 'c'"):
        class_line(classifier, config, "c")


def test_a_line_that_leads_nowhere_is_refused(model):
    network, config = model("small")
    with pytest.raises(BadModel, match="no class 'a': the model is an encoder without classes"):
        class_line(network, config, "a")
    with pytest.raises(BadModel, match="length 0 .* leads nowhere"):
        direction_line(np.zeros(3, np.float32))
    with pytest.raises(BadModel, match="scale 0 leads nowhere"):
        direction_line(np.ones(3, np.float32), scale=0.0)
