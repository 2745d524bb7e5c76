"""Stars: rays measured by hand."""

import numpy as np
import pytest

from profiler.segment.decoding.polygons import DIRECTIONS
from profiler.segment.heads.stars import targets


def test_rays_reach_half_a_pixel_beyond_the_last_of_their_nucleus():
    labels = np.zeros((20, 30), np.int32)
    labels[5:14, 8:20], labels[5:14, 20:24] = 1, 2
    rays = targets(labels).rays[9, 12]
    assert rays[0] == 7.5  # to the right, up to the nucleus that touches
    assert rays[8] == 4.5  # down
    assert rays[16] == 4.5  # to the left
    assert rays[24] == 4.5  # up
    np.testing.assert_allclose(DIRECTIONS[8], [1, 0], atol=1e-6)
    assert not targets(labels).rays[0].any()


def test_rays_of_a_disc_are_its_radius():
    y, x = np.mgrid[:61, :61]
    labels = (np.hypot(y - 30, x - 30) < 20).astype(np.int32)
    assert targets(labels).rays[30, 30] == pytest.approx(20, abs=0.8)
