import jax
import jax.numpy as jnp
import numpy as np
import pytest

from profiler.segment.order import percentile

RANDOM = np.random.default_rng(0)
PLANES = {
    "any": RANDOM.normal(0, 100, (37, 53)),
    "ties": RANDOM.integers(-2, 3, (40, 40)),
    "one value": np.full((9, 9), 7.0),
    "one pixel": np.array([[-3.0]]),
    "zeros of both signs": np.array([[0.0, -0.0, 1.0, -1.0]]),
    "far apart": np.array([[-3e38, -1e-38, 0, 1e-38, 3e38]]),
    "dark": RANDOM.gamma(2, 1e-4, (64, 64)),
}


@pytest.mark.parametrize("percent", [0.0, 1.0, 50.0, 99.8, 100.0])
@pytest.mark.parametrize("plane", PLANES.values(), ids=PLANES)
def test_percentiles_are_those_of_numpy(plane, percent):
    plane = plane.astype(np.float32)
    expected = np.percentile(plane.astype(np.float64), percent)
    found = jax.jit(percentile, static_argnums=1)(jnp.asarray(plane), percent)
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-30)


def test_an_undefined_pixel_leaves_the_answer_undefined():
    assert np.isnan(percentile(jnp.array([[1.0, jnp.nan], [2.0, 3.0]]), 50.0))


def test_infinite_pixels_are_the_largest():
    assert percentile(jnp.array([1.0, jnp.inf, 2.0]), 50.0) == 2.0


def test_planes_of_a_batch_have_their_own():
    batch = RANDOM.normal(size=(3, 20, 20)).astype(np.float32)
    found = jax.vmap(lambda plane: percentile(plane, 99.8))(jnp.asarray(batch))
    np.testing.assert_allclose(found, np.percentile(batch, 99.8, axis=(1, 2)), rtol=1e-6)
