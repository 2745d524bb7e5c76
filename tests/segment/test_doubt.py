"""Doubt: nothing where views agree, whole objects where they do not."""

import numpy as np
import pytest

from plates.synthetic import discs
from profiler.segment.doubt import VIEWS, doubt

DISCS = discs(96, radius=8, spacing=32)  # nine


def bright(plane: np.ndarray) -> np.ndarray:
    """A segmenter that no view can fool."""
    middle = (plane.min() + plane.max()) / 2
    return np.where(plane > middle, 1, 0) * _positions(plane.shape)


def _positions(shape: tuple[int, ...]) -> np.ndarray:
    """Ids by place on the grid, so that every view numbers objects anew."""
    rows, columns = (np.arange(length) // 32 for length in shape)
    return rows[:, None] * (shape[1] // 32) + columns[None] + 1


def test_views_that_agree_leave_no_doubt():
    plane = np.where(DISCS > 0, 1000, 0).astype(np.uint16)
    found = doubt(bright, plane)
    assert found.ids.tolist() == list(range(1, 10))
    np.testing.assert_array_equal(found.objects, 0)
    assert found.total == found.lacking == 0


def test_an_object_that_only_the_field_as_it_is_shows_is_all_doubt():
    others = np.where(DISCS == 1, 0, DISCS)
    seen = iter([DISCS, others[:, ::-1], others[::-1], others[::-1, ::-1], others, others])
    first, *rest = doubt(lambda _: next(seen), np.eye(96)).objects
    assert first == pytest.approx(1)
    assert rest == pytest.approx([0] * 8)


def test_an_object_that_the_views_add_is_lacking():
    plane = np.where(DISCS > 0, 1000, 0).astype(np.uint16)
    calls = []

    def find(changed: np.ndarray) -> np.ndarray:
        calls.append(changed)
        return np.zeros_like(DISCS) if len(calls) == 1 else bright(changed)

    found = doubt(find, plane)
    assert found.ids.size == found.objects.size == 0
    assert found.total == found.lacking == 9


@pytest.mark.parametrize(("change", "back"), VIEWS)
def test_views_give_labels_back_in_place(change, back):
    plane = np.random.default_rng(0).integers(0, 4000, (40, 60)).astype(np.uint16)
    moved = np.argsort(np.argsort(change(plane), axis=None, kind="stable"))
    ranks = np.argsort(np.argsort(plane, axis=None, kind="stable"))
    there = back(moved.reshape(plane.shape)).ravel()
    assert np.corrcoef(there, ranks)[0, 1] > 0.999


def test_a_blank_field_is_looked_at_without_warnings():
    assert doubt(lambda plane: np.zeros(plane.shape, int), np.full((8, 8), 7)).total == 0
