"""Probabilities that mean what they say: of cells called with 80%, 80% are right."""

from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from profiler.classify.trust.folds import Groups
from profiler.classify.trust.shapes import Classes, Logits, Probabilities, check_classes

BINS = 15  # as Guo et al. report
LIMIT = 100.0  # beyond it all classes are as likely, whatever the logits


class Temperature(NamedTuple):
    """What logits are divided by.

    Attributes:
        value: Above 1 where the classifier is surer than it is right.
        is_decided: Whether the cells decide it. They do not where every one of them is right, so
            that the surer were the better (the value is 1 then), or where the logits say nothing,
            so that the less sure were the better (it is 100 then).
    """

    value: float
    is_decided: bool


class Calibration(NamedTuple):
    """How far probabilities are from what happens; all are best when small.

    Attributes:
        error: Expected calibration error: mean over cells of the distance, in their bin, between
            mean confidence and share right. From 0 to 1. Few cells alone make it positive.
        brier: Mean over cells of the squared distance between the probabilities and the truth,
            summed over classes: 0 to 2.
        nll: Mean negative log-likelihood of the true class, in nats; infinite where one was
            given no chance.
    """

    error: float
    brier: float
    nll: float


def fit_temperature(
    logits: Logits, labels: Classes, *, groups: Groups | None = None
) -> Temperature:
    """Find the temperature under which the true classes are most likely.

    Args:
        logits: Of cells that the classifier was not trained on.
        labels: Their true classes.
        groups: Plate, movie or well of each, whole ones of which were held out. With these, the
            temperature is taken one standard error between groups nearer to 1: a few of them find
            it by chance, too, and classifiers that learned without a part of them are surer of what
            they get wrong than one that learned from all.

    Returns:
        The temperature. It changes no cell's first class.

    Raises:
        ValueError: Labels that name no column.

    Source:
        Guo et al. 2017 (arXiv:1706.04599), section 4.2; checked against the root of the
        derivative and planted temperatures in tests/classify/trust/test_calibration.py. The
        standard error is Liang & Zeger's (1986, Biometrika 73:13), checked there by simulation.
    """
    check_classes(labels, classes=logits.shape[1])
    wide = logits.astype(np.float64)
    if (wide.max(axis=1) == wide[np.arange(len(labels)), labels]).all():
        return Temperature(1.0, is_decided=False)
    reach = float(np.log(LIMIT))
    # Convex in 1 / temperature, hence with one minimum in its logarithm.
    found = minimize_scalar(
        lambda log: _nll(wide / np.exp(log), labels), bounds=(-reach, reach), method="bounded"
    )
    log = float(np.asarray(found.x))
    if log > reach * 0.99:
        return Temperature(LIMIT, is_decided=False)
    if groups is not None:
        error = _standard_error(wide / np.exp(log), labels, groups)
        if not np.isfinite(error):
            return Temperature(1.0, is_decided=False)
        log = float(np.sign(log)) * max(abs(log) - error, 0.0)
    return Temperature(float(np.exp(log)), is_decided=True)


def at_temperature(logits: Logits, temperature: Temperature) -> Probabilities:
    """Turn logits into calibrated probabilities."""
    return softmax(logits.astype(np.float64) / temperature.value, axis=1)


def calibration(probabilities: Probabilities, labels: Classes, *, bins: int = BINS) -> Calibration:
    """Judge probabilities by the truth.

    Args:
        probabilities: Of cells that neither training nor the temperature saw.
        labels: Their true classes.
        bins: Of equal width over the confidence, which is the first class's probability.

    Raises:
        ValueError: Labels that name no column.

    Source:
        Guo et al. 2017, equation 3; Brier 1950, in its form for several classes. Checked against
        scikit-learn's calibration_curve, brier_score_loss and log_loss.
    """
    check_classes(labels, classes=probabilities.shape[1])
    table = reliability(probabilities, labels, bins=bins).drop_nulls()
    gaps = (table["Confidence"] - table["Accuracy"]).abs() * table["Cells"]
    truth = np.eye(probabilities.shape[1])[labels]
    with np.errstate(divide="ignore"):
        log_chance = np.log(probabilities[np.arange(len(labels)), labels])
    return Calibration(
        float(gaps.sum()) / len(labels),
        float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        float(-log_chance.mean()),
    )


def reliability(probabilities: Probabilities, labels: Classes, *, bins: int = BINS) -> pl.DataFrame:
    """Tabulate how sure the classifier was against how often it was right.

    Returns:
        One row per bin: `From`, `To` (closed above), `Cells`, and the mean `Confidence` and the
        `Accuracy` of its cells, null for an empty bin.
    """
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges[1:-1], confidence, side="left"), 0, bins - 1)
    cells = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [
            np.bincount(bin_of, weights=x, minlength=bins) / cells for x in (confidence, is_right)
        ]
    columns = {"From": edges[:-1], "To": edges[1:], "Cells": cells, "Confidence": means[0]}
    return pl.DataFrame(columns | {"Accuracy": means[1]}).with_columns(
        pl.col("Confidence", "Accuracy").fill_nan(None)
    )


def _standard_error(scaled: Logits, labels: Classes, groups: Groups) -> float:
    """Of the best temperature's logarithm, between groups; infinite with a single one.

    Args:
        scaled: Logits divided by that temperature.
        labels: Their true classes.
        groups: Of each.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    if count < 2:
        return float("inf")
    chance = softmax(scaled, axis=1)
    possible = np.where(chance > 0, scaled, 0.0)  # a class without examples has none
    expected = (chance * possible).sum(axis=1, keepdims=True)
    slope = expected[:, 0] - scaled[np.arange(len(labels)), labels]
    curvature = (chance * (possible - expected) ** 2).sum()
    of_group = np.bincount(numbers, slope, count)
    if not curvature:
        return float("inf")
    return float(np.sqrt(count / (count - 1) * (of_group**2).sum()) / curvature)


def _nll(logits: Logits, labels: Classes) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
