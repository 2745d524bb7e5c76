"""A field's cells, embedded where they were segmented: the same as crops cut by hand."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import ndimage

from plates.errors import BadLabels, BadModel, BadRecipe
from plates.synthetic import discs
from profiler.embed import embedder as embedder_stage
from profiler.embed.crops import CropConfig
from profiler.embed.embedder import load_embedder
from profiler.embed.network.build import build
from profiler.embed.predict import make_look
from profiler.embed.weights import save_model

LABELS = discs(96, radius=5, spacing=24)  # 16 cells
IMAGES = np.random.default_rng(0).random((2, 96, 96, 2), np.float32)
OPTIONS = {"stains": ("DNA", "ER"), "max_cells": 20}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    from profiler.embed.network.config import EncoderConfig, ModelConfig

    path = tmp_path_factory.mktemp("model") / "two.safetensors"
    encoder = EncoderConfig(widths=(8, 16), blocks=(1, 1))
    config = ModelConfig(encoder, CropConfig(16), ("DNA", "ER"), ("a", "b", "c"))
    model = build(config, rngs=nnx.Rngs(0))
    save_model(path, model, config, about={})
    return path, model, config


@pytest.fixture(scope="module")
def embedder(saved):
    return load_embedder(str(saved[0]), **OPTIONS)


def embedded(embedder, labels=LABELS):
    batch = np.stack([labels, np.zeros_like(labels)])
    return embedder.embed(jnp.asarray(IMAGES), jnp.asarray(batch))


def test_cells_are_what_the_model_says_of_crops_cut_by_hand(embedder, saved):
    _, model, config = saved
    centres = np.round(ndimage.center_of_mass(LABELS > 0, LABELS, range(1, 17))).astype(int)
    crops = np.stack([IMAGES[0][r - 8 : r + 8, c - 8 : c + 8] for r, c in centres])
    expected = make_look(model, config)(crops)
    found = embedded(embedder)
    np.testing.assert_allclose(found.vectors[0, :16], expected.vectors, atol=1e-5)
    np.testing.assert_allclose(found.logits[0, :16], expected.logits, atol=1e-5)


def test_models_of_one_architecture_are_traced_once(saved, tmp_path, monkeypatch):
    traced = []

    def embed(*args, **options):
        traced.append(options)
        return one(*args, **options)

    one = embedder_stage.embed_field
    monkeypatch.setattr(embedder_stage, "embed_field", embed)
    embedder_stage._program.cache_clear()
    path, _, config = saved
    other = tmp_path / "other.safetensors"
    save_model(other, build(config, rngs=nnx.Rngs(1)), config, about={})
    found = [embedded(load_embedder(str(each), **OPTIONS)).vectors for each in (path, other, path)]
    assert len(traced) == 1
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1], equal_nan=True)  # of weights of its own


def test_rows_without_a_cell_are_nan(embedder):
    found = embedded(embedder, np.where(LABELS == 3, 0, LABELS))
    missing = np.isnan(found.vectors[0]).all(-1)
    np.testing.assert_array_equal(np.flatnonzero(missing), [2, 16, 17, 18, 19])
    assert np.isnan(found.vectors[1]).all()
    assert not found.is_padded.any()


def test_a_cell_is_the_same_whatever_else_is_in_its_field_and_batch(embedder):
    alone = embedded(embedder, np.where(LABELS == 6, 1, 0))
    np.testing.assert_array_equal(alone.vectors[0, 0], embedded(embedder).vectors[0, 5])


def test_columns_are_named_and_numbered(embedder):
    assert embedder.columns[:2] == ("Embedding_0000", "Embedding_0001")
    assert len(embedder.columns) == embedded(embedder).vectors.shape[-1] == 32


def test_stains_in_another_order_are_refused(saved):
    with pytest.raises(BadModel, match="takes the same ones as DNA, ER"):
        load_embedder(str(saved[0]), stains=("ER", "DNA"), max_cells=20)


def test_integers_are_the_same_cells_as_floats(embedder):
    levels = np.round(IMAGES * 65535).astype(np.uint16)
    labels = np.stack([LABELS, LABELS]).astype(np.uint16)
    found = embedder.embed(levels, labels)
    units = embedder.embed(jnp.asarray(levels / np.float32(65535)), jnp.asarray(labels, jnp.int32))
    np.testing.assert_allclose(found.vectors, units.vectors, atol=1e-5)
    np.testing.assert_array_equal(found.is_padded, units.is_padded)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((1, 96, 96, 3)), LABELS[None], r"height, width, 2\]: DNA, ER. Give a batch"),
        (IMAGES[0], LABELS, r"images of shape \(96, 96, 2\); the encoder 'two'"),
        (IMAGES, LABELS[None], r"labels of shape \(1, 96, 96\) .* expected integers of shape \(2,"),
        (IMAGES[:1], LABELS[None, :48], r"labels of shape \(1, 48, 96\) and type int32"),
        (IMAGES[:1], LABELS[None] / 1.0, "and type float64 for images"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(images, labels, message, embedder):
    with pytest.raises((BadLabels, BadModel), match=message):
        embedder.embed(images, labels)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full(IMAGES.shape, 200, np.int64), "pixels of type int64; expected uint8, uint16"),
        (np.full(IMAGES.shape, 200, np.uint32), "type uint32; .* these would all be black"),
        (IMAGES * 4095, r"pixels of mean 2\d{3} \(float32\); expected floats from 0 to 1"),
        (jnp.asarray(IMAGES * 255), r"pixels of mean 12\d\.\d \(float32\)"),
    ],
)
def test_pixels_that_are_no_intensities_are_refused(images, message, saved):
    embedder = load_embedder(str(saved[0]), **OPTIONS)
    with pytest.raises(BadRecipe, match=message):
        embedder.embed(images, np.stack([LABELS, LABELS]))


def test_light_that_was_corrected_may_go_beyond_white(embedder):
    found = embedder.embed(jnp.asarray(IMAGES * 1.9), np.stack([LABELS, LABELS]))
    assert np.isfinite(found.vectors[:, :16]).all()


def test_tables_without_rows_are_refused(saved):
    with pytest.raises(BadRecipe, match="max_cells = 0; expected 1 or more"):
        load_embedder(str(saved[0]), stains=("DNA", "ER"), max_cells=0)


@pytest.mark.parametrize(("stains", "named"), [(("DNA", "DNA"), "DNA, DNA"), ((), "none")])
def test_stains_are_named_once_each(stains, named):
    with pytest.raises(BadModel, match=f"'cells' are {named}; expected one or more, each once"):
        load_embedder("cells", stains=stains, max_cells=20)


def test_crops_larger_than_the_field_are_refused(embedder):
    with pytest.raises(BadRecipe, match="'two' are 16 x 16 pixels, larger than the field"):
        embedder.embed(jnp.zeros((1, 12, 96, 2)), jnp.zeros((1, 12, 96), jnp.int32))


def test_a_pixel_size_that_is_needed_must_be_known(saved, tmp_path):
    _, model, config = saved
    path = tmp_path / "sized.safetensors"
    sized = replace(config, crops=CropConfig(16, pixel_size_um=0.5))
    save_model(path, model, sized, about={})
    embedder = load_embedder(str(path), **OPTIONS)
    images, labels = jnp.asarray(IMAGES[:1]), jnp.asarray(LABELS[None])
    with pytest.raises(BadRecipe, match="own pixel size is not known"):
        embedder.embed(images, labels)
    with pytest.raises(BadRecipe, match="a pixel size of nan um"):
        embedder.embed(images, labels, pixel_size_um=np.nan)
    half = embedder.embed(images, labels, pixel_size_um=0.25)
    whole = embedder.embed(images, labels, pixel_size_um=0.5)
    assert not np.allclose(half.vectors[0, :16], whole.vectors[0, :16])
    np.testing.assert_array_equal(whole.vectors, embedded_by(saved, images, labels))


def embedded_by(saved, images, labels):
    return load_embedder(str(saved[0]), **OPTIONS).embed(images, labels).vectors
