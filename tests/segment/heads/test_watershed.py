"""Watershed: targets against scipy, truth in and out; flips, specks, empty fields; losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import watershed

from profiler.segment.heads.watershed import (
    WATERSHED,
    Prediction,
    Settings,
    Targets,
    losses,
    targets,
)
from profiler.segment.score import score

# Not compiled as one, it compiles each of its loops at each call.
decode = jax.jit(WATERSHED.decode, static_argnums=1)


def bumps(seed: int) -> Prediction:
    """A map as a network draws it: hills of many sizes that run into one another."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:160, :160]
    height = np.zeros((160, 160))
    for y, x, radius in random.uniform((0, 0, 7), (160, 160, 14), (45, 3)):
        height = np.maximum(height, 1 - np.hypot(row - y, column - x) / radius)
    height = ndimage.gaussian_filter(height, 1.0)
    return Prediction(
        jnp.asarray(np.where(height > 0.1, 4.0, -4.0), jnp.float32),
        jnp.asarray(height, jnp.float32),
    )


@pytest.mark.parametrize("seed", range(3))
def test_pixels_go_where_scikit_images_watershed_sends_them(seed):
    predicted = bumps(seed)
    ours = np.asarray(decode(predicted, Settings(min_area_px=1, faint=2.0)).labels)
    height = ndimage.uniform_filter(np.asarray(predicted.distance), 3, mode="constant")
    foreground = np.asarray(predicted.foreground) > 0
    cores, n = ndimage.label(foreground & (height > Settings().seed), np.ones((3, 3)))
    theirs = watershed(-height, cores, mask=foreground, connectivity=2)
    assert ours.max() == n  # no core is lost, none is split
    assert ((ours > 0) == (theirs > 0)).all()
    # Between two cores a pixel may go either way: a queue floods by level, pointers climb.
    pairs = np.unique(np.stack([ours, theirs])[:, cores > 0], axis=1)
    assert pairs.shape[1] == n  # one to one on the cores
    name = np.zeros(n + 1, int)
    name[pairs[1]] = pairs[0]
    assert (name[theirs] == ours)[foreground].mean() > 0.995


def square() -> np.ndarray:
    labels = np.zeros((30, 40), np.int32)
    labels[5:16, 6:17] = 3
    return labels


def test_distance_is_scipys_over_its_maximum():
    labels = square()
    expected = ndimage.distance_transform_edt(labels)
    np.testing.assert_allclose(targets(labels).distance, expected / expected.max(), rtol=1e-6)
    np.testing.assert_array_equal(targets(labels).foreground, labels > 0)


def test_every_nucleus_peaks_at_one_and_touching_ones_are_apart():
    labels = square()
    labels[5:16, 17:23] = 1
    distance = targets(labels).distance
    assert distance[labels == 1].max() == distance[labels == 3].max() == 1.0
    assert distance[10, 16] < 0.2  # pixels at the shared edge
    assert distance[10, 17] < 0.4


def test_the_field_border_is_no_edge():
    labels = np.zeros((20, 20), np.int32)
    labels[:10] = 1
    assert targets(labels).distance[0, 10] == 1.0


def test_no_nuclei_no_targets():
    assert not np.any(targets(np.zeros((5, 5), np.int32)))


def perfect(labels: np.ndarray) -> Prediction:
    truth = targets(labels)
    return Prediction(jnp.asarray(20 * truth.foreground - 10), jnp.asarray(truth.distance))


@pytest.mark.parametrize("seed", range(3))
def test_perfect_predictions_give_the_truth_back(seed, nuclei):
    labels = nuclei(seed)
    found = decode(perfect(labels), Settings())
    assert score([(labels, np.asarray(found.labels))]).average_precision.min() == 1.0
    assert found.count == len(np.unique(labels)) - 1


def test_labels_are_consecutive_and_connected(nuclei):
    labels = np.asarray(decode(perfect(nuclei()), Settings()).labels)
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    for number in range(1, labels.max() + 1):
        assert ndimage.label(labels == number, np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_a_flipped_field_has_the_same_objects(axis, nuclei):
    labels = nuclei()
    there = np.flip(np.asarray(decode(perfect(labels), Settings()).labels), axis)
    back = np.asarray(decode(perfect(np.flip(labels, axis)), Settings()).labels)
    assert score([(there, back)]).average_precision[-2] == 1.0


def test_specks_and_coreless_foreground_are_dropped():
    labels = np.zeros((64, 64), np.int32)
    labels[5:9, 5:9] = 1  # 16 px
    labels[20:40, 20:40] = 2
    prediction = perfect(labels)
    faint = prediction.distance.at[20:40, 20:40].multiply(0.3)
    dim = prediction.distance.at[20:40, 20:40].multiply(0.45)
    assert decode(prediction, Settings(min_area_px=17)).count == 1
    assert decode(prediction, Settings(min_area_px=16)).count == 2
    assert decode(prediction._replace(distance=faint), Settings(min_area_px=16)).count == 1
    assert decode(prediction._replace(distance=dim), Settings(min_area_px=16)).count == 2


def test_an_empty_field_has_no_nuclei_and_a_full_one_has_one():
    empty = perfect(np.zeros((32, 48), np.int32))
    assert decode(empty, Settings()).count == 0
    assert not decode(empty, Settings()).labels.any()
    full = Prediction(jnp.full((32, 48), 9.0), jnp.full((32, 48), 0.9))
    assert decode(full, Settings()).count == 1
    assert decode(full, Settings()).labels.all()


def test_each_field_of_a_batch_is_decoded_as_if_alone(nuclei):
    fields = [perfect(nuclei(seed)) for seed in range(3)]
    batch = jax.tree.map(lambda *planes: jnp.stack(planes), *fields)
    together = jax.vmap(lambda p: decode(p, Settings()))(batch)
    for index, field in enumerate(fields):
        np.testing.assert_array_equal(together.labels[index], decode(field, Settings()).labels)


def test_losses_by_hand():
    flat = Prediction(jnp.zeros((1, 2, 2)), jnp.full((1, 2, 2), 0.5))
    target = Targets(jnp.array([[[1.0, 0.0], [0.0, 0.0]]]), jnp.zeros((1, 2, 2)))
    found = losses(flat, target, jnp.ones((1, 2, 2)))
    assert found.foreground == pytest.approx(np.log(2))
    assert found.distance == pytest.approx(3 * 0.45)  # Huber, delta .1: |e| - delta / 2
