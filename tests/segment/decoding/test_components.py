"""Connected components and steepest ascent: against scipy, by hand, at the edges."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.decoding.components import ascend, components, follow

RNG = np.random.default_rng(0)
SERPENT = np.zeros((33, 40), bool)
SERPENT[::2] = True
SERPENT[1::4, -1] = SERPENT[3::4, 0] = True


def smallest_index_per_component(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    index = np.arange(mask.size).reshape(mask.shape)
    first = ndimage.minimum(index, labels, np.arange(1, count + 1))
    return np.append(mask.size, first)[labels].astype(int).ravel()


@pytest.mark.parametrize(
    "mask",
    [
        RNG.random((40, 57)) < 0.35,
        RNG.random((40, 57)) < 0.6,
        SERPENT,
        np.ones((9, 9), bool),
        np.zeros((9, 9), bool),
        np.eye(12, dtype=bool),
    ],
    ids=["sparse", "dense", "serpent", "full", "empty", "diagonal"],
)
def test_components_agree_with_scipy(mask):
    np.testing.assert_array_equal(components(jnp.asarray(mask)), smallest_index_per_component(mask))


def test_every_pixel_climbs_to_the_peak_of_its_own_hill():
    y, x = np.mgrid[:20, :40]
    peaks = [(10, 9), (8, 30)]
    height = np.max([-np.hypot(y - a, x - b) for a, b in peaks], axis=0)
    roots = np.asarray(ascend(jnp.asarray(height, jnp.float32), jnp.ones((20, 40), bool)))
    nearest = np.argmin([np.hypot(y - a, x - b) for a, b in peaks], axis=0)
    expected = np.ravel_multi_index(np.transpose(peaks), (20, 40))[nearest]
    off_ridge = np.abs(np.diff([np.hypot(y - a, x - b) for a, b in peaks], axis=0)[0]) > 2
    np.testing.assert_array_equal(roots.reshape(20, 40)[off_ridge], expected[off_ridge])


def test_a_plateau_has_one_root_and_walls_are_not_crossed():
    mask = np.ones((5, 9), bool)
    mask[:, 4] = False
    roots = np.asarray(ascend(jnp.zeros((5, 9)), jnp.asarray(mask))).reshape(5, 9)
    assert set(roots[:, :4].ravel()) == {0}
    assert set(roots[:, 5:].ravel()) == {5}
    assert (roots[:, 4] == 45).all()


def test_pointers_are_followed_to_the_end_of_a_long_chain():
    chain = jnp.maximum(jnp.arange(1000, dtype=jnp.int32) - 1, 0)
    assert (follow(chain) == 0).all()
