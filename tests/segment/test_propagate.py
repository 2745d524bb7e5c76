"""Propagation: CellProfiler's own result, both kernels alike, the limits of λ."""

import jax.numpy as jnp
import numpy as np
import pytest
from centrosome.propagate import propagate as centrosome
from scipy import ndimage

from profiler.segment.propagate import propagate_cpu, propagate_jax


def scene(seed: int, size: int = 96):
    rng = np.random.default_rng(seed)
    plane = ndimage.gaussian_filter(rng.random((size, size)), 3)
    plane = ((plane - plane.min()) / np.ptp(plane)).astype(np.float32)
    nuclei = np.zeros((size, size), np.int32)
    for number, (y, x) in enumerate(rng.integers(3, size - 4, (12, 2)), 1):
        nuclei[y - 2 : y + 3, x - 2 : x + 3] = number
    return plane, nuclei, plane > 0.3


def on_device(plane, nuclei, mask, *, regularisation):
    planes = jnp.asarray(plane), jnp.asarray(nuclei), jnp.asarray(mask)
    return np.asarray(propagate_jax(*planes, regularisation=regularisation))


@pytest.mark.parametrize("regularisation", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kernel", [propagate_cpu, on_device])
def test_agrees_with_cellprofiler(kernel, seed, regularisation):
    plane, nuclei, mask = scene(seed)
    expected, _ = centrosome(plane, nuclei, mask, regularisation)
    found = kernel(plane, nuclei, mask, regularisation=regularisation)
    # Paths of equal cost go to the smaller id here, and to whichever came first there.
    assert (found != expected).mean() < 5e-3
    np.testing.assert_array_equal(found > 0, expected > 0)


@pytest.mark.parametrize("regularisation", [0.0, 0.05])
@pytest.mark.parametrize("size", [(14, 17), (1, 9), (2, 2)])
def test_both_kernels_agree_on_noise_up_to_the_border(size, regularisation):
    rng = np.random.default_rng(0)
    for _ in range(20):
        plane = rng.random(size, np.float32)
        nuclei = np.where(rng.random(size) < 0.05, rng.integers(1, 6, size), 0).astype(np.int32)
        found = propagate_cpu(plane, nuclei, plane > 0.2, regularisation=regularisation)
        other = on_device(plane, nuclei, plane > 0.2, regularisation=regularisation)
        np.testing.assert_array_equal(found, other)


@pytest.mark.parametrize("kernel", [propagate_cpu, on_device])
def test_without_a_stain_ground_is_split_by_steps(kernel):
    nuclei = np.zeros((9, 21), np.int32)
    nuclei[4, 3], nuclei[4, 17] = 1, 2
    flat = np.zeros((9, 21), np.float32)
    cells = kernel(flat, nuclei, np.ones((9, 21), bool), regularisation=1.0)
    assert (cells[:, :10] == 1).all()
    assert (cells[:, 11:] == 2).all()
    assert (cells[:, 10] == 1).all()  # ties go to the smaller id


@pytest.mark.parametrize("kernel", [propagate_cpu, on_device])
def test_cells_stay_in_the_mask_and_hold_their_nucleus(kernel):
    plane, nuclei, _ = scene(2)
    mask = np.zeros_like(nuclei, bool)
    mask[:, :48] = True
    cells = kernel(plane, nuclei, mask, regularisation=0.05)
    np.testing.assert_array_equal(cells[nuclei > 0], nuclei[nuclei > 0])
    assert not cells[~mask & (nuclei == 0)].any()


@pytest.mark.parametrize("kernel", [propagate_cpu, on_device])
def test_no_nuclei_no_cells(kernel):
    plane, nuclei, mask = scene(0)
    assert not kernel(plane, np.zeros_like(nuclei), mask, regularisation=0.05).any()
