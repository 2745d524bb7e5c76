"""Learning: losses fall, ignored pixels teach nothing, interruption and seed change nothing."""

import csv
import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx

from plates.errors import BadModel
from profiler.nets.checkpoint import load_state, save_state
from profiler.nets.finite import Diverged
from profiler.nets.state import finished
from profiler.segment.network.build import Network, build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.training import learn as learning
from profiler.segment.training import step
from profiler.segment.training.augment import AugmentConfig
from profiler.segment.training.drafts import best_path
from profiler.segment.training.events import Calibrated, Learnt, Started, Trained, Validated
from profiler.segment.training.fields import prepare
from profiler.segment.training.history import history_path
from profiler.segment.training.labelled import Labelled
from profiler.segment.training.learn import Lesson, example, learn
from profiler.segment.training.step import Schedule, begin
from profiler.segment.weights import load_network

SMALL = NetworkConfig(widths=(8, 16))
SCHEDULE = Schedule(
    steps=8, batch=2, warmup=2, learning_rate=1e-2, report_every=4, validate_every=4
)
STILL = replace(SCHEDULE, learning_rate=0.0, average=1.0)
CROPS = AugmentConfig(size=32, empty=0.0)


def network(seed=0) -> Network:
    return build(SMALL, rngs=nnx.Rngs(seed))


@pytest.fixture
def lesson(discs):
    field = prepare("a", *discs(0), diameter_px=16.0, ignore=None)
    apart = (Labelled("b", *discs(1)),)
    return Lesson([field], np.ones(1), apart, None, SCHEDULE, CROPS, 16.0, seed=1)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """From a lesson to the weights of its whole run, learnt once for all tests that read them."""
    done = {}

    def weights(lesson):
        key = (lesson.key(SMALL), lesson.is_taught)
        if key not in done:
            done[key] = tmp_path_factory.mktemp("whole") / "whole.safetensors"
            list(learn(network(), SMALL, lesson, out=done[key]))
        return done[key]

    return weights


def tensors(path):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_network(path)[0]))]


def test_trainings_that_differ_in_validation_alone_are_compiled_once(lesson, tmp_path, monkeypatch):
    traced, objective = [], step._objective
    monkeypatch.setattr(step, "_objective", lambda *of: traced.append(1) or objective(*of))
    own = replace(SCHEDULE, steps=2, learning_rate=0.0123)  # a program of no other test
    list(learn(network(), SMALL, replace(lesson, schedule=own), out=tmp_path / "a.safetensors"))
    assert traced
    traced.clear()
    own = replace(own, patience=1, validate_every=1, report_every=1)
    list(learn(network(), SMALL, replace(lesson, schedule=own), out=tmp_path / "b.safetensors"))
    assert not traced


def test_a_run_tells_what_it_does_and_leaves_weights_card_and_log(lesson, tmp_path):
    out = tmp_path / "mine.safetensors"
    events = list(learn(network(), SMALL, lesson, out=out))
    assert [type(e) for e in events] == [
        *(Started, Learnt, Validated, Learnt, Validated, Calibrated, Trained)
    ]
    assert events[0] == Started(images=1, apart=1, step=0, steps=8)
    assert events[2].is_best
    assert events[-1].out == out
    assert events[-2].error is None  # one image, and hardly learnt
    assert events[-2].note.startswith("not calibrated: ")
    assert events[-2].note.endswith("wrong; 10 right and 10 wrong are needed")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"mine.safetensors", "mine.json", "mine.training.csv"}
    _, config, card = load_network(out)
    assert (card.name, config, card.diameter_px) == ("mine", SMALL, 16.0)
    assert {"schedule", "augmentation", "seed", "scores", "steps_done"} <= card.about.keys()
    with history_path(out).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [4, 4, 8, 8]
    assert float(rows[0]["loss_foreground"]) == pytest.approx(events[1].losses["foreground"])
    assert float(rows[1]["validation_ap"]) == pytest.approx(events[2].average_precision)


def test_losses_fall_and_the_network_finds_discs_it_has_not_seen(lesson, tmp_path):
    long = replace(lesson, schedule=replace(SCHEDULE, steps=120, validate_every=120))
    events = list(learn(network(), SMALL, long, out=tmp_path / "a.safetensors"))
    told = [e for e in events if isinstance(e, Learnt)]
    assert told[-1].losses["foreground"] < 0.5 * told[0].losses["foreground"]
    assert told[-1].losses["distance"] < told[0].losses["distance"]
    assert [e for e in events if isinstance(e, Validated)][-1].f1 > 0.9


def test_a_field_without_nuclei_may_be_kept_apart(lesson, discs, tmp_path):
    plane, labels = discs(2)
    empty = Labelled("empty", np.where(labels > 0, 10, plane).astype(np.uint8), 0 * labels)
    alone = replace(lesson, apart=(empty,))
    events = list(learn(network(), SMALL, alone, out=tmp_path / "a.safetensors"))
    told = [e.average_precision for e in events if isinstance(e, Validated)]
    assert set(told) <= {0.0, 1.0}  # nothing was there: something found is all wrong
    assert len(told) == 2


def steps_of(path):
    return [line.split(",")[0] for line in history_path(path).read_text().splitlines()[1:]]


@pytest.mark.parametrize(
    ("every", "events", "step"),
    [
        ({}, 4, 4),  # stopped after the last report, which the last validation was to follow
        ({"report_every": 2}, 2, 2),  # before any validation
        ({"report_every": 2}, 4, 4),  # once told of the first validation
        ({"report_every": 3}, 3, 4),  # a validation between two reports: losses are under way
        ({"report_every": 3, "validate_every": 8}, 3, 6),
    ],
)
@pytest.mark.parametrize("is_taught", [False, True])
def test_an_interrupted_run_goes_on_to_the_same_weights_and_log(
    lesson, uninterrupted, tmp_path, every, events, step, is_taught
):
    lesson = replace(lesson, schedule=replace(SCHEDULE, **every), is_taught=is_taught)
    whole, halves = uninterrupted(lesson), tmp_path / "halves.safetensors"
    told = list(itertools.islice(learn(network(), SMALL, lesson, out=halves), events + is_taught))
    assert isinstance(told[-1], Learnt | Validated)
    resumed, *_ = learn(network(), SMALL, lesson, out=halves)
    assert resumed.step == step
    for one, other in zip(tensors(whole), tensors(halves), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history_path(whole).read_text() == history_path(halves).read_text()


def test_a_run_that_is_stopped_between_reports_goes_on_from_the_last(
    lesson, uninterrupted, tmp_path, monkeypatch
):
    lesson = replace(lesson, schedule=replace(SCHEDULE, report_every=2))
    whole, halves = uninterrupted(lesson), tmp_path / "halves.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(learning, "example", until(step=3))
        with pytest.raises(KeyboardInterrupt):
            list(learn(network(), SMALL, lesson, out=halves))
    assert steps_of(halves) == ["2"]
    resumed, *_ = learn(network(), SMALL, lesson, out=halves)
    assert resumed.step == 2
    for one, other in zip(tensors(whole), tensors(halves), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history_path(whole).read_text() == history_path(halves).read_text()


def until(*, step):
    def stopped(lesson, head, at):
        if at == step:
            raise KeyboardInterrupt
        return example(lesson, head, at)

    return stopped


def test_a_start_that_was_judged_is_not_judged_again(lesson, tmp_path):
    out, taught = tmp_path / "a.safetensors", replace(lesson, is_taught=True)
    first = list(itertools.islice(learn(network(), SMALL, taught, out=out), 2))[-1]
    assert (type(first), first.step) == (Validated, 0)
    events = list(learn(network(), SMALL, taught, out=out))
    assert [event.step for event in events if isinstance(event, Validated)] == [4, 8]
    assert steps_of(out) == ["0", "4", "4", "8", "8"]


def test_another_seed_gives_other_weights(lesson, uninterrupted):
    paths = [uninterrupted(replace(lesson, seed=seed)) for seed in (1, 2)]
    assert any((a != b).any() for a, b in zip(*map(tensors, paths), strict=True))


def test_training_stops_where_nothing_gets_better(lesson, tmp_path):
    still = replace(STILL, validate_every=2, patience=2)
    events = list(
        learn(network(), SMALL, replace(lesson, schedule=still), out=tmp_path / "a.safetensors")
    )
    assert events[-1].reason == "2 validations brought nothing better"
    assert events[-1].step == 2
    assert [e.step for e in events if isinstance(e, Validated)] == [2, 4, 6]  # of 8


def test_without_images_apart_the_last_weights_are_kept(lesson, tmp_path):
    out = tmp_path / "blind.safetensors"
    events = list(learn(network(), SMALL, replace(lesson, apart=()), out=out))
    assert events[-1] == Trained(out, 8, None, "all 8 steps are done")
    card = load_network(out)[2]
    assert card.about["steps_done"] == 8
    assert card.calibration is None
    assert events[-2] == Calibrated("not calibrated: no image was kept apart", None)
    assert card.about["calibration"] == events[-2].note


def test_a_checkpoint_of_other_data_or_settings_is_refused(lesson, discs, tmp_path):
    out = tmp_path / "a.safetensors"
    list(itertools.islice(learn(network(), SMALL, lesson, out=out), 4))
    other = prepare("a", *discs(5), diameter_px=16.0, ignore=None)
    changes = ({"seed": 9}, {"fields": [other]}, {"start_sha256": "0" * 64})
    for changed in (replace(lesson, **change) for change in changes):
        with pytest.raises(BadModel, match="a run on other images, labels or settings"):
            list(learn(network(), SMALL, changed, out=out))


def test_a_network_that_is_never_beaten_stays(lesson, tmp_path):
    out, start = tmp_path / "a.safetensors", network(3)
    taught = replace(lesson, schedule=STILL, start_sha256="0" * 64, is_taught=True)
    events = list(learn(start, SMALL, taught, out=out))
    first = events[1]
    assert isinstance(first, Validated)
    assert (first.step, first.is_best) == (0, True)
    assert [e.is_best for e in events if isinstance(e, Validated)] == [True, False, False]
    assert (events[-1].step, events[-1].average_precision) == (0, first.average_precision)
    assert events[-1].reason.endswith("nothing was better than the network it went on from")
    for kept, was in zip(tensors(out), jax.tree.leaves(nnx.state(start)), strict=True):
        np.testing.assert_array_equal(kept, was)
    with history_path(out).open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["step"], float(row["validation_ap"])) == ("0", first.average_precision)


def test_a_run_taken_up_again_does_not_judge_its_start_again(lesson, tmp_path):
    out, taught = tmp_path / "a.safetensors", replace(lesson, is_taught=True)
    list(itertools.islice(learn(network(), SMALL, taught, out=out), 5))
    events = list(learn(network(), SMALL, taught, out=out))
    assert [e.step for e in events if isinstance(e, Validated)] == [8]
    rows = history_path(out).read_text().splitlines()
    assert [line.split(",")[0] for line in rows] == ["step", "0", "4", "4", "8", "8"]


def test_diverging_is_told_and_the_best_until_then_kept(lesson, tmp_path):
    wild = replace(SCHEDULE, learning_rate=1e30)
    out, taught = tmp_path / "a.safetensors", replace(lesson, schedule=wild, is_taught=True)
    with pytest.raises(Diverged, match=r"After 4 steps .*--rate lower than 1e\+30") as told:
        list(learn(network(), SMALL, taught, out=out))
    assert f"The network of step 0 is kept as {best_path(out)}." in str(told.value)
    assert load_network(best_path(out))[2].about["steps_done"] == 0
    assert not out.exists()


def test_the_last_step_may_not_ruin_what_is_saved(lesson, tmp_path):
    wild = replace(SCHEDULE, learning_rate=1e30, steps=2, warmup=1)  # the first step's rate is 0
    blind = replace(lesson, schedule=wild, apart=())
    with pytest.raises(Diverged, match=r"After 2 steps .* No network was written"):
        list(learn(network(), SMALL, blind, out=tmp_path / "a.safetensors"))
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_last_step_is_always_told(lesson, tmp_path):
    uneven = replace(SCHEDULE, report_every=3)
    out = tmp_path / "a.safetensors"
    events = list(learn(network(), SMALL, replace(lesson, schedule=uneven), out=out))
    assert [e.step for e in events if isinstance(e, Learnt)] == [3, 6, 8]
    with history_path(out).open(newline="") as file:
        last = [row["loss_foreground"] for row in csv.DictReader(file) if row["step"] == "8"]
    assert float(last[0]) > 0


@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b"", lambda b: b"x" * 200])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    state, _ = begin(network(), SCHEDULE)
    path = tmp_path / "a.training.safetensors"
    save_state(path, state, {"note": 1})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadModel, match=r"a\.training\.safetensors is no checkpoint"):
        load_state(path, state)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    state, _ = begin(network(), SCHEDULE)
    save_state(tmp_path / "a", state, {})
    wider, _ = begin(build(NetworkConfig(widths=(4, 8)), rngs=nnx.Rngs(0)), SCHEDULE)
    with pytest.raises(BadModel, match="a checkpoint of another network"):
        load_state(tmp_path / "a", wider)


def test_a_state_comes_back_as_it_was(tmp_path):
    state, _ = begin(network(), SCHEDULE)
    save_state(tmp_path / "a", state, {"best": 0.5})
    back, about = load_state(tmp_path / "a", begin(network(3), SCHEDULE)[0])
    assert about == {"best": 0.5}
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_frozen_encoder_stays_while_the_rest_learns(lesson):
    frozen = replace(SCHEDULE, frozen=2)
    model = network()
    state, step = begin(model, frozen)
    before = nnx.to_pure_dict(state.params)
    state, _ = step(state, example(lesson, "watershed", 0))
    state, _ = step(state, example(lesson, "watershed", 1))
    after = nnx.to_pure_dict(state.params)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before, after)
    assert all(jax.tree.leaves([same["stem"], same["down"]]))
    assert not all(jax.tree.leaves(same["up"]))
    state, _ = step(state, example(lesson, "watershed", 2))
    moved = nnx.to_pure_dict(state.params)
    assert (moved["stem"]["conv1"]["kernel"] != before["stem"]["conv1"]["kernel"]).any()


def test_half_precision_learns_much_the_same(lesson):
    def first(schedule):
        state, step = begin(network(), schedule)
        for index in range(3):
            state, parts = step(state, example(lesson, "watershed", index))
        assert {x.dtype for x in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
        return np.array(parts)

    np.testing.assert_allclose(first(replace(SCHEDULE, bfloat16=True)), first(SCHEDULE), rtol=0.05)


def test_the_finished_network_holds_the_averaged_weights(lesson):
    state, _ = begin(network(), SCHEDULE)
    state = state._replace(average=jax.tree.map(lambda x: 0 * x, state.average))
    leaves = jax.tree.leaves(nnx.state(finished(network(), state), nnx.Param))
    assert not any(np.any(leaf) for leaf in leaves)
