"""Monotone and once-turning curves: against scikit-learn and brute force; their p-values."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from profiler.hits.doses.logistic import Levels
from profiler.hits.doses.monotone import about_mean, chance, fit_falling, fit_shape, p_value


def design(*wells: int) -> Levels:
    return Levels(np.arange(float(len(wells))), np.sqrt(np.array(wells, float)))


LEVELS = design(16, 3, 3, 2, 3, 1, 3)


def isotonic(means: np.ndarray, weight: np.ndarray, *, rises: bool) -> np.ndarray:
    model = IsotonicRegression(increasing=rises)
    return model.fit_transform(np.arange(len(means)), means, sample_weight=weight)


def explained(fitted: np.ndarray, weight: np.ndarray) -> float:
    mean = np.average(fitted, weights=weight)
    return float((weight * (fitted - mean) ** 2).sum())


@pytest.fixture
def means() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(200, 7))


def test_against_scikit_learn(means):
    weight = LEVELS.root**2
    shape = fit_shape(LEVELS, means)
    for i, mean in enumerate(means):
        both = [isotonic(mean, weight, rises=rises) for rises in (True, False)]
        gains = [explained(fitted, weight) for fitted in both]
        best = both[int(np.argmax(gains))]
        assert shape.explained[i] == pytest.approx(max(gains))
        np.testing.assert_allclose(shape.fitted[i], best, atol=1e-12)
        assert shape.direction[i] == np.sign(best[-1] - best[0])
    np.testing.assert_allclose(
        fit_falling(LEVELS, means)[0], isotonic(means[0], weight, rises=False), atol=1e-12
    )


def test_turning_against_brute_force(means):
    weight = LEVELS.root**2
    shape = fit_shape(LEVELS, means)
    for i, mean in enumerate(means[:40]):
        gains = {}
        for sign in (1, -1):
            for peak in range(1, 6):
                left = isotonic(sign * mean[: peak + 1], weight[: peak + 1], rises=True)
                right = isotonic(sign * mean[peak + 1 :], weight[peak + 1 :], rises=False)
                gains[sign, peak] = explained(np.concatenate([left, right]), weight)
        more = max(gains.values()) - shape.explained[i]
        assert shape.turning[i] == pytest.approx(max(more, 0), abs=1e-12)


def test_shapes_by_hand():
    rising, falling, hump, valley, flat = np.array(
        [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 2, 0], [2, 0, 1, 2], [1, 1, 1, 1]], float
    )
    shape = fit_shape(design(1, 1, 1, 1), np.stack([rising, falling, hump, valley, flat]))
    assert shape.direction[[0, 1, 4]].tolist() == [1, -1, 0]
    assert shape.explained[[0, 1, 4]].tolist() == [5, 5, 0]
    assert shape.turning[[0, 1, 4]].tolist() == [0, 0, 0]
    assert shape.turn[3] == 1
    np.testing.assert_allclose(shape.explained + shape.turning, [5, 5, 4, 2.75, 0])


def test_direction_mirrors_and_scale_does_not_matter(means):
    shape, mirrored = fit_shape(LEVELS, means), fit_shape(LEVELS, 5 - 3 * means)
    np.testing.assert_array_equal(mirrored.direction, -shape.direction)
    np.testing.assert_allclose(mirrored.explained, 9 * shape.explained)
    np.testing.assert_allclose(mirrored.turning, 9 * shape.turning, atol=1e-9)


def test_p_values_of_noise_are_uniform():
    null, random = chance(LEVELS, seed=0), np.random.default_rng(1)
    wells = np.repeat(np.arange(7), np.round(LEVELS.root**2).astype(int))
    values = random.normal(size=(4000, len(wells)))
    means = np.stack([values[:, wells == i].mean(axis=1) for i in range(7)], axis=1)
    total = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    shape = fit_shape(LEVELS, means)
    assert (about_mean(LEVELS, means) < total).all()
    trend = p_value(shape.explained / total, null.monotone)
    turning = p_value(shape.turning / (total - shape.explained), null.turning)
    for found in (trend, turning):
        for level in (0.01, 0.05, 0.5):
            error = 4 * np.sqrt(level * (1 - level) / 4000)
            assert (found <= level).mean() == pytest.approx(level, abs=error)


def test_the_seed_alone_decides():
    first = chance(LEVELS, seed=3)
    np.testing.assert_array_equal(chance(LEVELS, seed=3).monotone, first.monotone)
    assert not np.array_equal(chance(LEVELS, seed=4).monotone, first.monotone)
    np.testing.assert_array_equal(
        p_value(np.array([np.nan, 2.0]), first.monotone), [np.nan, 1 / 20001]
    )
