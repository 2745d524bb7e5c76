"""The loop: it learns, goes on where it stopped, and refuses what it cannot learn from."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from plates.errors import BadLabels, BadModel, BadRecipe, UnknownName
from profiler.embed.network.build import Model, build
from profiler.embed.network.config import EncoderConfig
from profiler.embed.predict import make_look
from profiler.embed.training import step
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.begun import check_begun
from profiler.embed.training.events import Learnt, Started, Trained
from profiler.embed.training.learn import Lesson, checkpoint_path, learn
from profiler.embed.training.objectives import ObjectiveConfig
from profiler.embed.training.step import Schedule, begin
from profiler.embed.weights import load_model
from profiler.nets.finite import Diverged

SCHEDULE = Schedule(
    steps=60, batch=24, warmup=5, learning_rate=1e-2, average=0.9, report_every=20, save_every=20
)
AUGMENT = AugmentConfig(shift_px=1.0)
PLAIN = ObjectiveConfig(smoothing=0.0)


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


def test_a_checkpoint_of_another_lesson_is_refused(one_level, lesson, tmp_path):
    out, config = tmp_path / "shapes.safetensors", one_level
    lesson = replace(lesson, schedule=replace(SCHEDULE, steps=4, save_every=2, report_every=1))
    model = build(config, rngs=nnx.Rngs(0))
    list(itertools.islice(learn(model, config, lesson, out=out), 4))
    assert checkpoint_path(out).exists()
    with pytest.raises(BadModel, match="run on another model, other cells, labels or settings"):
        taught(config, replace(lesson, seed=1), out)
    other = build(config, rngs=nnx.Rngs(1))
    with pytest.raises(BadModel, match="run on another model"):
        next(learn(other, config, lesson, out=out))
    checkpoint_path(out).write_bytes(b"cut short")
    with pytest.raises(BadModel, match="no checkpoint that training can go on from"):
        taught(config, lesson, out)


def test_a_checkpoint_of_another_lesson_is_refused_before_there_are_examples(
    one_level, lesson, tmp_path
):
    out, config, model = tmp_path / "a.safetensors", one_level, build(one_level, rngs=nnx.Rngs(0))
    short = replace(SCHEDULE, steps=4, save_every=2, report_every=1)
    lesson = replace(lesson, schedule=short, drawn="these cells")
    task = lesson.task
    check_begun(model, config, replace(task, seed=9), drawn="none is there", out=out)
    list(itertools.islice(learn(model, config, lesson, out=out), 4))
    check_begun(model, config, task, drawn="these cells", out=out)
    # What may turn out otherwise once there are examples: classes, and the head for them.
    bare, fewer = Model(model.encoder, None), replace(config, classes=config.classes[:2])
    check_begun(bare, fewer, task, drawn="these cells", out=out)

    other = replace(task.objective, balance=0.5)
    for own, asked, settings, drawn in (
        (model, config, task, "other cells"),
        (model, config, replace(task, seed=1), "these cells"),
        (model, config, replace(task, objective=other), "these cells"),
        (model, config, replace(task, schedule=replace(short, learning_rate=0.5)), "these cells"),
        (model, replace(config, stains=("ER",)), task, "these cells"),
        (build(config, rngs=nnx.Rngs(1)), config, task, "these cells"),
    ):
        with pytest.raises(BadModel, match="run on another model, other cells, labels or settings"):
            check_begun(own, asked, settings, drawn=drawn, out=out)
    path = checkpoint_path(out)
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
    # One from before this was kept in it: `learn` will see.
    save_file(load_file(path), path, metadata={"about": json.dumps({"key": about["key"]})})
    check_begun(model, config, replace(task, seed=1), drawn="other cells", out=out)
    assert next(learn(model, config, lesson, out=out)) == Started(90, 4, 2, 4)
    path.write_bytes(b"cut short")
    with pytest.raises(BadModel, match="no checkpoint that training can go on from"):
        check_begun(model, config, task, drawn="these cells", out=out)


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


def test_trainings_that_differ_in_seed_alone_are_compiled_once(
    one_level, lesson, tmp_path, monkeypatch
):
    traced, judge = [], step.judge
    monkeypatch.setattr(step, "judge", lambda *of, **how: traced.append(1) or judge(*of, **how))
    own = replace(SCHEDULE, steps=2, learning_rate=0.0123)  # a program of no other test
    taught(one_level, replace(lesson, schedule=own), tmp_path / "0.safetensors")
    assert traced
    traced.clear()
    own = replace(own, save_every=1)
    taught(one_level, replace(lesson, schedule=own, seed=1), tmp_path / "1.safetensors")
    assert not traced
    one, other = (load_file(tmp_path / f"{seed}.safetensors") for seed in range(2))
    assert any(not np.array_equal(one[name], other[name]) for name in one)


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


def some_of_each(lesson):
    """Half of the cells without a label, from two sources."""
    labels = np.where(np.arange(90) % 2, lesson.examples.labels, -1).astype(np.int32)
    groups = np.array([f"{'ab'[i % 3 == 0]}:movie{i % 5}" for i in range(90)])
    return lesson.examples._replace(labels=labels, groups=groups)


SUPCON = ObjectiveConfig(
    "supcon", outputs=8, balance=0.5, balance_sources=1.0, apart_by_source=True
)
RESUMED = {
    "cross_entropy": (ObjectiveConfig(), 45, True),
    "supcon": (SUPCON, 90, False),
    "dino": (ObjectiveConfig("dino", outputs=8), 90, False),
    "masked": (ObjectiveConfig("masked"), 90, False),
    "co-teaching": (ObjectiveConfig("generalised", forget=0.3, forget_over=3), 45, True),
}


@pytest.mark.parametrize("name", RESUMED)
def test_any_objective_goes_on_where_it_stopped(name, one_level, lesson, tmp_path):
    objective, cells, has_classes = RESUMED[name]
    vit = EncoderConfig("vit", widths=(16,), blocks=(1,))
    config = replace(one_level, encoder=vit) if name == "masked" else one_level
    schedule = replace(SCHEDULE, steps=4, save_every=2, report_every=1)
    asked = Lesson(some_of_each(lesson), objective, schedule, AUGMENT)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    events = taught(config, asked, whole)
    assert events[0].cells == cells
    assert np.isfinite([event.loss for event in events if isinstance(event, Learnt)]).all()
    start = build(config, rngs=nnx.Rngs(0))
    list(itertools.islice(learn(start, config, asked, out=parts), 4))
    assert taught(config, asked, parts)[0].step == 2
    assert whole.read_bytes() == parts.read_bytes()
    model, loaded, _ = load_model(whole)
    assert (model.head is not None) == has_classes
    assert loaded == (config if has_classes else replace(config, classes=()))


def test_wrong_labels_cost_less_where_they_are_reckoned_with(one_level, lesson, shapes, tmp_path):
    is_wrong = np.random.default_rng(0).random(90) < 0.4
    labels = lesson.examples.labels
    given = np.where(is_wrong, (labels + 1) % 3, labels).astype(np.int32)
    new = shapes(60, seed=1)

    def log_loss(objective, weights=None):
        """Of cells that training has not seen, on their true labels."""
        out = tmp_path / "shapes.safetensors"
        examples = lesson.examples._replace(labels=given, weights=weights)
        taught(one_level, Lesson(examples, objective, SCHEDULE, AUGMENT), out)
        model, loaded, _ = load_model(out)
        seen = make_look(model, loaded)(new.crops)
        return -np.log(seen.probabilities[np.arange(60), new.labels]).mean()

    baseline = log_loss(PLAIN, np.ones(90))
    assert log_loss(PLAIN, np.where(is_wrong, 0.1, 1.0)) < 0.5 * baseline
    assert log_loss(replace(PLAIN, name="generalised", robustness=0.9)) < 0.5 * baseline
    assert log_loss(replace(PLAIN, forget=0.4, forget_over=30)) < 0.5 * baseline


def test_a_cell_of_no_weight_may_have_any_label(one_level, lesson, tmp_path):
    weights, other = np.ones(90), lesson.examples.labels.copy()
    weights[:30], other[:30] = 0, (other[:30] + 1) % 3
    for name, labels in (("one", lesson.examples.labels), ("other", other)):
        examples = lesson.examples._replace(labels=labels, weights=weights)
        asked = replace(lesson, examples=examples, objective=PLAIN)
        taught(one_level, asked, tmp_path / f"{name}.safetensors")
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "other"))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("objective", "change", "message"),
    [
        ("cross_entropy", {"weights": np.ones(89)}, r"shape \(89,\) for 90 cells"),
        ("cross_entropy", {"weights": np.full(90, -1.0)}, r"weight of -1\.0 for cell 0"),
        ("cross_entropy", {"weights": np.zeros(90)}, "weight of 0 for every cell"),
        ("simclr", {"weights": np.ones(90)}, "'simclr' learns no labels, and weights"),
        ("simclr", {"forget": 0.2}, "'simclr' learns no labels, and forget"),
        ("cross_entropy", {"forget": 1.0}, r"forget = 1\.0; expected 0 to below 1"),
        ("cross_entropy", {"forget": 0.2, "forget_over": 0}, "forget_over = 0; expected a whole"),
        ("cross_entropy", {"forget": 0.2, "mixup": 0.5}, "Ask for one of the two"),
        ("cross_entropy", {"frozen": 5, "thaw": (0, 5)}, "Leave frozen at 0"),
        (
            "cross_entropy",
            {"thaw": (0, 1, 2, 3)},
            "at most 3 steps, from 0: for the head, 1 levels",
        ),
        ("cross_entropy", {"thaw": (0, -1)}, "at most 3 steps, from 0"),
        ("masked", {}, "found an encoder 'resnet'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    objective, change, message, one_level, lesson, tmp_path
):
    def with_change(part):
        own = {key: value for key, value in change.items() if hasattr(part, key)}
        return part._replace(**own) if isinstance(part, tuple) else replace(part, **own)

    asked = replace(
        lesson,
        examples=with_change(lesson.examples),
        objective=with_change(ObjectiveConfig(objective)),
        schedule=with_change(lesson.schedule),
    )
    model = build(one_level, rngs=nnx.Rngs(0))
    with pytest.raises((BadLabels, BadRecipe), match=message):
        next(learn(model, one_level, asked, out=tmp_path / "none.safetensors"))


def test_a_training_that_diverges_stops_with_its_last_finite_checkpoint(
    one_level, lesson, tmp_path
):
    out = tmp_path / "none.safetensors"
    # The rate rises from 0, so that the first steps are finite.
    wild = replace(SCHEDULE, learning_rate=1e30, save_every=1, report_every=1)
    told = []
    with pytest.raises(Diverged, match="NaN or infinite, so training stopped; no model was") as bad:
        told += learn(
            build(one_level, rngs=nnx.Rngs(0)), one_level, replace(lesson, schedule=wild), out=out
        )
    kept = load_file(checkpoint_path(out))
    assert f"{checkpoint_path(out)} keeps an earlier step" in str(bad.value)
    assert all(np.isfinite(values).all() for values in kept.values())
    assert not out.exists()


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
