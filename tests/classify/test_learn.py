"""What a classifier says of itself holds on cells that it has not seen."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, recall_score
from sklearn.model_selection import StratifiedKFold, cross_val_score

from profiler.classify.judge import judge
from profiler.classify.learn import STRENGTHS, can_be_new, learn, with_novelty
from profiler.classify.parts import Examples
from profiler.classify.trust.calibration import at_temperature, calibration, fit_temperature
from profiler.classify.trust.imbalance import prior_offsets
from profiler.classify.trust.novelty import LEVEL


def clouds(seed, *, counts=(150, 60, 40), apart=2.0, groups=6, shift=0.0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    plate = random.integers(0, groups, len(labels))
    moved = random.normal(0, shift, (groups, 5))[plate]
    vectors = apart * np.eye(len(counts), 5)[labels] + random.normal(size=(len(labels), 5)) + moved
    names = np.array([f"P{i}" for i in plate])
    return Examples(vectors, labels, names, names)


def test_the_classifier_is_scikit_learns_with_the_strength_that_was_chosen():
    cells = clouds(0)
    found = learn(cells, classes=3)
    assert found.strength in STRENGTHS
    model = LogisticRegression(C=found.strength, max_iter=1000).fit(cells.vectors, cells.labels)
    fresh = clouds(1)
    agreed = found.linear.logits(fresh.vectors).argmax(axis=1) == model.predict(fresh.vectors)
    assert agreed.all()


def test_cells_apart_are_judged_by_others_plates_and_calibrated():
    cells = clouds(2)
    found = learn(cells, classes=3)
    assert found.apart.level == "plates"
    assert len(found.apart.rows) == len(cells.labels)
    before, after = (
        -np.log(p[np.arange(len(p)), found.apart.labels]).mean()
        for p in (
            at_temperature(found.apart.logits, found.temperature._replace(value=1.0)),
            at_temperature(found.apart.logits, found.temperature),
        )
    )
    assert after <= before + 1e-9


def test_the_temperature_is_a_standard_error_between_plates_nearer_to_one():
    cells = clouds(2, shift=0.7)
    found = learn(cells, classes=3)
    logits, labels = found.apart.logits, found.apart.labels
    by_plate = fit_temperature(logits, labels, groups=cells.plates[found.apart.rows])
    assert found.temperature == by_plate
    assert abs(np.log(by_plate.value)) < abs(np.log(fit_temperature(logits, labels).value))


@pytest.mark.parametrize("seed", range(5))
def test_thirty_labels_are_not_scaled_beyond_reason(seed):
    found = learn(clouds(seed, counts=(10, 10, 10), apart=3.0, groups=5), classes=3)
    assert 0.3 < found.temperature.value < 1.7


def test_the_same_seed_gives_the_same_classifier():
    one, two, other = (learn(clouds(3, groups=20), classes=3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.apart.logits, two.apart.logits)
    assert not np.array_equal(one.apart.logits, other.apart.logits)


def test_balance_finds_more_of_rare_classes():
    cells, fresh = clouds(4, counts=(400, 40, 15)), clouds(5, counts=(100, 100, 100))
    plain, balanced = (
        recall_score(
            fresh.labels,
            learn(cells, classes=3, balance=b).linear.logits(fresh.vectors).argmax(axis=1),
            average="macro",
        )
        for b in (0.0, 1.0)
    )
    assert balanced > plain + 0.05


def test_balance_takes_the_shares_from_the_scaled_logits():
    cells = clouds(4, counts=(200, 40, 15))
    plain, half = (learn(cells, classes=3, balance=balance) for balance in (0.0, 0.5))
    assert half.strength == plain.strength
    assert half.temperature == plain.temperature
    np.testing.assert_array_equal(half.linear.weights, plain.linear.weights)
    taken = 0.5 * np.log(np.array([200, 40, 15]) / 255)
    given = (plain.linear.bias - half.linear.bias) / half.temperature.value
    np.testing.assert_allclose(given, taken)


def test_scaling_does_not_undo_the_balance():
    """In the world that is asked for: classes as frequent as the roots of their shares."""
    cells = clouds(20, counts=(1800, 140, 60), apart=1.5)
    roots = np.sqrt([0.9, 0.07, 0.03])
    fresh = clouds(50, counts=tuple((20_000 * roots / roots.sum()).astype(int)), apart=1.5)
    plain, half = (learn(cells, classes=3, balance=balance) for balance in (0.0, 0.5))
    offsets = prior_offsets(cells.labels, classes=3, strength=0.5)
    before = softmax(plain.linear.logits(fresh.vectors) - offsets, axis=1)
    after = at_temperature(half.linear.logits(fresh.vectors), half.temperature)
    errors = [calibration(each, fresh.labels).error for each in (before, after)]
    assert errors[1] < errors[0] + 0.005  # .039 and .010 where raw frequencies judged the balance
    assert errors[1] < 0.02


@pytest.mark.parametrize("count", [9, 18, 19, 20, 22])
def test_novelty_is_learned_where_some_cell_could_be_new(count):
    """By one score, the oddest of n known ties with any new cell: p is 2 / (n + 1)."""
    cells = clouds(8, counts=(count, count), apart=6.0, groups=5)
    learnt = learn(cells, classes=2)
    assert len(learnt.apart.rows) == 2 * count
    found = with_novelty(learnt, cells).odd
    assert (found is not None) == (2 / (2 * count + 1) < LEVEL)


def test_the_oddest_cell_decides_whether_any_can_be_new():
    scores = np.arange(19.0)
    assert not can_be_new({"a": scores, "b": -scores})
    scores = np.arange(20.0)  # known cells are odd by one score or the other, a new one by both
    assert can_be_new({"a": scores, "b": -scores})
    assert not can_be_new({"a": scores})


def test_two_cells_a_class_are_learned_without_a_word_on_novelty_they_cannot_bear():
    cells = clouds(6, counts=(2, 2), apart=8.0)
    found = with_novelty(learn(cells, classes=2), cells)
    assert found.linear.logits(cells.vectors).argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert found.odd is None


def two_of_each(classes, *, features=120, plates=2):
    """Two cells of each class on each plate, in more dimensions than cells."""
    random = np.random.default_rng(11)
    labels = np.tile(np.repeat(np.arange(classes), 2), plates)
    vectors = 8.0 * np.eye(classes, features)[labels] + random.normal(size=(len(labels), features))
    names = np.repeat([f"P{i}" for i in range(plates)], 2 * classes)
    return Examples(vectors, labels, names, names), random.normal(size=(400, features))


@pytest.mark.parametrize(("classes", "judged"), [(2, 8), (6, 24)])
def test_cells_too_few_to_say_how_classes_vary_leave_novelty_out(classes, judged):
    """Of two cells, the shrunk covariance has no inverse; 24 judged cells could bear novelty."""
    cells, around = two_of_each(classes)
    learnt = learn(cells, classes=classes)
    assert len(learnt.apart.rows) == judged
    found = with_novelty(learnt, cells, around=around)
    assert found.odd is None
    assert found.linear.logits(cells.vectors).argmax(axis=1).tolist() == cells.labels.tolist()


def test_scores_by_plate_show_what_random_folds_hide():
    """Vectors say only which plate a cell is of, and each plate has mostly one class."""
    random = np.random.default_rng(7)
    plate = np.repeat(np.arange(12), 20)
    labels = np.where(random.random(240) < 0.9, plate % 2, 1 - plate % 2)
    vectors = random.normal(0, 4, (12, 12))[plate] + random.normal(size=(240, 12))
    names = np.array([f"P{i}" for i in plate])
    cells = Examples(vectors, labels, names, names)
    naive = cross_val_score(
        LogisticRegression(max_iter=1000),
        vectors,
        labels,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    )
    honest = judge(cells, classes=("a", "b"), level="plates")
    assert naive.mean() > 0.8
    assert honest.accuracy < 0.65


def test_scores_agree_with_what_a_fresh_sample_gets():
    cells, fresh = clouds(9, counts=(300, 300, 300)), clouds(10, counts=(3000, 3000, 3000))
    scores = judge(cells, classes=("a", "b", "c"), level="plates")
    called = learn(cells, classes=3).linear.logits(fresh.vectors).argmax(axis=1)
    assert scores.f1_macro == pytest.approx(
        f1_score(fresh.labels, called, average="macro"), abs=0.03
    )
    assert scores.covered == pytest.approx(0.9, abs=0.03)
    assert scores.error < 0.06
    recall = recall_score(fresh.labels, called, average=None)
    np.testing.assert_allclose(scores.by_class["Recall"], recall, atol=0.07)
    assert scores.by_class["Cells"].to_list() == [300, 300, 300]
