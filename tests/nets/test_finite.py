"""Numbers that are none any more stop a training; any others do not."""

import jax.numpy as jnp
import numpy as np
import pytest

from profiler.nets.finite import Diverged, check_finite


def test_finite_numbers_of_any_structure_pass():
    check_finite(([jnp.float32(1.0), 2], {"a": np.zeros(3)}, jnp.ones(2, jnp.bfloat16)), step=1)
    check_finite((), step=1)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_one_that_is_not_stops_and_says_what_is_kept(odd, tmp_path):
    numbers = [jnp.ones(3), {"a": jnp.asarray([0.0, odd])}]
    path = tmp_path / "x.training.safetensors"
    with pytest.raises(Diverged, match=r"After 7 steps .* look for images and .* the others\.$"):
        check_finite(numbers, step=7, checkpoint=path)
    path.touch()
    with pytest.raises(Diverged, match=r"x\.training\.safetensors keeps an earlier step, whose"):
        check_finite(numbers, step=7, checkpoint=path)
