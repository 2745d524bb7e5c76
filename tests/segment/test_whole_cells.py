"""Cells that a network sees get the ids of their nuclei: by hand, and by steps inside the cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.confidence.belief import Maps
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.sizes import Seen
from profiler.segment.whole_cells import give_to_nuclei

give = jax.jit(give_to_nuclei)


def seen(parts: np.ndarray, depth: np.ndarray | None = None) -> Seen:
    """Cells as a network's head hands them on; by default all equally deep."""
    deep = jnp.asarray(np.full(parts.shape, 100) if depth is None else depth, jnp.uint8)
    nuclei = Nuclei(jnp.asarray(parts, jnp.int32), jnp.int32(parts.max()), jnp.int32(0))
    return Seen(nuclei, Maps(deep, deep))


def given(parts, nuclei, depth=None) -> np.ndarray:
    return np.asarray(give(seen(parts, depth), jnp.asarray(nuclei, jnp.int32)))


def boxes(shape: tuple[int, int], *corners: tuple[int, int, int, int]) -> np.ndarray:
    """Rectangles [top, bottom) x [left, right), numbered from 1."""
    labels = np.zeros(shape, np.int32)
    for number, (top, bottom, left, right) in enumerate(corners, 1):
        labels[top:bottom, left:right] = number
    return labels


def test_a_cell_takes_the_name_of_its_nucleus_and_one_without_is_nobodys():
    parts = boxes((20, 60), (2, 18, 2, 18), (2, 18, 20, 38), (2, 18, 40, 58))
    nuclei = boxes((20, 60), (8, 12, 46, 50), (8, 12, 8, 12))
    expected = np.where(parts == 3, 1, np.where(parts == 1, 2, 0))
    np.testing.assert_array_equal(given(parts, nuclei), expected)


def test_a_nucleus_in_no_cell_is_a_cell_of_its_own():
    parts = boxes((20, 40), (2, 18, 2, 18))
    nuclei = boxes((20, 40), (8, 12, 8, 12), (8, 12, 30, 34))
    np.testing.assert_array_equal(given(parts, nuclei) == 2, nuclei == 2)


def test_a_nucleus_belongs_where_it_is_deepest_and_keeps_its_pixels_elsewhere():
    parts = boxes((20, 40), (2, 18, 2, 20), (2, 18, 20, 38))
    nuclei = boxes((20, 40), (8, 12, 16, 22))  # more of it lies on the left
    depth = np.where(parts == 1, 20, 90)
    found = given(parts, nuclei, depth)
    np.testing.assert_array_equal(found, ((parts == 2) | (nuclei == 1)).astype(int))


def test_a_nucleus_at_the_edge_of_anothers_cell_does_not_take_it():
    parts = boxes((20, 40), (2, 18, 2, 20), (2, 18, 20, 38))
    nuclei = boxes((20, 40), (8, 12, 8, 12), (8, 12, 18, 26))
    depth = np.where(np.mgrid[:20, :40][1] < 20, 30, 80)
    found = given(parts, nuclei, depth)
    np.testing.assert_array_equal(found == 1, (parts == 1) & (nuclei != 2))
    np.testing.assert_array_equal(found == 2, (parts == 2) | (nuclei == 2))


def test_a_nucleus_that_only_brushes_a_cell_takes_none_of_it():
    parts = boxes((20, 40), (2, 18, 2, 20))
    nuclei = boxes((20, 40), (8, 12, 8, 12), (8, 12, 19, 29))
    found = given(parts, nuclei)
    np.testing.assert_array_equal(found == 1, (parts == 1) & (nuclei != 2))
    np.testing.assert_array_equal(found == 2, nuclei == 2)


def steps_inside(mask: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Steps from `start` to every pixel of a mask, diagonal ones too, without leaving it."""
    reached, steps = start & mask, np.where(start & mask, 0, np.inf)
    for count in range(1, mask.size):
        grown = ndimage.binary_dilation(reached, np.ones((3, 3)), mask=mask)
        if (grown == reached).all():
            break
        steps[grown & ~reached] = count
        reached = grown
    return steps


@pytest.mark.parametrize("seed", range(3))
def test_a_cell_of_several_nuclei_is_shared_out_by_steps_inside_it(seed):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(60, 70)), 3) > -0.02
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    nuclei = np.zeros(mask.shape, np.int32)
    inside = np.argwhere(ndimage.binary_erosion(mask, iterations=2))
    for number, (y, x) in enumerate(inside[rng.choice(len(inside), 9, replace=False)], 1):
        nuclei[y - 1 : y + 2, x - 1 : x + 2] = number
    nuclei = np.searchsorted(np.unique(nuclei), nuclei)  # some cover others
    found = given(parts, nuclei)
    home = {n: np.bincount(parts[nuclei == n], minlength=count + 1).argmax() for n in range(1, 10)}
    held = [n for n in home if (nuclei == n).any()]
    steps = {n: steps_inside(parts == home[n], nuclei == n) for n in held}
    nearest = np.min(list(steps.values()), axis=0)
    np.testing.assert_array_equal(found > 0, np.isfinite(nearest))
    for n in held:
        own = (found == n) & (nuclei == 0)
        np.testing.assert_array_equal(steps[n][own], nearest[own])


@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_fields_give_mirrored_cells(axis):
    parts = boxes((30, 40), (2, 28, 2, 20), (4, 20, 20, 38))
    nuclei = boxes((30, 40), (4, 8, 5, 8), (20, 25, 12, 16), (10, 13, 25, 30))
    mirrored = given(np.flip(parts, axis), np.flip(nuclei, axis))
    there, back = given(parts, nuclei), np.flip(mirrored, axis)
    assert (there != back).mean() < 0.02  # pixels as near to either go to the smaller id
    np.testing.assert_array_equal(there > 0, back > 0)


def test_empty_fields_have_no_cells():
    nothing = np.zeros((12, 15), np.int32)
    assert not given(nothing, nothing).any()
    assert not given(boxes((12, 15), (2, 8, 2, 8)), nothing).any()
