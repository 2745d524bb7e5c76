"""Cells explained together: what the parts say, whatever the company, and refusals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from plates.errors import BadModel
from profiler.embed.crops import CropConfig
from profiler.embed.explain.explainer import Explain, Reference, make_explainer
from profiler.embed.explain.gradients import integrated_gradients
from profiler.embed.explain.inside import share_inside
from profiler.embed.explain.line import Line
from profiler.embed.explain.occlude import occlude_stains
from profiler.embed.network.build import Model, build
from profiler.embed.network.config import EncoderConfig, ModelConfig

SIDE = 16


def crops_with_masks(count: int, *, seed: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc in noise, and the disc's pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc = np.roll(np.hypot(y, x) < 5, shift, axis=0)
    pixels = rng.uniform(0, 0.1, (count, SIDE, SIDE, 2)) + 0.5 * disc[None, :, :, None]
    return pixels.astype(np.float32), np.repeat(disc[None], count, axis=0)


GIVEN = crops_with_masks(5, seed=0)
REFERENCE = Reference(*crops_with_masks(2, seed=1, shift=2), np.full(2, 0.05, np.float32))


@pytest.fixture(scope="module")
def known() -> tuple[Model, Line, Explain]:
    """A network, what it is asked, and its explanations, compiled once."""
    config = ModelConfig(EncoderConfig(widths=(8,), blocks=(1,)), CropConfig(SIDE), ("DNA", "GFP"))
    network = build(config, rngs=nnx.Rngs(0))
    weights = np.random.default_rng(0).normal(size=config.size)
    line = Line(jnp.asarray(weights, jnp.float32), jnp.float32(0.25))
    return network, line, make_explainer(network, line, REFERENCE)


def test_parts_are_the_means_over_reference_cells(known):
    network, line, explain = known
    given, inside = (jnp.asarray(part) for part in GIVEN)
    found = explain(*GIVEN)
    ask = jax.jit(partial(integrated_gradients, network, line))
    occlude = jax.jit(partial(occlude_stains, network, line))
    maps, shares, changes = [], [], []
    for crop, other_inside in zip(*REFERENCE[:2], strict=True):
        other = jnp.asarray(np.repeat(crop[None], 5, axis=0))
        maps.append(ask(given, other))
        shares.append(share_inside(maps[-1], inside | other_inside[None]))
        changes.append(occlude(given, other))
    np.testing.assert_allclose(found.attribution, np.mean(maps, axis=0), atol=1e-5)
    np.testing.assert_allclose(found.share_inside, np.mean(shares, axis=0), atol=1e-5)
    np.testing.assert_allclose(found.exchanged, np.mean(changes, axis=0), atol=1e-5)
    usual = float(line(jax.jit(network.encoder)(jnp.asarray(REFERENCE.crops))).mean())
    total = found.attribution.sum((1, 2, 3)) + found.missing
    np.testing.assert_allclose(total, found.place - usual, atol=1e-5)
    assert np.abs(found.missing).max() < 0.1 * np.abs(found.place - usual).max()


def test_a_cell_is_explained_the_same_alone(known):
    explain = known[2]
    together, alone = explain(*GIVEN), explain(*(part[3:4] for part in GIVEN))
    for name, one, other in zip(alone._fields, together, alone, strict=True):
        np.testing.assert_allclose(one[3:4], other, atol=1e-5, err_msg=name)


def test_a_reference_cell_is_held_against_the_others(known):
    found = known[2](*REFERENCE[:2])
    assert np.isfinite(found.share_inside).all()  # against itself there is nothing to share
    assert (np.abs(found.attribution).sum((1, 2, 3)) > 0).all()


def test_no_cells_are_no_rows(known):
    found = known[2](*(part[:0] for part in GIVEN))
    assert found.attribution.shape == (0, SIDE, SIDE, 2)
    assert found.place.shape == (0,)


def test_crops_of_another_shape_are_refused(known):
    network, line, explain = known
    with pytest.raises(BadModel, match=r"crops of shape \(5, 16, 16, 1\).*are \(2, 16, 16, 2\)"):
        explain(GIVEN[0][..., :1], GIVEN[1])
    with pytest.raises(BadModel, match="no reference cell"):
        make_explainer(network, line, REFERENCE._replace(crops=REFERENCE.crops[:0]))
