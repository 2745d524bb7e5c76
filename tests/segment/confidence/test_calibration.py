"""Calibration: scikit-learn's own probabilities, what it needs, and cards that are wrong."""

from dataclasses import asdict, replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from plates.errors import BadModel
from profiler.segment.confidence.calibration import Calibration, probability, read_calibration
from profiler.segment.confidence.evidence import Evidence
from profiler.segment.confidence.fit import FEWEST, STRENGTH, fit_calibration

N = len(Evidence._fields)


def objects(n: int = 2_000, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evidence on scales of its own, verdicts drawn by a known logistic, and twenty images."""
    rng = np.random.default_rng(seed)
    table = rng.normal(3.0, 1.0, (n, N)) * np.geomspace(0.1, 10, N)
    logit = (
        2.0
        + 1.5 * (table[:, 0] / 0.1 - 3.0)
        - 1.0 * (table[:, 3] / np.geomspace(0.1, 10, N)[3] - 3.0)
    )
    return table, rng.random(n) < expit(logit), rng.integers(0, 20, n)


def fit(*seen: np.ndarray) -> Calibration:
    fitted = fit_calibration(*seen)
    assert fitted is not None
    return fitted


def said(table: np.ndarray, fitted: Calibration | None) -> np.ndarray:
    columns = (jnp.asarray(column, jnp.float32) for column in table.T)
    return np.asarray(probability(Evidence(*columns), fitted))


def test_a_fit_says_what_scikit_learn_says():
    table, right, image = objects()
    fitted = fit(table, right, image)
    scaler = StandardScaler().fit(table)
    plain = LogisticRegression(C=STRENGTH, max_iter=1_000).fit(scaler.transform(table), right)
    expected = plain.predict_proba(scaler.transform(table))[:, 1]
    np.testing.assert_allclose(said(table, fitted), expected, atol=2e-5)
    assert (fitted.objects, fitted.wrong) == (2_000, int((~right).sum()))


def test_on_new_objects_what_is_said_comes_true():
    table, right, image = objects(8_000)
    fitted = fit(table, right, image)
    assert fitted.error is not None
    assert fitted.error < 0.03
    fresh, verdict, _ = objects(8_000, seed=1)
    predicted = said(fresh, fitted)
    for low in np.arange(0.0, 1.0, 0.25):
        held = (predicted >= low) & (predicted < low + 0.25)
        assert predicted[held].mean() == pytest.approx(verdict[held].mean(), abs=0.07)


@pytest.mark.parametrize("wrong", [0, FEWEST - 1, 100 - FEWEST + 1, 100])
def test_too_few_of_either_kind_tell_nothing(wrong):
    table = np.random.default_rng(0).random((100, N))
    assert fit_calibration(table, np.arange(100) >= wrong, np.zeros(100, int)) is None


def test_one_image_leaves_the_error_unknown():
    table, right, _ = objects(200)
    assert fit(table, right, np.zeros(200, int)).error is None


def test_no_calibration_is_no_number():
    table, *_ = objects(5)
    assert np.isnan(said(table, None)).all()


def test_an_absent_nucleus_has_no_probability():
    fitted = fit(*objects(200))
    assert np.isnan(said(np.full((1, N), np.nan), fitted)).all()


def test_a_card_gives_back_what_was_put_on_it():
    fitted = fit(*objects(200))
    assert read_calibration(asdict(fitted), model="mine") == fitted
    assert read_calibration(None, model="mine") is None


GOOD = Calibration(Evidence._fields, (1.0,) * N, 0.5, 100, 20, None)


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        (asdict(replace(GOOD, weights=(1.0,))), "other evidence .* 1 weights"),
        (asdict(replace(GOOD, evidence=("inside", "colour"))), r"other evidence \(inside, colour;"),
        (asdict(replace(GOOD, intercept=float("nan"))), r"\[1\.0, .*nan\], not all .* finite"),
        (asdict(replace(GOOD, weights=(float("nan"), *GOOD.weights[1:]))), "not all .* finite"),
        (asdict(replace(GOOD, weights=(float("inf"), *GOOD.weights[1:]))), "not all .* finite"),
        (asdict(GOOD) | {"intercept": [1, 2]}, "damaged .*list"),
        (asdict(GOOD) | {"intercept": None}, "damaged .*NoneType"),
        (asdict(GOOD) | {"evidence": [["inside"], *GOOD.evidence[1:]]}, "other evidence"),
        ({"weights": [1.0]}, "damaged .*evidence"),
        (asdict(GOOD) | {"weights": ["heavy"] * N}, "damaged .*heavy"),
        (asdict(GOOD) | {"mood": 1}, "damaged .*mood"),
    ],
)
def test_a_calibration_that_cannot_be_used_is_refused_by_name(card, problem):
    with pytest.raises(BadModel, match=rf"card of the model 'mine' cannot be used: .*{problem}"):
        read_calibration(card, model="mine")
