"""Every encoder: its vectors, whatever the stains and the batch; words and numbers that fit not."""

from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from plates.errors import BadRecipe, UnknownName
from profiler.embed.crops import CropConfig
from profiler.embed.network.build import SIZES, Model, as_unit, build, with_classes
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.network.layers import fold

TINY = {
    "resnet": EncoderConfig(widths=(8, 16), blocks=(1, 2)),
    "efficientnet": EncoderConfig("efficientnet", (8, 8, 8, 16), (1, 2), norm="batch-keras"),
    "vit": EncoderConfig(kind="vit", widths=(32,), blocks=(1,)),
}
CROPS = jnp.asarray(np.random.default_rng(0).random((3, 16, 16, 2)), jnp.float32)


@partial(jax.jit, static_argnums=0)
def called(graph, state, crops):
    return nnx.merge(graph, state)(crops)


class Compiled(NamedTuple):
    """A model that is one program, whichever test calls it."""

    model: Model

    def __call__(self, crops):
        return called(*nnx.split(self.model), crops)


@cache
def made(own: EncoderConfig, stains=("DNA", "ER"), classes=()):
    config = ModelConfig(own, CropConfig(16), stains, classes)
    model = build(config, rngs=nnx.Rngs(0))
    model.eval()
    return Compiled(model), config


@pytest.mark.parametrize(
    ("own", "channels"),
    [(TINY["resnet"], 1), (TINY["resnet"], 6), (TINY["efficientnet"], 5), (TINY["vit"], 2)],
)
def test_one_set_of_weights_serves_any_number_of_stains(own, channels):
    model, _ = made(own)
    crops = jnp.tile(CROPS[..., :1], channels)
    vectors = model(crops)
    width = own.widths[-1]
    assert vectors.shape == (3, channels * width)
    parts = vectors.reshape(3, channels, width)  # of the same stain, wherever it stands
    np.testing.assert_allclose(parts, jnp.broadcast_to(parts[:, :1], parts.shape), atol=1e-5)


def test_the_mean_over_stains_is_as_long_for_any_number():
    own = TINY["resnet"]
    apart, _ = made(own)
    together, config = made(replace(own, stains="mean"))
    by_stain = apart(CROPS).reshape(3, 2, -1)
    np.testing.assert_allclose(together(CROPS), by_stain.mean(1), atol=1e-5)
    assert together(CROPS).shape[1] == config.size


def test_a_resnet_that_takes_larger_patches_sees_all_their_pixels():
    config = ModelConfig(SIZES["resnet-tiny"], CropConfig(32), stains=("DNA",))
    model = build(config, rngs=nnx.Rngs(0))
    model.eval()
    backbone = model.encoder.backbone
    assert backbone.stem.conv.kernel.shape == (3, 3, 2 * 16, 32)
    planes = jnp.zeros((1, 32, 32, 2))
    assert backbone.last_level(planes).shape == (1, 2, 2, 128)

    reached = jax.grad(lambda shown: backbone.stem.conv(fold(fold(shown)))[0, 0, 0, 0])(planes)
    is_reached = (jnp.abs(reached) > 0).all(axis=(0, 3))
    assert is_reached[:8, :8].all()  # the first patch and those beside it
    assert not is_reached[8:].any()
    assert not is_reached[:, 8:].any()


@pytest.mark.parametrize("patch_px", [0, 3, -2])
def test_patches_that_do_not_fold_are_refused(patch_px):
    with pytest.raises(BadRecipe, match=f"patch_px is {patch_px}; expected a power of two"):
        made(EncoderConfig(patch_px=patch_px))


def test_patches_are_a_resnets_alone():
    with pytest.raises(BadRecipe, match="patch_px is 4, which only a resnet has; .* 'vit'"):
        made(replace(TINY["vit"], patch_px=4))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_vector_does_not_depend_on_its_batch(norm):
    model, _ = made(replace(TINY["resnet"], norm=norm))
    alone = model(CROPS[1:2])
    np.testing.assert_allclose(model(CROPS)[1:2], alone, atol=1e-5)


def test_the_pattern_knows_nothing_of_exposure():
    model, _ = made(replace(TINY["resnet"], scale="pattern"))
    np.testing.assert_allclose(model(CROPS), model(0.2 * CROPS + 0.3), atol=1e-4)


def test_brightness_tells_exposures_apart():
    model, _ = made(replace(TINY["resnet"], scale="brightness"))
    assert jnp.abs(model(CROPS) - model(0.2 * CROPS)).max() > 1e-2


def test_a_flat_crop_has_a_vector():
    model, _ = made(TINY["resnet"])
    assert jnp.isfinite(model(jnp.full_like(CROPS, 0.25))).all()


@pytest.mark.parametrize("name", SIZES)
def test_encoders_by_name_are_small_enough_to_ship(name):
    config = ModelConfig(SIZES[name], stains=("DNA",))
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) < 10_000_000


def test_new_classes_leave_the_encoder_as_it_was():
    model, config = made(TINY["resnet"], classes=("a", "b"))
    classes = ("x", "y", "z")
    other, wanted = with_classes(model.model, config, classes=classes, rngs=nnx.Rngs(1))
    assert wanted.classes == classes
    assert Compiled(other)(CROPS).shape == (3, 3)
    assert other.encoder is model.model.encoder


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_integers_are_divided_by_their_types_maximum(kind):
    top = np.iinfo(kind).max
    np.testing.assert_allclose(as_unit(jnp.asarray([0, top], kind)), [0.0, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "resnett"}, "no encoder called 'resnett'. Did you mean 'resnet'"),
        ({"norm": "batc"}, "no norm called 'batc'. Did you mean 'batch'"),
        ({"scale": "bth"}, "no intensity scale called 'bth'. Did you mean 'both'"),
        ({"stains": "men"}, "no pool of stains called 'men'. Did you mean 'mean'"),
    ],
)
def test_unknown_words_get_a_suggestion(change, message):
    with pytest.raises(UnknownName, match=message):
        made(replace(EncoderConfig(), **change))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (EncoderConfig(widths=(8, 16)), r"needs 4 widths; found \(8, 16\)"),
        (EncoderConfig("efficientnet", (8, 16), (1, 1)), "needs 4 widths"),
        (EncoderConfig("vit", (8, 16), (1,)), "needs 1 widths"),
        (EncoderConfig("vit", (8, 16), (1, 1)), "needs 1 widths; .* 1 to 1 levels"),
        (EncoderConfig(widths=(8,) * 5, blocks=(1,) * 5), "do not divide by 32.*Take 32"),
        (EncoderConfig(patch_px=8), "do not divide by 64.*Take 64"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(own, message):
    with pytest.raises(BadRecipe, match=message):
        made(own)
