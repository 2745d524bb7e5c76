"""Compartments: rings against scipy, ids that agree, borders, cut-offs, both backends."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.compartments import (
    CellsConfig,
    compartments,
    compartments_cpu,
    settle,
    within,
)

RING = CellsConfig(method="ring", ring_px=(1.5, 6.0))
PROPAGATION = CellsConfig(method="propagation")


def scene(size: int = 80):
    """Twelve square nuclei, number 1 in a corner, each in a bright patch."""
    nuclei = np.zeros((size, size), np.int32)
    for number, (y, x) in enumerate(np.mgrid[0:size:22, 0:66:22].reshape(2, -1).T, 1):
        nuclei[y : y + 8, x : x + 8] = number
    plane = ndimage.gaussian_filter((nuclei > 0).astype(np.float32), 4)
    return jnp.asarray(plane), jnp.asarray(nuclei)


@pytest.mark.parametrize("reach", [1.0, 1.5, 6.0, 7.3])
def test_within_is_the_euclidean_distance(reach):
    rng = np.random.default_rng(0)
    nuclei = np.zeros((70, 90), np.int32)
    for number, (y, x) in enumerate(rng.integers(0, 68, (12, 2)), 1):
        nuclei[y : y + 3, x : x + 2] = number
    away, (y, x) = ndimage.distance_transform_edt(nuclei == 0, return_indices=True)
    found = np.asarray(within(jnp.asarray(nuclei), reach))
    np.testing.assert_array_equal(found > 0, away <= reach)
    own = [ndimage.distance_transform_edt(nuclei != n) for n in range(nuclei.max() + 1)]
    chosen = np.choose(found, own)
    np.testing.assert_allclose(chosen[found > 0], away[found > 0])  # a nearest one, ties aside
    assert (found <= nuclei[y, x])[found > 0].all()  # and of those the smallest id


@pytest.mark.parametrize("config", [RING, PROPAGATION], ids=["ring", "propagation"])
@pytest.mark.parametrize("border", ["keep", "drop"])
@pytest.mark.parametrize("find", [compartments, compartments_cpu], ids=["jax", "cpu"])
def test_ids_agree_and_cytoplasm_is_the_rest(find, config, border):
    config = CellsConfig(method=config.method, border=border)
    found = find(*scene(), config, max_cells=20)
    nuclei, cells, cytoplasm = map(np.asarray, found[:3])
    assert int(found.count) == nuclei.max() == cells.max()
    np.testing.assert_array_equal(cells[nuclei > 0], nuclei[nuclei > 0])
    assert not (cytoplasm > 0)[nuclei > 0].any()
    assert set(np.unique(cytoplasm)) <= set(np.unique(cells))
    np.testing.assert_array_equal(cytoplasm[cytoplasm > 0], cells[cytoplasm > 0])


@pytest.mark.parametrize("config", [RING, PROPAGATION], ids=["ring", "propagation"])
def test_backends_agree(config):
    device, host = (f(*scene(), config, max_cells=20) for f in (compartments, compartments_cpu))
    for one, other in zip(device, host, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_ring_leaves_its_gap():
    found = compartments(*scene(), RING, max_cells=20)
    away = ndimage.distance_transform_edt(np.asarray(found.nuclei) == 0)
    np.testing.assert_array_equal(np.asarray(found.cytoplasm) > 0, (away > 1.5) & (away <= 6))
    np.testing.assert_array_equal(np.asarray(found.cells) > 0, away <= 6)


def test_border_nuclei_are_flagged_or_dropped_and_renumbered():
    plane, nuclei = scene()
    kept = compartments(plane, nuclei, RING, max_cells=20)
    touching = {1, 2, 3, 4, 7, 10}  # first row and first column of the grid
    assert set(np.flatnonzero(kept.touches_border) + 1) == touching
    dropped = compartments(plane, nuclei, CellsConfig(method="ring", border="drop"), max_cells=20)
    assert int(dropped.count) == 12 - len(touching)
    assert not dropped.touches_border.any()
    assert set(np.unique(dropped.nuclei)) == set(range(7))


def test_ids_beyond_max_cells_are_cut_off_but_counted():
    found = compartments(*scene(), RING, max_cells=5)
    assert int(found.count) == 12
    assert int(found.cells.max()) == 5
    assert found.touches_border.shape == (5,)


def test_an_empty_field_has_no_compartments():
    empty = jnp.zeros((40, 50))
    found = compartments_cpu(empty, empty.astype(jnp.int32), PROPAGATION, max_cells=4)
    assert int(found.count) == 0
    assert not any(np.asarray(labels).any() for labels in found[:3])


def test_a_cell_whose_nucleus_was_dropped_keeps_its_ground():
    nuclei = jnp.zeros((20, 20), jnp.int32).at[8:12, 0:3].set(1).at[8:12, 12:15].set(2)
    cells = jnp.where(jnp.arange(20)[None] < 8, 1, 2) * jnp.ones((20, 1), jnp.int32)
    left = settle(nuclei, cells, CellsConfig(border="drop"), max_cells=3)
    np.testing.assert_array_equal(np.asarray(left.cells)[:, :8], 0)
    np.testing.assert_array_equal(np.asarray(left.cells)[:, 8:], 1)


NAN = float("nan")


@pytest.mark.parametrize("find", [compartments, compartments_cpu], ids=["jax", "cpu"])
def test_doubtful_nuclei_are_dropped_and_counted_and_unknown_ones_kept(find):
    plane, nuclei = scene()
    sure = jnp.asarray([0.9, 0.2, NAN, 0.5, *[0.8] * 8, 0.0, 0.0], jnp.float32)  # two are not there
    config = CellsConfig(method="ring", min_confidence=0.5)
    found = find(plane, nuclei, config, max_cells=20, confidence=sure)
    assert (int(found.count), int(found.doubtful)) == (11, 1)
    expected = np.float32([0.9, NAN, 0.5, *[0.8] * 8, *[NAN] * 9])
    np.testing.assert_array_equal(found.confidence, expected)
    left = np.asarray(found.nuclei)
    assert left[0, 22] == 0  # number 2
    assert left[0, 44] == 2  # number 3


def test_a_cell_at_the_border_counts_as_that_and_not_as_doubtful():
    plane, nuclei = scene()
    config = CellsConfig(method="ring", border="drop", min_confidence=0.5)
    sure = jnp.full(12, 0.1).at[10:].set(0.9)
    found = compartments(plane, nuclei, config, max_cells=20, confidence=sure)
    inside = 12 - 6
    assert int(found.count) + int(found.doubtful) == inside
    assert int(found.count) == 2


def test_confidence_beyond_max_cells_is_cut_off():
    plane, nuclei = scene()
    sure = jnp.linspace(0.5, 0.9, 12)
    found = compartments(plane, nuclei, RING, max_cells=5, confidence=sure)
    np.testing.assert_allclose(found.confidence, np.linspace(0.5, 0.9, 12)[:5], rtol=1e-6)
