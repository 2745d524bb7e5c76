"""The loop: it learns, goes on where it stopped, and refuses what it cannot learn from."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from plates.errors import BadLabels, BadModel, BadRecipe, UnknownName
from profiler.embed.network.build import build
from profiler.embed.predict import make_look
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.events import Learnt, Started, Trained
from profiler.embed.training.learn import Lesson, checkpoint_path, learn
from profiler.embed.training.objectives import ObjectiveConfig
from profiler.embed.training.step import Schedule, begin
from profiler.embed.weights import load_model

SCHEDULE = Schedule(
    steps=60, batch=24, warmup=5, learning_rate=1e-2, average=0.9, report_every=20, save_every=20
)
AUGMENT = AugmentConfig(shift_px=1.0)


@pytest.fixture
def lesson(shapes):
    return Lesson(shapes(90), schedule=SCHEDULE, augment=AUGMENT, about={"data": "drawn"})


@pytest.fixture
def one_level(config):
    """As small as networks get, because each objective is a program of its own to compile."""
    return replace(config, encoder=replace(config.encoder, widths=(8,), blocks=(1,)))


def taught(config, lesson, out):
    model = build(config, rngs=nnx.Rngs(0))
    return list(learn(model, config, lesson, out=out))


def test_a_tiny_network_tells_three_shapes_apart(config, lesson, shapes, tmp_path):
    out = tmp_path / "shapes.safetensors"
    events = taught(config, lesson, out)
    assert events[0] == Started(cells=90, groups=4, step=0, steps=60)
    losses = [event.loss for event in events if isinstance(event, Learnt)]
    assert losses[-1] < 0.7 * losses[0]
    assert events[-1] == Trained(out, 60)
    model, loaded, card = load_model(out)
    assert loaded == config
    assert card.about["data"] == "drawn"
    new = shapes(60, seed=1)
    seen = make_look(model, loaded, views=4)(new.crops)
    np.testing.assert_array_equal(seen.logits.argmax(1), new.labels)
    np.testing.assert_allclose(seen.probabilities.sum(1), 1, rtol=1e-5)
    assert not checkpoint_path(out).exists()


def test_an_interrupted_run_ends_with_the_same_weights(config, lesson, tmp_path):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    taught(config, lesson, whole)
    model = build(config, rngs=nnx.Rngs(0))
    list(itertools.islice(learn(model, config, lesson, out=parts), 3))  # beyond step 20
    assert checkpoint_path(parts).exists()
    assert taught(config, lesson, parts)[0].step == 20
    one, other = load_file(whole), load_file(parts)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_checkpoint_of_another_lesson_is_refused(config, lesson, tmp_path):
    out = tmp_path / "shapes.safetensors"
    model = build(config, rngs=nnx.Rngs(0))
    list(itertools.islice(learn(model, config, lesson, out=out), 3))
    with pytest.raises(BadModel, match="run on another model, other cells, labels or settings"):
        taught(config, replace(lesson, seed=1), out)
    other = build(config, rngs=nnx.Rngs(1))
    with pytest.raises(BadModel, match="run on another model"):
        next(learn(other, config, lesson, out=out))
    checkpoint_path(out).write_bytes(b"cut short")
    with pytest.raises(BadModel, match="no checkpoint that training can go on from"):
        taught(config, lesson, out)


def test_rare_and_absent_classes_are_offset_in_the_loss(config, lesson, tmp_path, monkeypatch):
    seen = []

    def noting(model, task, *, offsets):
        seen.append(offsets)
        return begin(model, task, offsets=offsets)

    monkeypatch.setattr("profiler.embed.training.learn.begin", noting)
    examples = lesson.examples._replace(labels=np.repeat([0, 1, -1], [60, 20, 10]).astype(np.int32))
    asked = replace(lesson, examples=examples, objective=ObjectiveConfig(prior=0.5))
    model = build(config, rngs=nnx.Rngs(0))
    next(learn(model, config, asked, out=tmp_path / "x.safetensors"))
    expected = 0.5 * np.log(np.array([60, 20, 0.5]) / 80.5)
    np.testing.assert_allclose(seen[0], expected, rtol=1e-6)


def test_a_model_is_left_as_it_was(config, lesson, tmp_path):
    for objective in ("cross_entropy", "simclr"):
        model = build(config, rngs=nnx.Rngs(0))
        model.eval()
        before = nnx.graphdef(model)
        asked = replace(lesson, objective=ObjectiveConfig(objective))
        next(learn(model, config, asked, out=tmp_path / f"{objective}.safetensors"))
        assert nnx.graphdef(model) == before


def test_without_labels_an_encoder_is_learnt(one_level, lesson, tmp_path):
    out = tmp_path / "alone.safetensors"
    unlabelled = lesson.examples._replace(labels=np.full(90, -1, np.int32))
    objective = ObjectiveConfig("simclr", outputs=8)
    short = replace(SCHEDULE, steps=20)
    asked = replace(lesson, examples=unlabelled, objective=objective, schedule=short)
    losses = [event.loss for event in taught(one_level, asked, out) if isinstance(event, Learnt)]
    model, loaded, _ = load_model(out)
    assert np.isfinite(losses).all()
    assert model.head is None
    assert loaded == replace(one_level, classes=())
    assert make_look(model, loaded)(unlabelled.crops).vectors.shape == (90, 8)


def test_a_frozen_encoder_stays_as_it_was_in_half_precision_too(one_level, lesson, tmp_path):
    out = tmp_path / "frozen.safetensors"
    objective = ObjectiveConfig("focal", prior=1.0, balance=0.5, mixup=0.5)
    schedule = replace(SCHEDULE, steps=10, frozen=10, bfloat16=True)
    own = replace(one_level, encoder=replace(one_level.encoder, dropout=0.2))
    model = build(own, rngs=nnx.Rngs(0))
    asked = replace(lesson, objective=objective, schedule=schedule)
    losses = [e.loss for e in learn(model, own, asked, out=out) if isinstance(e, Learnt)]
    assert np.isfinite(losses).all()
    done, _, _ = load_model(out)
    before, after = model.encoder.backbone, done.encoder.backbone
    np.testing.assert_allclose(after.stem.conv.kernel[...], before.stem.conv.kernel[...], rtol=1e-5)
    np.testing.assert_array_equal(after.stem.norm.mean[...], before.stem.norm.mean[...])
    assert np.abs(done.head.linear.kernel[...] - model.head.linear.kernel[...]).max() > 1e-4


def test_cells_without_a_label_are_left_out(config, lesson, tmp_path):
    labels = lesson.examples.labels.copy()
    labels[:9] = -1
    asked = replace(lesson, examples=lesson.examples._replace(labels=labels))
    model = build(config, rngs=nnx.Rngs(0))
    assert next(learn(model, config, asked, out=tmp_path / "x.safetensors")).cells == 81


def test_what_cannot_be_learnt_from_is_refused(config, lesson, tmp_path):
    out = tmp_path / "none.safetensors"
    alike = lesson.examples._replace(labels=np.zeros(90, np.int32))
    with pytest.raises(BadLabels, match="one class only"):
        taught(config, replace(lesson, examples=alike), out)
    large = lesson.examples._replace(crops=np.zeros((90, 32, 32, 1), np.uint8))
    with pytest.raises(BadRecipe, match=r"the model takes \[cell, 16, 16, 1\] with the stains DNA"):
        taught(config, replace(lesson, examples=large), out)
    with pytest.raises(UnknownName, match="Did you mean 'simclr'"):
        taught(config, replace(lesson, objective=ObjectiveConfig("simcrl")), out)
    assert not out.exists()
