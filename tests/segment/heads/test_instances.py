"""Labels renumbered and taken apart: by hand and against scikit-image."""

import numpy as np
from skimage.measure import label

from profiler.segment.heads.instances import consecutive, in_one_piece


def test_pieces_are_those_of_scikit_image():
    labels = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.int32)
    found, expected = in_one_piece(labels), label(labels, connectivity=2)
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(expected)) == len(np.unique(found))


def test_whole_labels_keep_their_ids():
    labels = np.zeros((9, 9), np.int32)
    labels[1:3, 1:3], labels[5:8, 5:8] = 7, 2
    np.testing.assert_array_equal(in_one_piece(labels), labels)
    np.testing.assert_array_equal(in_one_piece(0 * labels), 0 * labels)


def test_consecutive_numbers_by_id_and_keeps_the_background():
    assert consecutive(np.array([[0, 9], [4, 9]])).tolist() == [[0, 2], [1, 2]]
    assert consecutive(np.array([[5, 5]])).tolist() == [[1, 1]]
    assert consecutive(np.zeros((1, 2), int)).tolist() == [[0, 0]]
