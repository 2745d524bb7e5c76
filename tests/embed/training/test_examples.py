"""Groups kept apart, labels that nothing can be learnt from, batches by step and seed."""

import numpy as np
import pytest

from plates.errors import BadLabels
from profiler.embed.training.examples import Examples, check_apart, check_labels, drawn_by_step

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 120).astype(np.int32)


def test_a_group_on_both_sides_is_named():
    with pytest.raises(BadLabels, match=r"1 groups .* both learnt from and tested on: plate2"):
        check_apart(["plate1", "plate2"], ["plate2", "plate3"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1, 1], r"one class only \(b\)"),
        ([-1, -1], "No cell is labelled"),
        ([0, 0, 1, 2, 2], "1 classes have one labelled cell each: b"),
        ([0, 0, 3, 3], "Label 3 is no class: there are 3"),
    ],
)
def test_labels_that_nothing_can_be_learnt_from(labels, message):
    with pytest.raises(BadLabels, match=message):
        check_labels(np.array(labels), ("a", "b", "c"))


def test_unlabelled_cells_are_no_class():
    check_labels(np.array([0, 0, 1, 1, -1]), ("a", "b"))


def test_every_cell_is_seen_before_any_comes_again():
    draw = drawn_by_step(LABELS, seed=0, batch=16, balance=0.0)
    steps = [draw(step) for step in range(15)]
    counts = np.bincount(np.concatenate(steps)[:120], minlength=120)
    np.testing.assert_array_equal(counts, 1)
    assert np.bincount(np.concatenate(steps), minlength=120).max() == 2


def test_a_step_draws_the_same_again():
    for balance in (0.0, 1.0):
        options = {"batch": 16, "balance": balance}
        one = drawn_by_step(LABELS, seed=3, **options)(7)  # without the steps before
        through = drawn_by_step(LABELS, seed=3, **options)
        np.testing.assert_array_equal(one, [through(step) for step in range(8)][7])
        assert (one != drawn_by_step(LABELS, seed=4, **options)(7)).any()


@pytest.mark.parametrize("step", [0, 6, 7, 8, 40])
def test_draws_are_numpys_permutation_or_choice(step):
    share = (np.bincount(LABELS) ** -0.5)[LABELS]
    chosen = np.random.default_rng([5, step]).choice(120, 16, p=share / share.sum())
    by_share = drawn_by_step(LABELS, seed=5, batch=16, balance=0.5)
    np.testing.assert_array_equal(by_share(step), chosen)
    orders = [np.random.default_rng([5, epoch]).permutation(120) for epoch in range(6)]
    in_turn = drawn_by_step(LABELS, seed=5, batch=16, balance=0.0)
    rows = np.concatenate(orders)[16 * step : 16 * step + 16]
    np.testing.assert_array_equal(in_turn(step), rows)


def test_an_epochs_order_is_drawn_once(monkeypatch):
    made, kept = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: made.append(seed) or kept(seed))
    draw = drawn_by_step(np.zeros(121, np.int32), seed=6, batch=16, balance=0.0)
    for step in range(15):  # 240 rows: two epochs, the first of which ends within a batch
        draw(step)
    assert made == [[6, 0], [6, 1]]


def test_balance_draws_rare_classes_as_often():
    rare = np.array([0] * 190 + [1] * 10)
    drawn = rare[drawn_by_step(rare, seed=0, batch=2000, balance=1.0)(0)]
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    partly = rare[drawn_by_step(rare, seed=0, batch=2000, balance=0.5)(0)]
    assert 0.1 < partly.mean() < 0.3


def test_a_source_is_what_a_group_names_before_its_first_colon():
    groups = np.array(["bbbc013:plate", "mito:movie:2", "movie1", "mito:movie1", "plate"])
    examples = Examples(np.zeros((5, 1)), np.zeros(5, np.int32), groups)
    np.testing.assert_array_equal(examples.sources, [1, 2, 0, 2, 0])
    np.testing.assert_array_equal(examples._replace(groups=np.array(["a", "b"])).sources, [0, 0])


@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_sources_are_drawn_as_often_with_their_classes_balanced_within(balance):
    sources = np.repeat([0, 1], [180, 20])
    labels = np.concatenate([np.repeat([0, -1], [20, 160]), np.repeat([1, 2], [16, 4])])
    options = {"sources": sources, "balance_sources": 1.0}
    rows = drawn_by_step(labels, seed=0, batch=4000, balance=balance, **options)(0)
    shares = [np.mean(labels[rows] == label) for label in (0, -1, 1, 2)]
    expected = [0.25] * 4 if balance else [1 / 18, 8 / 18, 0.4, 0.1]
    np.testing.assert_allclose(shares, expected, atol=0.03)
