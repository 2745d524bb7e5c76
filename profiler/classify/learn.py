"""From labelled vectors to a classifier whose probabilities, sets and novelty can be believed.

What a classifier says of itself (its temperature, the errors its sets allow for, how odd a known
cell may be) is learned from cells that it did not see, of plates or wells that it did not see.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from profiler.classify.linear import Learner, Linear, fit_linear, log_loss
from profiler.classify.parts import Examples, Folds, folds_of
from profiler.classify.trust.calibration import Temperature, fit_temperature
from profiler.classify.trust.imbalance import prior_offsets
from profiler.classify.trust.novelty import LEVEL, KnownScores, cell_novelty
from profiler.classify.trust.outliers import NoSpread, learn_known
from profiler.classify.trust.shapes import Classes, Logits, PerCell
from profiler.classify.trust.whole import Places, learn_whole, odd_scores
from profiler.phenotype.threads import one_thread

LEAST_ODD = round(1 / LEVEL)  # known cells judged apart; among fewer, no p-value is below `LEVEL`
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C: how far labels are trusted
USUAL = 1e-2  # where too few cells are labelled to choose
FOLDS = 5

Rows = Int[np.ndarray, " judged"]


class Apart(NamedTuple):
    """What classifiers said of cells that they did not learn from.

    Attributes:
        rows: Which of the examples; those whose class the others had are judged.
        logits: Of these.
        labels: Their classes.
        level: What was held out whole: "plates", "wells" or "cells".
    """

    rows: Rows
    logits: Logits
    labels: Classes
    level: str


class Odd(NamedTuple):
    """Where known cells lie, and how odd those were that had no part in saying so.

    Attributes:
        places: Where they lie.
        reference: The scores of `whole.odd_scores`, of known cells held apart.
        rows: Which of the examples these are.
    """

    places: Places
    reference: dict[str, PerCell]
    rows: Rows


class Learnt(NamedTuple):
    """A classifier.

    Attributes:
        linear: From vectors to logits.
        strength: Of `STRENGTHS`, the one under which the cells apart were likeliest.
        temperature: What logits are divided by. It was found before the balance was taken from
            them, which therefore holds that much more of it.
        apart: What it was chosen and calibrated by.
        odd: What novelty is judged by; None where nobody asked, or labels are too few.
    """

    linear: Linear
    strength: float
    temperature: Temperature
    apart: Apart
    odd: Odd | None = None


def learn(
    examples: Examples,
    *,
    classes: int,
    balance: float = 0.0,
    folds: int = FOLDS,
    seed: int = 0,
) -> Learnt:
    """Learn a classifier.

    Args:
        examples: Labelled cells.
        classes: How many there are; one without examples is never found.
        balance: 0 takes classes to be as frequent as their labels are, 1 as equally frequent.
        folds: Into how many parts the cells are put to choose and to calibrate.
        seed: It alone decides which.

    Returns:
        The classifier, without novelty; `with_novelty` adds that.

    Source:
        Multinomial logistic regression is scikit-learn's; the balance is `imbalance.adjusted`
        (Menon et al. 2021) of the scaled logits, here in the constant of each class.
    """
    vectors, labels = examples.vectors, examples.labels
    parts = folds_of(examples, parts=folds, seed=seed)
    with one_thread():
        strength, logits = _chosen(examples, parts, classes=classes)
        linear = fit_linear(vectors, labels, classes=classes, strength=strength)
    rows = _judged(logits, labels)
    temperature = Temperature(1.0, is_decided=False)
    if len(rows):  # balance comes later: classes are as frequent here as the labels that judge
        groups = examples.groups(parts.level)[rows]
        temperature = fit_temperature(logits[rows], labels[rows], groups=groups)
    taken = temperature.value * prior_offsets(labels, classes=classes, strength=balance)
    for seen, apart in parts.parts:
        own = prior_offsets(labels[seen], classes=classes, strength=balance)
        logits[apart] -= temperature.value * own
    apart = Apart(rows, logits[rows], labels[rows], parts.level)
    return Learnt(linear._replace(bias=linear.bias - taken), strength, temperature, apart)


def with_novelty(
    learnt: Learnt,
    examples: Examples,
    *,
    around: Float[np.ndarray, "other feature"] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> Learnt:
    """Learn where known cells lie, too.

    Args:
        learnt: From `learn` on the same examples, with the same folds and seed.
        examples: Labelled cells.
        around: Vectors of cells of the runs, labelled or not; see `outliers.learn_known`.
        folds: As for `learn`.
        seed: As for `learn`.

    Returns:
        The classifier with `odd`, or as it was where there are not two classes of two cells, so
            few in each that how they vary is not known, or so few cells apart that no cell could
            be new; see `can_be_new`.
    """
    with one_thread():
        found = _oddness(learnt, examples, around, parts=folds_of(examples, parts=folds, seed=seed))
    return learnt._replace(odd=found)


def can_be_new(reference: KnownScores) -> bool:
    """Whether a cell odder than all known ones would count as new, which takes 20 to 40 of them.

    Args:
        reference: As `Odd` has it.
    """
    oddest = {name: np.array([np.inf]) for name in reference}
    return bool(cell_novelty(oddest, reference).p_value[0] < LEVEL)


def _oddness(
    learnt: Learnt, examples: Examples, around: np.ndarray | None, *, parts: Folds
) -> Odd | None:
    classes = len(learnt.linear.bias)
    judged = dict(zip(learnt.apart.rows.tolist(), learnt.apart.logits, strict=True))
    if len(judged) < LEAST_ODD:
        return None
    scores, rows = [], []
    for seen, apart in parts.parts:
        held = np.array([row for row in apart if row in judged], int)
        if len(held) and (places := _places(examples.take(seen), around)):
            logits = np.stack([judged[row] for row in held])
            scores.append(odd_scores(examples.vectors[held], logits, places, classes=classes))
            rows.append(held)
    if not rows:
        return None
    reference = {name: np.concatenate([each[name] for each in scores]) for name in scores[0]}
    if not can_be_new(reference) or not (places := _places(examples, around)):
        return None
    return Odd(places, reference, np.concatenate(rows))


def _chosen(
    examples: Examples, parts: Folds, *, classes: int
) -> tuple[float, Float[np.ndarray, "cell class"]]:
    """The strength under which cells held apart are likeliest, and what was said of them.

    Strengths rise until the cells become less likely: likelihood has one maximum along them, and
    weak ones are learned fast.
    """
    nothing = np.full((len(examples.labels), classes), -np.inf)
    paths = [
        Learner(examples.vectors[seen], examples.labels[seen], classes=classes)
        for seen, _ in parts.parts
    ]
    best, chosen, found = np.inf, USUAL, nothing
    for strength in STRENGTHS:
        logits = nothing.copy()
        for path, (_, apart) in zip(paths, parts.parts, strict=True):
            logits[apart] = path.at(strength).logits(examples.vectors[apart])
        rows = _judged(logits, examples.labels)
        loss = log_loss(logits[rows], examples.labels[rows]) if len(rows) else np.inf
        if loss >= best:
            break
        best, chosen, found = loss, strength, logits
    return chosen, found


def _judged(logits: Logits, labels: Classes) -> Rows:
    """Rows of cells whose class those who judged them knew."""
    return np.flatnonzero(np.isfinite(logits[np.arange(len(labels)), labels]))


def _places(examples: Examples, around: Float[np.ndarray, "other feature"] | None) -> Places | None:
    """Where the cells lie; None where they are too few, or too alike, to say."""
    vectors, labels = examples.vectors, examples.labels
    if not _can_span(labels):
        return None
    try:
        return Places(
            learn_known(vectors, labels, around=around), learn_whole(vectors, labels, around=around)
        )
    except NoSpread:
        return None


def _can_span(labels: Sequence[int] | Classes) -> bool:
    return int((np.bincount(labels) > 1).sum()) > 1
