"""The step after a decoder: the same nuclei by the kernel of either backend, at every scale."""

import jax.numpy as jnp
import numpy as np
import pytest

from profiler.segment.confidence.belief import Maps
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.joining.join import Joining
from profiler.segment.joining.joiner import joiner
from profiler.segment.joining.joints import Evidence, Pixels, grey_of

SMALLEST = 25


def field(seed: int) -> tuple[Nuclei, Pixels]:
    """Rectangles that touch one another, what a network might say of them, and a stain."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((60, 72), np.int32)
    for number, (y, x) in enumerate(rng.integers(0, 60, (24, 2)), 1):
        labels[y : y + rng.integers(5, 14), x : x + rng.integers(5, 14)] = number
    there = np.unique(labels)
    labels = np.searchsorted(there, labels).astype(np.int32)
    maps = Maps(*(jnp.asarray(each) for each in rng.integers(0, 256, (2, 60, 72), np.uint8)))
    grey = grey_of(jnp.asarray(rng.uniform(0, 2, labels.shape), jnp.float32))
    count = jnp.int32(len(there) - 1)
    return Nuclei(jnp.asarray(labels), count, jnp.int32(2)), Pixels(jnp.asarray(labels), grey, maps)


def by(intercept: float, **weights: float) -> Joining:
    """Joins where the weighted evidence is above zero."""
    names = Evidence._fields
    numbers = tuple(weights.get(name, 0.0) for name in names)
    return Joining(names, numbers, intercept, threshold=0.5, joints=2, within=1)


@pytest.mark.parametrize("seed", range(4))
def test_both_backends_put_the_same_nuclei_together(seed):
    nuclei, pixels = field(seed)
    joining = by(-2.2, depth_mean=4.0, apart=0.1)
    host, device = (
        joiner(joining, min_area_px=SMALLEST, is_cpu=is_cpu)(nuclei, pixels, 1.0)
        for is_cpu in (True, False)
    )
    assert 1 < device.count < nuclei.count
    for one, other in zip(host, device, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("is_cpu", [True, False])
def test_sizes_are_those_that_the_network_saw(is_cpu):
    nuclei, pixels = field(0)
    together = joiner(by(-8.0, size_low=1.0), min_area_px=SMALLEST, is_cpu=is_cpu)
    counts = [int(together(nuclei, pixels, scale).count) for scale in (0.1, 1.0, 10.0)]
    assert counts[0] == nuclei.count
    assert counts[0] > counts[1] > counts[2]


def test_a_network_without_a_joining_leaves_its_nuclei_alone():
    nuclei, pixels = field(1)
    for is_cpu in (True, False):
        assert joiner(None, min_area_px=SMALLEST, is_cpu=is_cpu)(nuclei, pixels, 1.0) is nuclei


def test_an_empty_field_stays_empty():
    _, pixels = field(2)
    blank = jnp.zeros_like(pixels.labels)
    nothing = Nuclei(blank, jnp.int32(0), jnp.int32(0))
    for is_cpu in (True, False):
        together = joiner(by(1.0), min_area_px=SMALLEST, is_cpu=is_cpu)
        found = together(nothing, pixels._replace(labels=blank), 1.0)
        assert (int(found.count), int(found.dropped), found.labels.any()) == (0, 0, False)
