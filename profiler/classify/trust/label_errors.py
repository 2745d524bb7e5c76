"""Labels that the cells speak against, and how to learn in spite of them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from profiler.classify.trust.folds import Groups, group_folds
from profiler.classify.trust.shapes import (
    Classes,
    PerCell,
    PerClass,
    Probabilities,
    Vectors,
    check_classes,
    counts_of,
)

Joint = Float[np.ndarray, "given true"]
# Vectors and labels to learn from, vectors to judge -> probabilities of these.
Classifier = Callable[[Vectors, Classes, Vectors], Probabilities]


class LabelErrors(NamedTuple):
    """Cells whose label is probably wrong.

    Attributes:
        cells: Their rows, the most suspicious first.
        instead: What each more probably is.
        support: Probability of the given label over the mean of that in cells with the label:
            0 where nothing speaks for it; rising.
        joint: Estimated share of all cells with each given (row) and true (column) label.
    """

    cells: Int[np.ndarray, " suspect"]
    instead: Int[np.ndarray, " suspect"]
    support: Float[np.ndarray, " suspect"]
    joint: Joint


def out_of_fold(
    vectors: Vectors, labels: Classes, groups: Groups, *, classify: Classifier, folds: int = 5
) -> Probabilities:
    """Judge every cell by a classifier that saw neither it nor its movie or plate.

    Args:
        vectors: One row per cell.
        labels: As given, some of them wrong; every class needs cells in two groups.
        groups: Movie or plate of each cell.
        classify: Learns from cells and gives the probabilities of others, a column per class of
            the labels it was handed, in order.
        folds: Into how many parts the groups are put; fewer where there are fewer groups.

    Returns:
        Probabilities, [cell, class]; 0 for a class that was only in the cell's own part.

    Raises:
        ValueError: Fewer than two groups.
    """
    parts = min(folds, len(np.unique(groups)))
    if parts < 2:
        raise ValueError(
            "Found one group of cells; expected at least two movies or plates, so that each can be "
            "judged by what was learned from others."
        )
    judged = np.zeros((len(labels), int(labels.max()) + 1))
    for seen, apart in group_folds(labels, groups, parts=parts, seed=0):
        known, codes = np.unique(labels[seen], return_inverse=True)
        judged[np.ix_(apart, known)] = classify(vectors[seen], codes, vectors[apart])
    return judged


def thresholds(probabilities: Probabilities, labels: Classes) -> PerClass:
    """How sure the classifier is, on average, of a class in cells that are labelled with it.

    Infinite for a class that no cell is labelled with.
    """
    counts = counts_of(labels, classes=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    total = np.bincount(labels, weights=own, minlength=len(counts))
    return np.divide(total, counts, out=np.full(len(counts), np.inf), where=counts > 0)


def confident_joint(probabilities: Probabilities, labels: Classes) -> Int[np.ndarray, "given true"]:
    """Count cells by the label they were given and the one they confidently have.

    A cell confidently has the likeliest of the classes whose threshold its probability reaches;
    one that reaches none is not counted.

    Source:
        Northcutt, Jiang & Chuang 2021 (arXiv:1911.00068), equations 1 and 2; worked by hand in
        tests/classify/trust/test_label_errors.py.
    """
    confident = _confident(probabilities, labels)
    classes = probabilities.shape[1]
    counted = confident >= 0
    pairs = labels[counted] * classes + confident[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def estimated_joint(probabilities: Probabilities, labels: Classes) -> Joint:
    """Scale the confident joint to the number of cells that each label was given to.

    Returns:
        Shares that sum to 1; a row of labels without a counted cell is put on the diagonal.
    """
    joint = confident_joint(probabilities, labels).astype(np.float64)
    given = counts_of(labels, classes=probabilities.shape[1])
    joint[np.diag_indices_from(joint)] += joint.sum(axis=1) == 0
    return joint / joint.sum(axis=1, keepdims=True) * given[:, None] / len(labels)


def find_label_errors(probabilities: Probabilities, labels: Classes) -> LabelErrors:
    """Rank the cells that confidently have another label than the given one.

    Args:
        probabilities: Out of fold: of classifiers that did not learn from the cell.
        labels: As given.

    Returns:
        The suspicious cells; none where all agree.

    Raises:
        ValueError: Labels that name no column.

    Source:
        Confident learning, Northcutt et al. 2021: cells off the diagonal of the confident joint;
        the same cells and joint as cleanlab 2.9. The order differs: by support instead of by
        margin, which on MitoCheck's development movies raised the average precision from .44 to
        .63 with a tenth of labels wrong: classes that are hard to tell have small margins anyway.
    """
    check_classes(labels, classes=probabilities.shape[1])
    confident = _confident(probabilities, labels)
    suspects = np.flatnonzero((confident >= 0) & (confident != labels))
    given = labels[suspects]
    own, usual = probabilities[suspects, given], thresholds(probabilities, labels)[given]
    support = np.divide(own, usual, out=np.zeros(len(own)), where=usual > 0)
    order = np.argsort(support, kind="stable")
    rows = suspects[order]
    joint = estimated_joint(probabilities, labels)
    return LabelErrors(rows, confident[rows], support[order], joint)


def soft_weights(errors: LabelErrors, labels: Classes) -> PerCell:
    """Weigh cells for training: suspects by what speaks for their label.

    On MitoCheck's development movies this keeps more than pruning where few labels are wrong,
    since most suspects are then hard cells with right labels, and as much where many are.

    Args:
        errors: From `find_label_errors` on the same cells.
        labels: As given.

    Returns:
        A weight per cell: as `pruned_weights`, but for suspects their support, at most 1.
    """
    weights = pruned_weights(errors, labels)
    weights[errors.cells] = np.minimum(errors.support, 1)
    return weights


def pruned_weights(errors: LabelErrors, labels: Classes) -> PerCell:
    """Weigh cells for training: nothing for suspects, more for classes that lost many.

    Args:
        errors: From `find_label_errors` on the same cells.
        labels: As given.

    Returns:
        A weight per cell: 0 for suspects; the rest of a class stands for all cells that are
        truly of it, as the joint estimates them.

    Source:
        Northcutt et al. 2021, section 3.3: a loss over cleaned cells, weighted by the inverse of
        the share of a class that its label finds.
    """
    true_share = errors.joint.sum(axis=0)
    found = np.divide(
        np.diag(errors.joint), true_share, out=np.ones(len(true_share)), where=true_share > 0
    )
    # A class of which its label finds next to nothing must not become all of the loss.
    weights = (1 / np.maximum(found, 0.1))[labels]
    weights[errors.cells] = 0
    return weights


def generalised_cross_entropy(
    probabilities: Probabilities, labels: Classes, *, q: float = 0.7
) -> PerCell:
    """The loss that wrong labels move less: between cross-entropy (q near 0) and 1 - p (q = 1).

    Args:
        probabilities: Of every class.
        labels: As given.
        q: Above 0, at most 1.

    Returns:
        The loss of each cell.

    Raises:
        ValueError: Labels that name no column, or another q.

    Source:
        Zhang & Sabuncu 2018 (arXiv:1805.07836), equation 6.
    """
    if not 0 < q <= 1:
        raise ValueError(f"Found q = {q}; expected above 0 (cross-entropy) to 1 (1 - p).")
    check_classes(labels, classes=probabilities.shape[1])
    return (1 - probabilities[np.arange(len(labels)), labels] ** q) / q


def _confident(probabilities: Probabilities, labels: Classes) -> Int[np.ndarray, " cell"]:
    """The class each cell confidently has, or -1."""
    reached = probabilities >= thresholds(probabilities, labels) - 1e-12
    likeliest = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), likeliest, -1)
