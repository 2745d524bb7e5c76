"""The driver: a field with more candidates than there is room for is told, not cut."""

import jax.numpy as jnp
import numpy as np
import pytest

from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.segmenter import SegmentConfig, _at_once, _by_field, _cells_at_once

CONFIG = SegmentConfig(max_cells=5)


@pytest.mark.parametrize("drive", [_by_field, _at_once, _cells_at_once])
@pytest.mark.parametrize("dropped", [0, 3])
def test_candidates_without_room_make_a_field_too_full(drive, dropped):
    def nuclei(plane):
        labels = jnp.zeros(plane.shape, jnp.int32).at[4:9, 4:9].set(1)
        return Nuclei(labels, jnp.int32(1), jnp.int32(dropped))

    images = jnp.asarray(np.random.default_rng(0).random((2, 24, 24, 1)), jnp.float32)
    found = drive(nuclei, CONFIG)(images)
    assert found.count.tolist() == [1, 1] if not dropped else [8, 8]
    assert found.nuclei.max() == 1
