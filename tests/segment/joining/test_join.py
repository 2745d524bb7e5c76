"""Joining: groups by hand, order of numbers, cards that cannot be used, and fits."""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from plates.errors import BadModel
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.joining.fit import FEWEST, evidence_of, fit_joining, is_within
from profiler.segment.joining.join import Joining, join, probability, read_joining
from profiler.segment.joining.joints import Evidence, Joints

NAMES = Evidence._fields
STRIPES = np.repeat(np.arange(1, 7, dtype=np.int32), 4)[None].repeat(5, axis=0)  # 1 2 3 4 5 6


def by_depth(threshold: float = 0.5) -> Joining:
    """Joins where the pass between two hills is deeper than a half."""
    weights = (100.0,) + (0.0,) * (len(NAMES) - 1)
    return Joining(NAMES, weights, -50.0, threshold, joints=2, within=1)


def joints(pairs: dict[tuple[int, int], float], *, room: int = 9) -> Joints:
    """Joints with a pass of some depth, and rows that are none."""
    low, high, deep = np.zeros(room, np.int32), np.zeros(room, np.int32), np.ones(room)
    for row, ((one, other), depth) in enumerate(pairs.items()):
        low[row], high[row], deep[row] = one, other, depth
    blank = [jnp.zeros(room)] * (len(NAMES) - 1)
    there = jnp.asarray(high > 0)
    evidence = Evidence(jnp.asarray(deep, jnp.float32), *blank)
    return Joints(jnp.asarray(low), jnp.asarray(high), there, evidence)


def joined(labels: np.ndarray, pairs: dict, *, threshold: float = 0.5) -> Nuclei:
    nuclei = Nuclei(jnp.asarray(labels), jnp.int32(labels.max()), jnp.int32(3))
    return join(nuclei, joints(pairs), by_depth(threshold), most=12)


def test_a_chain_becomes_one_and_the_others_are_renumbered():
    pairs = {(1, 2): 0.2, (2, 3): 0.9, (3, 4): 0.9, (4, 5): 0.1, (5, 6): 0.9}
    found = joined(STRIPES, pairs)
    np.testing.assert_array_equal(found.labels[0, ::4], [1, 2, 2, 2, 3, 3])
    assert (int(found.count), int(found.dropped)) == (3, 3)


def test_far_ends_of_a_long_chain_meet_whatever_the_order_of_its_links():
    links = [(1, 6), (6, 2), (2, 5), (5, 3), (3, 4)]
    found = joined(STRIPES, {tuple(sorted(link)): 0.9 for link in links})
    assert set(found.labels.ravel().tolist()) == {1}
    assert found.count == 1


def test_groups_are_those_of_scipy_on_random_joints():
    rng = np.random.default_rng(1)
    labels = np.arange(1, 13, dtype=np.int32)[None]
    for _ in range(20):
        links = [tuple(sorted(pair)) for pair in rng.integers(1, 13, (8, 2)).tolist()]
        links = [pair for pair in links if pair[0] < pair[1]]
        table = np.zeros((13, 13))
        table[tuple(np.array(links).T)] = 1
        _, group = connected_components(table[1:, 1:], directed=False)
        found = np.asarray(joined(labels, dict.fromkeys(links, 0.9)).labels)[0]
        _, first = np.unique(group, return_index=True)
        order = np.argsort(np.argsort(first))
        np.testing.assert_array_equal(found, 1 + order[group])


def test_nothing_to_join_leaves_nuclei_as_they_are():
    found = joined(STRIPES, {(1, 2): 0.1})
    np.testing.assert_array_equal(found.labels, STRIPES)
    assert found.count == 6
    empty = joined(np.zeros((4, 4), np.int32), {})
    assert (int(empty.count), int(empty.labels.max())) == (0, 0)


def test_the_threshold_is_a_probability():
    evidence = joints({(1, 2): 0.51}).evidence
    said = float(probability(evidence, by_depth())[0])
    assert said == pytest.approx(1 / (1 + np.exp(-1)), rel=1e-4)
    assert joined(STRIPES, {(1, 2): 0.51}, threshold=said - 0.01).count == 5
    assert joined(STRIPES, {(1, 2): 0.51}, threshold=said + 0.01).count == 6


def test_it_runs_in_a_compiled_batch():
    nuclei = Nuclei(jnp.asarray(STRIPES), jnp.int32(6), jnp.int32(0))
    many = jax.tree.map(
        lambda one, other: jnp.stack([one, other]), joints({(1, 2): 0.9}), joints({})
    )
    both = jax.tree.map(lambda one: jnp.stack([one, one]), nuclei)
    run = jax.jit(jax.vmap(lambda one, two: join(one, two, by_depth(), most=12)))
    assert run(both, many).count.tolist() == [5, 6]


def test_a_card_is_read_back_as_it_was_written():
    joining = by_depth()
    card = {**asdict(joining), "evidence": list(NAMES), "weights": list(joining.weights)}
    assert read_joining(card, model="mine") == joining
    assert read_joining(None, model="mine") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evidence": ["depth_most"]}, "of other evidence"),
        ({"weights": [1.0]}, "1 weights"),
        ({"intercept": float("nan")}, "not all of them finite"),
        ({"threshold": "high"}, "damaged"),
        ({"more": 1}, "damaged"),
        ({"joints": [1]}, "damaged"),
    ],
)
def test_a_card_that_cannot_be_used_says_why(change, message):
    card = asdict(by_depth()) | change
    with pytest.raises(BadModel, match=f"'mine' cannot be used: .*{message}"):
        read_joining(card, model="mine")


def test_a_joint_is_judged_by_the_nucleus_that_holds_most_of_each_side():
    truth = STRIPES.copy()
    truth[:, 4:8] = 1  # 1 and 2 are one
    truth[:, 12:16] = 0  # 4 is none, and so is the larger part of 5
    truth[:2, 16:20] = 0
    found = joints({(1, 2): 0, (2, 3): 0, (3, 4): 0, (4, 5): 0, (5, 6): 0})
    assert is_within(STRIPES, found, truth).tolist() == [True, False, False, False, False]
    truth[:, 16:24] = 9
    assert is_within(STRIPES, found, truth).tolist() == [True, False, False, False, True]
    assert evidence_of(found).shape == (5, len(NAMES))


def test_a_fit_finds_what_sets_joints_apart():
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(400, len(NAMES)))
    within = evidence[:, 7] + 0.1 * rng.normal(size=400) > 0.8
    fitted = fit_joining(evidence[:300], within[:300], threshold=0.4)
    assert fitted is not None
    assert (fitted.threshold, fitted.joints, fitted.within) == (0.4, 300, within[:300].sum())
    columns = Evidence(*(jnp.asarray(each) for each in evidence[300:].T))
    said = np.asarray(probability(columns, fitted)) > 0.5
    assert (said == within[300:]).mean() > 0.9


def test_a_fit_of_too_few_of_either_kind_is_none():
    evidence = np.random.default_rng(0).normal(size=(400, len(NAMES)))
    assert fit_joining(evidence, np.arange(400) < FEWEST - 1, threshold=0.5) is None
    assert fit_joining(evidence, np.arange(400) >= FEWEST - 1, threshold=0.5) is None
