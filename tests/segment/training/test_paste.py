"""Cells laid over another crop: whole, with their light, in front of or behind what is there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.training.example import Crops
from profiler.segment.training.paste import BETWEEN_WEIGHT, HALO_PX, paste

SIZE = 96
FAR = 8  # pixels: beyond any halo
GRID = [(row, column) for row in (16, 48, 80) for column in (16, 48, 80)]


def discs(*circles, light=1.0, ground=0.0):
    """Rows, columns and radii to an image and its labels."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = np.zeros((SIZE, SIZE), np.int32)
    for label, (row, column, radius) in enumerate(circles, 1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = label
    return np.where(labels > 0, ground + light, ground).astype(np.float32), labels


def laid(below, above, *, seed=0, weight=None):
    """The first of two crops, once the second's cells are laid over it."""
    image, labels = (np.stack(parts) for parts in zip(below, above, strict=True))
    weight = np.ones(labels.shape, np.float32) if weight is None else weight
    crops = Crops(image[..., None], labels, weight)
    done = paste(jax.random.key(seed), jax.tree.map(jnp.asarray, crops), share=1.0)
    return Crops(*(np.asarray(part)[0] for part in done))


def first_that_takes(below, above, **known):
    """`laid` by the first seed that takes a cell at all."""
    tries = (laid(below, above, seed=seed, **known) for seed in range(20))
    return next(one for one in tries if one.labels.max() > below[1].max())


def test_cells_come_whole_with_their_light_over_the_other_field_s_ground():
    above = discs(*((*at, 8) for at in GRID), light=0.8, ground=0.3)
    below = discs(ground=0.1)
    seen = laid(below, above)
    taken = np.unique(above[1][seen.labels > 0])
    assert 0 < len(taken) < len(GRID)  # about six in ten
    np.testing.assert_array_equal(seen.labels > 0, np.isin(above[1], taken))
    assert len(np.unique(seen.labels)) == len(taken) + 1

    added = seen.images[..., 0] - below[0]
    inside = ndimage.binary_erosion(seen.labels > 0, iterations=2)
    gain = added[inside] / 0.8
    assert gain == pytest.approx(gain[0], rel=1e-5)
    assert np.exp(-0.7) <= gain[0] <= np.exp(0.4)
    away = ndimage.distance_transform_edt(seen.labels == 0) > FAR
    np.testing.assert_array_equal(added[away], 0.0)


def test_a_halo_comes_along_and_fades():
    image, labels = discs((48, 48, 12))
    haze = ndimage.gaussian_filter(image, 3)
    seen = first_that_takes(discs(), (haze, labels))
    away = ndimage.distance_transform_edt(seen.labels == 0)
    steps = [seen.images[..., 0][np.ceil(away) == n].mean() for n in range(1, FAR)]
    assert np.all(np.diff(steps) < 0)
    assert steps[HALO_PX - 2] > 0.1
    assert steps[-1] < 0.01


def test_cells_that_touch_others_stay_where_they_are():
    pair = discs((48, 40, 9), (48, 56, 9))
    assert all(not laid(discs(), pair, seed=seed).labels.any() for seed in range(10))


def test_a_cell_that_would_cover_much_is_left_out():
    below = discs((48, 40, 14))
    over, beside = discs((48, 46, 12)), discs((48, 62, 12))
    assert all(laid(below, over, seed=seed).labels.max() == 1 for seed in range(10))
    assert first_that_takes(below, beside).labels.max() == 2


@pytest.mark.parametrize(("light", "is_in_front"), [(5.0, True), (0.1, False)])
def test_the_brighter_of_two_is_in_front(light, is_in_front):
    below, above = discs((48, 40, 14)), discs((48, 60, 14), light=light)
    seen = first_that_takes(below, above)
    both = (below[1] > 0) & (above[1] > 0)
    assert both.any()
    assert (seen.labels[both] == (2 if is_in_front else 1)).all()
    assert (seen.images[..., 0][both] > below[0][both]).all()


def test_what_is_left_of_a_hidden_cell_counts_in_no_loss():
    below, above = discs((48, 40, 6), (16, 16, 6)), discs((48, 52, 14), light=5.0)
    seen = first_that_takes(below, above)
    rest = (below[1] == 1) & (above[1] == 0)
    assert rest.any()
    assert not seen.labels[rest].any()
    assert not seen.weight[rest].any()
    assert (seen.labels == 2).sum() == (below[1] == 2).sum()
    assert seen.weight[below[1] == 2].all()


def test_pixels_between_two_cells_weigh_more():
    below, above = discs((48, 34, 12)), discs((48, 58, 12))
    seen = first_that_takes(below, above)
    assert seen.weight[48, 46] == BETWEEN_WEIGHT
    assert seen.weight[48, 34] == 1
    assert seen.weight[16, 16] == 1


def test_no_cell_is_laid_where_nobody_has_looked():
    weight = np.ones((2, SIZE, SIZE), np.float32)
    weight[0, :, :48] = 0
    above = discs(*((*at, 8) for at in GRID))
    for seed in range(5):
        seen = laid(discs(), above, seed=seed, weight=weight)
        np.testing.assert_array_equal(seen.weight[:, :48], 0)
        assert not seen.labels[:, :56].any()


def test_a_share_of_the_crops_gets_cells():
    image, labels = discs((48, 48, 12))
    batch = Crops(*(jnp.stack([part] * 200) for part in (image[..., None], labels, labels + 1.0)))
    bare = Crops(
        jnp.zeros_like(batch.images), jnp.zeros_like(batch.labels), jnp.ones_like(batch.weight)
    )
    mixed = jax.tree.map(
        lambda full, empty: jnp.where(
            (jnp.arange(200) % 2 == 0).reshape(-1, *(1,) * (full.ndim - 1)), full, empty
        ),
        batch,
        bare,
    )
    seen = paste(jax.random.key(0), mixed, share=0.5)
    got = np.asarray(seen.labels.max(axis=(1, 2)))[1::2] > 0
    assert got.mean() == pytest.approx(0.5 * 0.6, abs=0.12)
