"""How good a classifier will be on plates or wells that it has not seen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.special import softmax

from profiler.classify.learn import Learnt, learn
from profiler.classify.parts import Examples, folds_of
from profiler.classify.trust.calibration import at_temperature, calibration
from profiler.classify.trust.conformal import coverage_table, fit_conformal, prediction_sets
from profiler.classify.trust.imbalance import prior_offsets
from profiler.classify.trust.shapes import Classes, PerClass, Probabilities, Sets

FOLDS = 5
INNER = 3  # folds inside a fold: they only choose and calibrate
COVERAGE = 0.9
UNDEFINED: dict[str, Any] = {"zero_division": 0.0}  # F1 of a class that was never found


class Scores(NamedTuple):
    """What a classifier scored on cells that were held out.

    Attributes:
        held_out: What was held out whole: "plates", "wells" or "cells".
        folds: In how many parts.
        f1_weighted: Mean F1 of the classes, by their number of cells.
        f1_macro: The same, every class alike.
        accuracy: Share of cells that are right.
        error_before: Expected calibration error of the probabilities as learned.
        error: The same after temperature scaling.
        coverage: What the sets promise.
        covered: Share of cells whose set holds their class.
        unseen: Cells whose class no other part had; they count as wrong.
        by_class: One row per class: Class, Cells, Recall, Precision, F1, Covered, Size (mean
            number of classes in a set).
    """

    held_out: str
    folds: int
    f1_weighted: float
    f1_macro: float
    accuracy: float
    error_before: float
    error: float
    coverage: float
    covered: float
    unseen: int
    by_class: pl.DataFrame


class Judged(NamedTuple):
    """What classifiers said of the cells that they did not learn from: one row per cell."""

    raw: Probabilities
    probabilities: Probabilities
    sets: Sets


def judge(
    examples: Examples,
    *,
    classes: Sequence[str],
    level: str,
    balance: float = 0.0,
    coverage: float = COVERAGE,
    seed: int = 0,
) -> Scores:
    """Hold plates or wells out in turn, and learn all that a classifier learns without them.

    Args:
        examples: Labelled cells.
        classes: Their names.
        level: What is held out whole; see `parts.level_to_hold_out`.
        balance: As for `learn`.
        coverage: What sets are to hold.
        seed: It alone decides the parts.
    """
    folds = folds_of(examples, parts=FOLDS, seed=seed, level=level)
    count = len(classes)
    labels = examples.labels
    raw, probabilities = np.zeros((2, len(labels), count))
    sets = np.zeros(raw.shape, bool)
    for seen, apart in folds.parts:
        learnt = learn(examples.take(seen), classes=count, balance=balance, folds=INNER, seed=seed)
        logits = learnt.linear.logits(examples.vectors[apart])
        raw[apart] = softmax(logits + _overdone(learnt, labels[seen], balance), axis=1)
        probabilities[apart] = at_temperature(logits, learnt.temperature)
        if len(learnt.apart.rows):
            own = at_temperature(learnt.apart.logits, learnt.temperature)
            conformal = fit_conformal(own, learnt.apart.labels, coverage=coverage)
            sets[apart] = prediction_sets(probabilities[apart], conformal)
        else:
            sets[apart] = True
    found = Judged(raw, probabilities, sets)
    return _scores(found, labels, classes, held=(level, len(folds.parts)), at=coverage)


def _overdone(learnt: Learnt, labels: Classes, balance: float) -> PerClass:
    """What of the balance is in the logits for the temperature's sake alone."""
    offsets = prior_offsets(labels, classes=len(learnt.linear.bias), strength=balance)
    return (learnt.temperature.value - 1) * offsets


def _scores(
    found: Judged, labels: Classes, classes: Sequence[str], *, held: tuple[str, int], at: float
) -> Scores:
    from sklearn.metrics import f1_score  # takes a second to import

    called, own = found.probabilities.argmax(axis=1), np.arange(len(labels))
    weighted, macro = (
        float(f1_score(labels, called, labels=np.unique(labels), average=how, **UNDEFINED))
        for how in ("weighted", "macro")
    )
    covered = coverage_table(found.sets, labels)
    return Scores(
        *held,
        weighted,
        macro,
        float((called == labels).mean()),
        calibration(found.raw, labels).error,
        calibration(found.probabilities, labels).error,
        at,
        float(covered["Covered"][0]),
        int((found.probabilities[own, labels] == 0).sum()),
        _by_class(called, labels, classes, covered=covered[1:]),
    )


def _by_class(
    called: Classes, labels: Classes, classes: Sequence[str], *, covered: pl.DataFrame
) -> pl.DataFrame:
    from sklearn.metrics import precision_recall_fscore_support  # takes a second to import

    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, called, labels=np.arange(len(classes)), **UNDEFINED
    )
    columns = {"Class": classes, "Cells": covered["Cells"]}
    columns |= {"Recall": recall, "Precision": precision, "F1": f1}
    return pl.DataFrame(columns).with_columns(covered["Covered"], covered["Size"])
