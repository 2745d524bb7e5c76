"""Decoding: truth in, the same truth out; flips, touching nuclei, specks, empty fields."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.decode import DecodeConfig, decode
from profiler.segment.prediction import Prediction
from profiler.segment.score import score
from profiler.segment.targets import targets


def ellipses(seed: int = 0, size: int = 160) -> np.ndarray:
    """Label image of nuclei on a jittered grid, some of which touch."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for number, (cy, cx) in enumerate(np.mgrid[14:size:25, 14:size:25].reshape(2, -1).T, 1):
        dy, dx = y - cy - rng.uniform(-3, 3), x - cx - rng.uniform(-3, 3)
        inside = (dy / rng.uniform(8, 13)) ** 2 + (dx / rng.uniform(8, 13)) ** 2 < 1
        labels[inside & (labels == 0)] = number
    return labels


def perfect(labels: np.ndarray) -> Prediction:
    truth = targets(labels)
    return Prediction(jnp.asarray(20 * truth.foreground - 10), jnp.asarray(truth.distance))


@pytest.mark.parametrize("seed", range(3))
def test_perfect_predictions_give_the_truth_back(seed):
    labels = ellipses(seed)
    found = decode(perfect(labels), DecodeConfig())
    assert score([(labels, np.asarray(found.labels))]).average_precision.min() == 1.0
    assert found.count == len(np.unique(labels)) - 1


def test_labels_are_consecutive_and_connected():
    labels = np.asarray(decode(perfect(ellipses()), DecodeConfig()).labels)
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    for number in range(1, labels.max() + 1):
        assert ndimage.label(labels == number, np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_a_flipped_field_has_the_same_objects(axis):
    labels = ellipses()
    there = np.flip(np.asarray(decode(perfect(labels), DecodeConfig()).labels), axis)
    back = np.asarray(decode(perfect(np.flip(labels, axis)), DecodeConfig()).labels)
    assert score([(there, back)]).average_precision[-2] == 1.0


def test_specks_and_coreless_foreground_are_dropped():
    labels = np.zeros((64, 64), np.int32)
    labels[5:9, 5:9] = 1  # 16 px
    labels[20:40, 20:40] = 2
    prediction = perfect(labels)
    faint = prediction.distance.at[20:40, 20:40].multiply(0.3)
    dim = prediction.distance.at[20:40, 20:40].multiply(0.45)
    assert decode(prediction, DecodeConfig(min_area_px=17)).count == 1
    assert decode(prediction, DecodeConfig(min_area_px=16)).count == 2
    assert decode(prediction._replace(distance=faint), DecodeConfig(min_area_px=1)).count == 1
    assert decode(prediction._replace(distance=dim), DecodeConfig(min_area_px=1)).count == 2


def test_an_empty_field_has_no_nuclei_and_a_full_one_has_one():
    empty = perfect(np.zeros((32, 48), np.int32))
    assert decode(empty, DecodeConfig()).count == 0
    assert not decode(empty, DecodeConfig()).labels.any()
    full = Prediction(jnp.full((32, 48), 9.0), jnp.full((32, 48), 0.9))
    assert decode(full, DecodeConfig()).count == 1
    assert decode(full, DecodeConfig()).labels.all()


def test_each_field_of_a_batch_is_decoded_as_if_alone():
    fields = [perfect(ellipses(seed)) for seed in range(3)]
    batch = jax.tree.map(lambda *planes: jnp.stack(planes), *fields)
    together = jax.vmap(lambda p: decode(p, DecodeConfig()))(batch)
    for index, field in enumerate(fields):
        np.testing.assert_array_equal(together.labels[index], decode(field, DecodeConfig()).labels)
