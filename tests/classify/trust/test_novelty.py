"""P-values are uniform for known cells and small for new ones, by simulation and by hand."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from profiler.classify.trust.novelty import (
    Novelty,
    cell_novelty,
    novelty_scores,
    p_values,
    reference_score,
    well_novelty,
)
from profiler.classify.trust.outliers import learn_known


def test_p_values_by_hand():
    found = p_values(np.array([0.0, 2, 2.5, 9]), np.array([1.0, 2, 3]))
    np.testing.assert_allclose(found, [1, 3 / 4, 2 / 4, 1 / 4])


def test_combination_by_hand():
    reference = {"a": np.array([1.0, 2, 3]), "b": np.array([1.0, 2, 3])}
    # Each known cell among the three: 3/4, 2/4, 1/4 of four are as high.
    np.testing.assert_allclose(reference_score(reference), [0.25, 0.5, 0.75])
    found = cell_novelty({"a": np.array([9.0, 2.5]), "b": np.array([9.0, 0.0])}, reference)
    np.testing.assert_allclose(found.score, [0.75, 1 - (0.5 + 1) / 2])
    np.testing.assert_allclose(found.p_value, [2 / 4, 1])


def correlated(random, cells, shift=0.0):
    """Three scores that agree in part."""
    common = random.normal(shift, 1, cells)
    return {name: common + random.normal(0, 1, cells) for name in "abc"}


def test_p_values_of_known_cells_are_uniform_and_never_too_small():
    random = np.random.default_rng(0)
    found = np.concatenate(
        [cell_novelty(correlated(random, 20), correlated(random, 100)).p_value for _ in range(300)]
    )
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (found <= level).mean() <= level + 0.012
        assert (found <= level).mean() >= 0.7 * level - 0.01


def test_new_cells_have_small_p_values():
    random = np.random.default_rng(1)
    found = cell_novelty(correlated(random, 500, shift=4.0), correlated(random, 500))
    assert (found.p_value <= 0.05).mean() > 0.8
    assert found.p_value.min() >= 1 / 501


def test_the_three_scores_tell_an_unknown_class(draw_clouds):
    cells = draw_clouds(0, counts=(200, 200, 100), apart=8.0)
    is_known, part = cells.labels < 2, np.arange(500) % 2
    train, apart = is_known & (part == 0), is_known & (part == 1)
    known = learn_known(cells.vectors[train], cells.labels[train], around=cells.vectors)
    means = np.stack([cells.vectors[train & (cells.labels == i)].mean(0) for i in range(2)])
    logits = cells.vectors @ means.T
    scores = [novelty_scores(cells.vectors[x], logits[x], known) for x in (~is_known, apart)]
    assert list(scores[0]) == ["mahalanobis", "angle", "energy"]
    np.testing.assert_allclose(scores[0]["energy"], -logsumexp(logits[~is_known], axis=1))
    assert (cell_novelty(*scores).p_value <= 0.05).mean() > 0.8


def wells_of(random, count, cells, shift=0.0):
    score = np.clip(random.normal(0.5 + shift, 0.2, count * cells), 0, 1)
    return Novelty(score, 1 - score), np.repeat([f"B{i:02d}" for i in range(count)], cells)


def test_p_values_of_known_wells_are_uniform():
    random = np.random.default_rng(2)
    found = []
    for i in range(300):  # a reference each: wells that share one share its luck
        cells, _ = wells_of(random, 1, 8)
        reference = random.normal(0.5, 0.2, 60)
        table = well_novelty(cells, np.repeat(f"C{i}", 8), reference, permutations=99)
        found.append(table["Novelty_p_value"][0])
    assert stats.kstest(found, "uniform").pvalue > 0.05
    assert min(found) >= 1 / 100


def test_permutation_agrees_with_scipy():
    random = np.random.default_rng(3)
    cells, wells = wells_of(random, 1, 15, shift=0.08)
    reference = random.random(60)
    found = well_novelty(cells, wells, reference, permutations=4999)["Novelty_p_value"][0]
    expected = stats.permutation_test(
        (cells.score, reference),
        lambda own, rest: own.mean() - rest.mean(),
        alternative="greater",
        n_resamples=4999,
        rng=np.random.default_rng(0),
    ).pvalue
    assert found == pytest.approx(expected, abs=0.03)


def test_a_new_well_is_told_by_cells_and_by_wells():
    random = np.random.default_rng(4)
    cells, wells = wells_of(random, 2, 20, shift=0.3)
    reference, known_wells = random.normal(0.5, 0.2, 400), np.repeat(np.arange(20), 20)
    table = well_novelty(cells, wells, reference, reference_wells=known_wells)
    assert table["Well"].to_list() == ["B00", "B01"]
    assert table["Cells"].to_list() == [20, 20]
    np.testing.assert_allclose(table["Novelty"][0], cells.score[:20].mean())
    np.testing.assert_allclose(table["Novelty_Share"][1], (cells.p_value[20:] < 0.05).mean())
    assert table["Novelty_p_value"].to_list() == [1 / 1000, 1 / 1000]
    assert table["Novelty_p_value_by_well"].to_list() == [1 / 21, 1 / 21]


def test_few_known_wells_give_no_test_by_well():
    cells, wells = wells_of(np.random.default_rng(5), 1, 5)
    reference = np.linspace(0, 1, 90)
    for known in (None, np.repeat(np.arange(9), 10)):
        table = well_novelty(cells, wells, reference, reference_wells=known)
        assert table["Novelty_p_value_by_well"].to_list() == [None]


def test_counts_of_cells_make_no_well_new():
    """Means of two cells stray further than those of 200 known ones, which proves nothing."""
    random = np.random.default_rng(8)
    reference, known_wells = random.random(8000), np.repeat(np.arange(40), 200)
    score, wells = random.random(600), np.repeat([f"{i:03d}" for i in range(300)], 2)
    known = {"reference_wells": known_wells, "permutations": 9}
    few = well_novelty(Novelty(score, 1 - score), wells, reference, **known)
    assert (few["Novelty_p_value_by_well"] <= 0.05).mean() < 0.09  # .43 by their means alone
    score, wells = random.random(6000) ** 0.4, np.repeat([f"{i:02d}" for i in range(20)], 300)
    known["reference_wells"] = known_wells[::70][:115]  # three labelled cells a well, or two
    many = well_novelty(Novelty(score, 1 - score), wells, reference[::70][:115], **known)
    assert (many["Novelty_p_value_by_well"] <= 0.05).mean() > 0.8  # .11 by their means alone


def test_wells_that_lie_apart_are_no_evidence_by_wells():
    """Cells of a well share its light: the test on cells is deceived, the one on wells is not."""
    random = np.random.default_rng(6)
    light = np.repeat(random.normal(0, 0.1, 200), 30)
    score = random.normal(0.5, 0.1, 6000) + light
    wells = np.repeat([f"{i:03d}" for i in range(200)], 30)
    asked = np.arange(6000) < 3000
    cells = Novelty(score[asked], np.ones(3000))
    table = well_novelty(
        cells, wells[asked], score[~asked], reference_wells=wells[~asked], permutations=99
    )
    assert (table["Novelty_p_value"] <= 0.05).mean() > 0.25
    assert (table["Novelty_p_value_by_well"] <= 0.05).mean() < 0.12


def test_a_seed_alone_decides():
    random = np.random.default_rng(7)
    cells, wells = wells_of(random, 3, 10)
    reference = random.random(200)
    table = well_novelty(cells, wells, reference, permutations=199)
    order = random.permutation(30)
    shuffled = well_novelty(
        Novelty(*(x[order] for x in cells)), wells[order], reference[::-1].copy(), permutations=199
    )
    alone = well_novelty(
        Novelty(*(x[wells == "B01"] for x in cells)),
        wells[wells == "B01"],
        reference,
        permutations=199,
    )
    p_value = table["Novelty_p_value"]
    assert shuffled["Novelty_p_value"].to_list() == p_value.to_list()
    assert alone["Novelty_p_value"][0] == p_value[1]
    other = well_novelty(cells, wells, reference, permutations=199, seed=1)
    assert other["Novelty_p_value"].to_list() != p_value.to_list()


@pytest.mark.parametrize("reference", [{}, {"a": np.zeros(0)}])
def test_no_known_cells_are_refused(reference):
    with pytest.raises(ValueError, match="Found no known cells to compare with"):
        cell_novelty({"a": np.zeros(3)}, reference)


def test_other_scores_are_refused():
    with pytest.raises(ValueError, match="scores a, and of the known cells b; expected the same"):
        cell_novelty({"a": np.zeros(3)}, {"b": np.zeros(3)})
