"""Candidates and their suppression: against loops that a person can follow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.draw import polygon2mask
from skimage.feature import peak_local_max

from profiler.segment.decoding.candidates import peaks, room, strongest
from profiler.segment.decoding.neighbours import neighbours, survivors
from profiler.segment.decoding.polygons import DIRECTIONS, RAYS, area, covers, overlap
from profiler.segment.heads.boxes.decode import box_overlap

RNG = np.random.default_rng(0)


def test_peaks_are_those_of_scikit_image_by_falling_height():
    plane = RNG.random((40, 50)).astype(np.float32)
    found = peaks(jnp.asarray(plane), above=0.9, radius=2, most=200)
    expected = peak_local_max(plane, min_distance=2, threshold_abs=0.9, exclude_border=False)
    flat = np.ravel_multi_index(expected.T, plane.shape)
    count = int(found.present.sum())
    assert set(np.asarray(found.index)[:count]) == set(flat)
    assert (np.diff(np.asarray(found.score)[:count]) <= 0).all()
    assert found.dropped == 0


def test_a_plateau_is_one_candidate_and_too_many_are_counted():
    plane = np.zeros((30, 30), np.float32)
    plane[3:9, 4:20] = 1.0
    plane[20, ::5] = 0.5
    found = peaks(jnp.asarray(plane), above=0.1, radius=1, most=4)
    assert found.index[0] == 3 * 30 + 4
    assert (int(found.present.sum()), int(found.dropped)) == (4, 3)
    assert strongest(jnp.full(5, -jnp.inf), most=3).present.sum() == 0


def test_room_grows_with_the_field():
    assert room(520 * 696) == 1413
    assert room(16) == 16


def test_neighbours_are_those_whose_circles_touch_the_nearest_first():
    centres, radii = RNG.uniform(0, 90, (40, 2)), RNG.uniform(1, 9, 40)
    radii[5] = -np.inf
    places = RNG.uniform(0, 90, (30, 2))
    found = neighbours(
        jnp.asarray(places, jnp.float32),
        (jnp.asarray(centres, jnp.float32), jnp.asarray(radii, jnp.float32)),
        within=4.0,
        most=3,
    )
    longest = 0
    for place, ids in zip(places, np.asarray(found.ids), strict=True):
        gap = np.hypot(*(centres - place).T) - radii
        near = [i for i in np.argsort(gap) if gap[i] <= 4.0]
        longest = max(longest, len(near))
        assert ids.tolist() == (near + [40] * 3)[:3]
    assert found.dropped == longest - 3 > 0


def greedy(over: np.ndarray) -> list[int]:
    """Walk down the scores; whoever a kept one covers goes."""
    kept: list[int] = []
    for candidate in range(len(over)):
        if not any(over[candidate, better] for better in kept):
            kept.append(candidate)
    return kept


@pytest.mark.parametrize("seed", range(3))
def test_survivors_are_those_of_greedy_suppression(seed):
    rng = np.random.default_rng(seed)
    middle, half = rng.uniform(0, 60, (50, 2)), rng.uniform(4, 12, (50, 2))
    everyone = np.tile(np.arange(50), (50, 1))
    listed = np.where(everyone < np.arange(50)[:, None], everyone, 50).astype(np.int32)
    boxes = jnp.asarray(middle, jnp.float32), jnp.asarray(half, jnp.float32)
    iou = np.asarray(box_overlap(*boxes, jnp.asarray(listed)))
    by_hand = np.zeros((50, 50))
    for i in range(50):
        for j in range(i):
            low, high = np.maximum(middle[i] - half[i], middle[j] - half[j]), None
            high = np.minimum(middle[i] + half[i], middle[j] + half[j])
            shared = np.prod(np.clip(high - low, 0, None))
            by_hand[i, j] = shared / (4 * half[i].prod() + 4 * half[j].prod() - shared)
    np.testing.assert_allclose(np.tril(iou, -1), np.tril(by_hand, -1), atol=1e-5)
    stays = survivors(jnp.asarray(iou > 0.2), jnp.asarray(listed))
    assert np.flatnonzero(stays).tolist() == greedy(by_hand > 0.2)


def test_a_chain_of_rivals_is_solved_to_its_end():
    chain = np.arange(-1, 19)[:, None]
    chain[0] = 20
    stays = survivors(jnp.asarray(chain < 20), jnp.asarray(chain, jnp.int32))
    assert np.flatnonzero(stays).tolist() == list(range(0, 20, 2))


def star(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turns = np.arange(RAYS) * 2 * np.pi / RAYS
    return (14 + 4 * np.cos(2 * turns + seed) + rng.uniform(-1, 1, RAYS)).astype(np.float32)


def drawn(centre, rays, size=100) -> np.ndarray:
    return polygon2mask((10 * size, 10 * size), 10 * (centre + rays[:, None] * DIRECTIONS) + 4.5)


def test_polygons_overlap_as_stardist_says():
    centres = np.array([[40.0, 40.0], [48.0, 45.0], [70.0, 72.0]], np.float32)
    rays = np.stack([star(seed) for seed in range(3)])
    masks = [drawn(*one) for one in zip(centres, rays, strict=True)]
    listed = jnp.asarray([[3, 3], [0, 3], [0, 1]], jnp.int32)
    found = np.asarray(overlap(jnp.asarray(centres), jnp.asarray(rays), listed))
    for i, j, column in ((1, 0, 0), (2, 0, 0), (2, 1, 1)):
        expected = (masks[i] & masks[j]).sum() / min(masks[i].sum(), masks[j].sum())
        assert found[i, column] == pytest.approx(expected, abs=0.03)
    np.testing.assert_allclose(
        area(jnp.asarray(rays)), [mask.sum() / 100 for mask in masks], rtol=0.01
    )


def test_a_polygon_covers_what_scikit_image_draws():
    rays = star(3)
    expected = polygon2mask((60, 60), 30 + rays[:, None] * DIRECTIONS)
    y, x = jnp.meshgrid(jnp.arange(60.0) - 30, jnp.arange(60.0) - 30, indexing="ij")
    found = jax.jit(covers)(jnp.asarray(rays[None]), jnp.zeros((60, 60), jnp.int32), y, x)
    assert (np.asarray(found) != expected).sum() <= 4  # pixels on the very edge
