"""Deep Sets and its loss: by hand, by symmetry, beside the NumPy that profiles with it."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import logsumexp

from profiler.embed.sets.network import DeepSets, SetConfig, contrastive_loss

RANDOM = np.random.default_rng(0)
CELLS = RANDOM.normal(size=(5, 30, 6)).astype(np.float32)
LABELS = np.int32([0, 0, 1, 1, 2])
PLATES = np.int32([0, 1, 0, 1, 0])


def loss(profiles, labels=LABELS, plates=PLATES, temperature=0.5) -> float:
    arrays = (jnp.asarray(x) for x in (profiles, labels, plates))
    return float(contrastive_loss(*arrays, temperature=temperature))


def test_without_layers_it_is_the_mean():
    network = DeepSets(6, SetConfig((), ()), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(network(jnp.asarray(CELLS)), CELLS.mean(1), atol=1e-6)


def test_the_order_of_cells_changes_nothing():
    network = DeepSets(6, SetConfig((16, 8), (4,)), rngs=nnx.Rngs(0))
    shuffled = CELLS[:, RANDOM.permutation(30)]
    found, again = network(jnp.asarray(CELLS)), network(jnp.asarray(shuffled))
    np.testing.assert_allclose(found, again, atol=1e-5)


def test_the_loss_is_khoslas_with_negatives_of_the_own_plate():
    profiles = RANDOM.normal(size=(5, 3)).astype(np.float32)
    unit = profiles / np.linalg.norm(profiles, axis=1, keepdims=True)
    likeness = unit @ unit.T / 0.5
    terms = []
    for i in range(4):  # the fifth has no pair
        pair = i ^ 1
        others = [j for j in range(5) if LABELS[j] != LABELS[i] and PLATES[j] == PLATES[i]]
        terms.append(logsumexp(likeness[i, [pair, *others]]) - likeness[i, pair])
    assert loss(profiles) == pytest.approx(np.mean(terms), rel=1e-5)


def test_the_loss_falls_as_replicates_agree():
    apart = np.float32([[1, 0], [1, 0], [0, 1], [0, 1], [-1, 0]])
    mixed = np.float32([[1, 0], [0, 1], [1, 0], [0, 1], [-1, 0]])
    assert loss(apart) < loss(mixed)


def test_another_plates_strangers_are_no_negatives():
    profiles = np.float32([[1, 0], [1, 0], [0, 1], [0, 1]])
    alone = loss(profiles, np.int32([0, 0, 1, 1]), np.int32([0, 0, 1, 1]))
    assert alone == pytest.approx(0, abs=1e-6)  # its pair is all that a set is held against


def test_without_pairs_the_loss_is_0():
    assert loss(CELLS[:, 0, :3], np.arange(5, dtype=np.int32)) == 0
