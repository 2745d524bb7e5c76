"""Every head: truth in, the same truth out; empty, full and crowded fields; losses that teach."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from scipy import ndimage

from profiler.segment.confidence.belief import as_maps
from profiler.segment.evaluation.field import count
from profiler.segment.heads import HEADS
from profiler.segment.network.build import build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.score import drop_specks, overlaps, score
from profiler.segment.training.example import Example
from profiler.segment.training.step import Schedule, begin

SPLITTING = sorted(set(HEADS) - {"semantic"})
SMALL = {"min_area_px": 1}
FIELD = (64, 96)  # of all tests that need no larger one


@cache  # a new function is a new program
def decoder(name, **settings):
    head = HEADS[name]
    return jax.jit(lambda p: head.decode(p, replace(head.settings, **settings)))


@cache
def losses(name):
    return jax.jit(HEADS[name].losses)


def decoded(name, prediction, **settings):
    return decoder(name, **settings)(prediction)


def assert_same_objects(truth, found):
    best = overlaps(truth, found).max(1)
    assert best.min() > 0.8, np.flatnonzero(best <= 0.8)
    counts = count(truth, found)
    assert (counts.split, counts.merged, counts.spurious) == (0, 0, 0)


@pytest.mark.parametrize("name", SPLITTING)
@pytest.mark.parametrize("seed", range(2))
def test_a_perfect_prediction_gives_the_truth_back(name, seed, nuclei, right):
    labels = nuclei(seed)
    found = decoded(name, right(name, labels), **SMALL)
    assert_same_objects(labels, np.asarray(found.labels))
    assert found.count == len(np.unique(labels)) - 1
    assert found.dropped == 0


@pytest.mark.parametrize("name", SPLITTING)
def test_a_perfect_prediction_of_real_nuclei_gives_them_back(name, right, data_folder):
    path = sorted((data_folder / "bbbc039" / "validation" / "labels").iterdir())[3]
    labels = drop_specks(np.asarray(Image.open(path)).astype(np.int32), below=25)
    found = np.asarray(decoded(name, right(name, labels)).labels)
    if name != "stars":
        assert_same_objects(labels, found)
        return
    iou, counts = overlaps(labels, found).max(1), count(labels, found)
    assert (iou > 0.8).mean() >= 0.99  # one nucleus is too bent to be a star
    assert (iou.min() > 0.7, counts.split, counts.merged) == (True, 0, 0)


@pytest.mark.parametrize("name", HEADS)
def test_an_empty_field_has_no_nuclei(name, right):
    found = decoded(name, right(name, np.zeros(FIELD, np.int32)), **SMALL)
    assert (found.count, found.dropped) == (0, 0)
    assert not found.labels.any()


@pytest.mark.parametrize("name", HEADS)
def test_a_nucleus_that_fills_the_field_is_one(name, right):
    found = decoded(name, right(name, np.ones(FIELD, np.int32)), **SMALL)
    assert (found.count, found.dropped) == (1, 0)
    assert (np.asarray(found.labels) == 1).mean() > 0.8


@pytest.mark.parametrize("name", HEADS)
def test_the_flipped_field_has_the_same_objects(name, nuclei, right):
    labels = nuclei(2, apart=33 if name == "semantic" else 25)
    there = np.flip(np.asarray(decoded(name, right(name, labels), **SMALL).labels), 1)
    back = np.asarray(decoded(name, right(name, np.flip(labels, 1)), **SMALL).labels)
    assert score([(there, back)]).average_precision[6] == 1.0  # IoU .8


@pytest.mark.parametrize("name", ["stars", "embedding", "boxes"])
def test_more_nuclei_than_candidates_are_told(name, right):
    y, x = np.mgrid[: FIELD[0], : FIELD[1]]
    labels = np.where((y % 6 < 5) & (x % 6 < 5), 16 * (y // 6) + x // 6 + 1, 0).astype(np.int32)
    found = decoded(name, right(name, labels), **SMALL)
    assert labels.max() == 176
    assert found.dropped > 0
    assert found.count < 176


def test_semantic_is_scipys_connected_components(nuclei, right):
    labels = nuclei(0)
    found = np.asarray(decoded("semantic", right("semantic", labels), **SMALL).labels)
    expected, _ = ndimage.label(labels > 0, np.ones((3, 3)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", HEADS)
def test_each_field_of_a_batch_is_decoded_as_if_alone(name, nuclei, right):
    fields = [right(name, nuclei(seed, size=96)[: FIELD[0]]) for seed in range(2)]
    batch = jax.tree.map(lambda *parts: jnp.stack(parts), *fields)
    together = jax.vmap(decoder(name, **SMALL))(batch)
    for index, field in enumerate(fields):
        np.testing.assert_array_equal(together.labels[index], decoded(name, field, **SMALL).labels)


def crops(nuclei):
    """Labels of two crops; what lies in the right columns of the first, nobody knows."""
    labels = [nuclei(seed, size=96) for seed in range(2)]
    labels[0][:, 64:] = 0
    return labels


def example(name, nuclei):
    labels = crops(nuclei)
    targets = [HEADS[name].targets(each) for each in labels]
    weight = np.ones((2, 96, 96), np.float32)
    weight[0, :, 64:] = 0
    rng = np.random.default_rng(0)
    planes = np.stack(labels) > 0
    images = planes + rng.normal(0, 0.1, planes.shape)
    target = jax.tree.map(lambda *parts: jnp.stack(parts), *targets)
    return Example(jnp.asarray(images[..., None], jnp.float32), target, jnp.asarray(weight))


@pytest.mark.parametrize("name", HEADS)
def test_losses_fall_in_thirty_steps(name, nuclei):
    deep = name == "boxes"  # looks at five levels; the others compile faster with two
    config = NetworkConfig(widths=(4, 8, 8, 8, 8)[: 5 if deep else 2], head=name)
    schedule = Schedule(steps=30, warmup=3, learning_rate=1e-2)
    state, step = begin(build(config, rngs=nnx.Rngs(0)), schedule)
    totals, lesson = [], example(name, nuclei)
    for _ in range(30):
        state, parts = step(state, lesson)
        assert parts._fields == HEADS[name].parts
        totals.append(float(sum(parts)))
    assert np.mean(totals[-3:]) < 0.75 * totals[0], totals


@pytest.mark.parametrize("name", HEADS)
def test_what_is_said_of_ignored_pixels_changes_no_loss(name, nuclei, right):
    lesson = example(name, nuclei)
    said = [right(name, nuclei(seed, size=96)) for seed in range(2)]
    guess = jax.tree.map(lambda *parts: jnp.stack(parts), *said)

    def poke(part):
        start = -(-64 * part.shape[2] // 96)
        return part.at[0, :, start:].multiply(-2.0)

    ignorant = losses(name)(guess, lesson.target, lesson.weight)
    poked = losses(name)(jax.tree.map(poke, guess), lesson.target, lesson.weight)
    np.testing.assert_array_equal(np.array(ignorant), np.array(poked))
    aware = losses(name)(jax.tree.map(poke, guess), lesson.target, 0 * lesson.weight + 1)
    assert sum(aware) != sum(ignorant)


@pytest.mark.parametrize("name", HEADS)
def test_the_truth_loses_less_than_anything_else(name, nuclei, right):
    lesson = example(name, nuclei)
    said = [right(name, labels) for labels in crops(nuclei)]
    truth = jax.tree.map(lambda *parts: jnp.stack(parts), *said)
    best = losses(name)(truth, lesson.target, lesson.weight)
    weak = jax.tree.map(lambda x: 0.3 * x, truth)
    worse = losses(name)(weak, lesson.target, lesson.weight)
    assert sum(worse) > 1.2 * sum(best)


@pytest.mark.parametrize("name", HEADS)
def test_a_belief_is_of_nuclei_and_none_of_the_background(name, nuclei, right):
    labels = nuclei(0)
    maps = as_maps(HEADS[name].believe(right(name, labels)), labels.shape)
    middle = HEADS["watershed"].targets(labels).distance > 0.8
    for each in (np.asarray(part) / 255 for part in maps):
        assert each.shape == labels.shape
        assert each[middle].mean() > 0.7
        assert each[labels == 0].mean() < 0.2
