"""Training targets: against scipy, touching nuclei apart, the border no edge."""

import numpy as np
from scipy import ndimage

from profiler.segment.targets import targets


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
