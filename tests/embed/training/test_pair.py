"""Co-teaching: each network learns what the other finds easy."""

import jax
import jax.numpy as jnp
import numpy as np

from profiler.embed.training.objectives import ObjectiveConfig
from profiler.embed.training.pair import exchanged, first
from profiler.nets.state import TrainState

CONFIG = ObjectiveConfig(forget=0.5, forget_over=10)
LOSSES = jnp.asarray([[3.0, 1.0, 4.0, 2.0], [1.0, 1.0, 9.0, 0.0]])


def test_each_learns_ever_fewer_those_that_cost_the_other_least():
    def kept(step):
        return exchanged(LOSSES, step=jnp.int32(step), config=CONFIG)

    np.testing.assert_array_equal(kept(0), np.ones((2, 4)))
    np.testing.assert_array_equal(kept(5), [[1, 1, 0, 1], [1, 1, 0, 1]])
    for step in (10, 1_000):
        np.testing.assert_array_equal(kept(step), [[1, 0, 0, 1], [0, 1, 0, 1]])


def test_the_first_of_a_pair_is_a_state_of_its_own():
    part = {"a": jnp.asarray([[1.0, 2.0], [3.0, 4.0]])}
    one = first(TrainState(jnp.int32(7), part, part, part, part))
    assert int(one.step) == 7
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, [1, 2]), tuple(one[1:]))
