"""Embedding: the Lovász hinge by hand, membership where it is defined."""

import jax.numpy as jnp
import numpy as np
import pytest

from profiler.segment.heads.embedding import LEARNT, lovasz_hinge, membership, targets


def jaccard_loss(wrong: set[int], truth: np.ndarray) -> float:
    """1 - intersection over union if the pixels of a set were predicted wrongly."""
    own = set(np.flatnonzero(truth).tolist())
    said = own ^ wrong
    return 1 - len(own & said) / len(own | said)


def test_the_lovasz_hinge_adds_up_jaccard_losses_of_growing_sets():
    margin = np.array([0.6, -0.4, 0.3, -0.9, -0.2])
    truth = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    errors = 1 - margin * (2 * truth - 1)
    wrong, before, expected = set(), 0.0, 0.0
    for pixel in np.argsort(-errors):
        wrong.add(int(pixel))
        loss = jaccard_loss(wrong, truth)
        expected += max(errors[pixel], 0) * (loss - before)
        before = loss
    parts = (jnp.asarray(each, jnp.float32) for each in (margin, truth, np.ones(5)))
    assert lovasz_hinge(*parts) == pytest.approx(expected, rel=1e-5)


def test_membership_is_a_half_at_the_spread():
    off = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    assert membership(off, jnp.full(2, np.log(5.0))).tolist() == pytest.approx([1.0, 0.5])


def test_every_window_lies_in_the_field_and_few_nuclei_leave_rows_empty():
    labels = np.zeros((40, 100), np.int32)
    labels[0:5, 0:5], labels[30:40, 90:100] = 4, 9
    found = targets(labels)
    assert found.ids.tolist() == [1, 2] + [0] * (LEARNT - 2)
    assert found.corners[:2].tolist() == [[0, 0], [0, 36]]
